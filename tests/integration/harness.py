"""What the tests start: processes under users of their own, and the programs under test.

Everything here waits for readiness by a descriptor (a pipe, a pidfd, a notification socket) and for
a bounded time; nothing sleeps.
"""

import fcntl
import glob
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
import unittest

WORLD = "/run/world"
BUILD = WORLD + "/build"
SOURCE = WORLD + "/source"
ACTIONS = "/usr/share/polkit-1/actions"
RULES = "/etc/polkit-1/rules.d"

# alice, bob and carol are people; NUMBERED are a hundred others for tests that need many.
NUMBERED = [f"user{number}" for number in range(100)]
USERS = {"alice": 64001, "bob": 64002, "carol": 64003, "tpmgate": 64010}
USERS.update({name: 64100 + number for number, name in enumerate(NUMBERED)})
# carol is a member; bob is one in the database only, where a test starts him without his groups.
GROUPS = {
    "tpmgate-users": (64020, ["carol", "bob"]),
    "tss": (64021, ["tpmgate"]),
}
TPMGATE_USERS = GROUPS["tpmgate-users"][0]

BROKER = BUILD + "/helper/broker/tpmgate-broker"
BROKER_NO_PEERPIDFD = BUILD + "/helper/broker/tpmgate-broker-no-peerpidfd"
RELAY = BUILD + "/helper/relay/tpmgate-relay"
RM = BUILD + "/helper/rm/tpmgate-rm"
CLI = BUILD + "/helper/cli/tpmgate"
TCTI = BUILD + "/helper/tcti/libtss2-tcti-tpmgate.so.0"
SOCKET = "/run/tpmgate/broker.sock"
SANITIZED = bool(os.environ.get("TPMGATE_SANITIZE"))
# Sanitizers make everything slower, and two cores may be shared with a build.
PATIENCE = 60 if SANITIZED else 30

logs = []


def recent_logs():
    """The ends of what was logged, for a test that failed."""
    text = []
    for path in logs[-6:]:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()[-25:]
        if lines:
            text += [f"---- {os.path.basename(path)}"] + lines
    return "\n".join(text)


def groups_of(user):
    """The groups that login would give USER (a name) here, without the first."""
    return [gid for gid, members in GROUPS.values() if user in members]


def readable(descriptor, timeout=PATIENCE):
    """Waits until DESCRIPTOR can be read; False when TIMEOUT seconds have passed."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(int(timeout * 1000)))


def eventually(condition, what, timeout=PATIENCE):
    """Waits for what no descriptor tells of, such as the contents of a log or of /proc."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen in {timeout} s: {what}")
        select.select([], [], [], 0.01)


class Process:
    """A child under a user and groups of its own, with exactly the descriptors it is given.

    ARGV is executed, or FUNCTION called where it is a callable. FDS maps the child's descriptor
    numbers to ours. Standard error, and standard output unless FDS says otherwise, go to a log.
    """

    def __init__(self, argv, user=None, groups=None, env=None, fds=None, limits=None, name=None,
                 own_pid_variable=None):
        name = name or os.path.basename(argv[0])
        self.log = f"{WORLD}/log/{name}-{len(logs)}"
        logs.append(self.log)
        uid = user if isinstance(user, int) or user is None else USERS[user]
        if groups is None:
            groups = groups_of(user)
        self.status = None
        log = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        wanted = {0: null, 1: log, 2: log}
        wanted.update(fds or {})
        environment = dict(os.environ if env is None else env)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                # Above every target, so that none overwrites another's source.
                moved = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 400)
                         for target, source in wanted.items()}
                for target, source in moved.items():
                    os.dup2(source, target, inheritable=True)
                keep = sorted(wanted)
                for low, high in zip(keep, keep[1:] + [resource.getrlimit(
                        resource.RLIMIT_NOFILE)[0]]):
                    os.closerange(low + 1, high)
                for limit, value in (limits or {}).items():
                    resource.setrlimit(limit, (value, value))
                if uid is not None:
                    os.setgroups(groups)
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                if callable(argv[0]):
                    argv[0](*argv[1:])
                    os._exit(0)
                if own_pid_variable:
                    environment[own_pid_variable] = str(os.getpid())
                os.execvpe(argv[0], argv, environment)
            except BaseException as problem:
                os.write(2, f"{name}: {problem!r}\n".encode())
                os._exit(127)
        os.close(log)
        os.close(null)
        self.pidfd = os.pidfd_open(self.pid)

    def running(self):
        return self.status is None and not readable(self.pidfd, 0)

    def wait(self, timeout=PATIENCE):
        """The exit status, negative for a signal."""
        if self.status is None:
            if not readable(self.pidfd, timeout):
                raise AssertionError(f"{self.log} still runs after {timeout} s")
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.pidfd)
        return self.status

    def send_signal(self, number):
        if self.status is None:
            os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM):
        """Ends the process and returns its exit status."""
        self.send_signal(signal.SIGCONT)
        self.send_signal(number)
        return self.wait()

    def logged(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for_log(self, text, timeout=PATIENCE):
        eventually(lambda: text in self.logged(), f"{text!r} in {self.log}", timeout)


class Swtpm:
    """A software TPM; its sockets are for the broker's user and root only."""

    count = 0

    def __init__(self):
        Swtpm.count += 1
        self.directory = f"{WORLD}/swtpm-{Swtpm.count}"
        self.socket = self.directory + "/tpm.sock"
        self.control = self.socket + ".ctrl"  # where the TCTI swtpm looks for it
        self.pid_file = self.directory + "/pid"
        os.mkdir(self.directory, 0o710)
        os.chown(self.directory, 0, USERS["tpmgate"])
        os.mkfifo(self.pid_file)
        self.launch()

    def launch(self):
        ready = os.open(self.pid_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        uid = USERS["tpmgate"]
        access = f"mode=0600,uid={uid},gid={uid}"
        self.process = Process(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory}",
             "--server", f"type=unixio,path={self.socket},{access}",
             "--ctrl", f"type=unixio,path={self.control},{access}",
             "--flags", "not-need-init,startup-clear", "--pid", f"file={self.pid_file}"])
        # Its pid comes when its sockets listen.
        if not readable(ready) or not os.read(ready, 32):
            raise AssertionError("swtpm did not start")
        os.close(ready)

    def reset(self):
        """What a reset of the machine is to a TPM: it waits for Startup, and has lost the rest."""
        command_init = 2
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.connect(self.control)
            control.sendall(struct.pack(">II", command_init, 0))
            if not readable(control) or control.recv(4) != bytes(4):
                raise AssertionError("swtpm was not reset")

    def stop(self):
        self.process.stop()
        shutil.rmtree(self.directory)


class Bus:
    """The system bus, real and private, and polkitd on it."""

    def __init__(self, polkit=True):
        ready, ready_child = os.pipe()
        self.bus = Process(["dbus-daemon", "--system", "--nofork", "--nopidfile",
                            "--print-address=9"], fds={9: ready_child})
        os.close(ready_child)
        if not readable(ready) or not os.read(ready, 1024):
            raise AssertionError("dbus-daemon did not start")
        os.close(ready)
        self.polkitd = None
        if polkit:
            self.start_polkit()

    def start_polkit(self):
        program = next(path for path in ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd",
                                         "/usr/libexec/polkit-1/polkitd") if os.path.exists(path))
        self.polkitd = Process([program, "--no-debug"])
        subprocess.run(["gdbus", "wait", "--system", "--timeout", str(PATIENCE),
                        "org.freedesktop.PolicyKit1"], check=True)

    def stop_polkit(self):
        if self.polkitd:
            self.polkitd.stop(signal.SIGKILL)
        self.polkitd = None

    def stop(self):
        self.stop_polkit()
        self.bus.stop(signal.SIGKILL)
        for leftover in glob.glob("/run/dbus/*socket"):
            os.unlink(leftover)


class NotifySocket:
    """The service manager's end of NOTIFY_SOCKET."""

    count = 0

    def __init__(self):
        NotifySocket.count += 1
        self.path = f"{WORLD}/notify-{NotifySocket.count}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)  # the broker is not root

    def receive(self, timeout=PATIENCE):
        """One notification: its lines as a dictionary, and the descriptors sent with it."""
        if not readable(self.socket, timeout):
            raise AssertionError("no notification came")
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 16)
        return dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line), fds

    def wait_for(self, key, value, broker=None, timeout=PATIENCE):
        """The next notification with KEY=VALUE; what comes before is dropped."""
        end = time.monotonic() + timeout
        while True:
            if broker is not None and not readable(self.socket, 0):
                poll = select.poll()
                poll.register(self.socket, select.POLLIN)
                poll.register(broker.process.pidfd, select.POLLIN)
                poll.poll(int(timeout * 1000))
                if not broker.process.running() and not readable(self.socket, 0):
                    raise AssertionError(f"the broker ended: {broker.process.logged()}")
            fields, fds = self.receive(max(0, end - time.monotonic()))
            if fields.get(key) == value:
                return fields, fds
            for fd in fds:
                os.close(fd)


def make_run_directory():
    if not os.path.isdir("/run/tpmgate"):
        os.mkdir("/run/tpmgate")
        os.chown("/run/tpmgate", USERS["tpmgate"], USERS["tpmgate"])


class Broker:
    """tpmgate-broker under the user tpmgate, with configuration and profiles of its own.

    TPM is a Swtpm, which gets a resource manager, or what --tpm takes.
    """

    count = 0

    def __init__(self, tpm=None, program=BROKER, arguments=(), config="", profiles=None,
                 environment=None, limits=None, listen=SOCKET, fds=None, user="tpmgate",
                 relay=RELAY, wait=True, state=None):
        """STATE: the state directory of a broker before this one."""
        Broker.count += 1
        self.directory = f"{WORLD}/broker-{Broker.count}"
        self.state = state or self.directory + "/state"
        self.config = self.directory + "/tpmgate.conf"
        self.profiles = self.directory + "/profiles.d"
        self.socket = listen or SOCKET
        os.mkdir(self.directory)
        shutil.copytree(SOURCE + "/packaging/profiles.d", self.profiles)
        for path in [self.profiles] + glob.glob(self.profiles + "/*"):
            os.chown(path, 0, 0)
            os.chmod(path, 0o755 if os.path.isdir(path) else 0o644)
        for name, text in (profiles or {}).items():
            self.write_profile(name, text)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(config)
        if not state:
            os.mkdir(self.state, 0o700)
            os.chown(self.state, USERS.get(user, 0), USERS.get(user, 0))
        make_run_directory()
        self.notify = NotifySocket()
        argv = [program, "--config", self.config, "--profiles-dir", self.profiles,
                "--relay", relay, "--rm", RM, "--idle-exit", "0",
                "--state-dir", self.state]
        if listen:
            argv += ["--listen", listen]
        if tpm is not None:
            argv += ["--tpm", tpm if isinstance(tpm, str) else "rm:unix:" + tpm.socket]
        env = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": self.notify.path,
               "LANG": "C.UTF-8"}
        env.update(environment or {})
        self.process = Process(argv + list(arguments), user=user, env=env, fds=fds, limits=limits,
                               own_pid_variable="LISTEN_PID" if fds else None)
        if wait:
            self.notify.wait_for("READY", "1", self)
            self.notify.socket.close()  # from here on there is no service manager

    def write_profile(self, name, text):
        with open(f"{self.profiles}/{name}.profile", "w", encoding="utf-8") as file:
            file.write(text)

    def relays(self):
        """The pids of the relays that this broker started."""
        return [pid for pid in children(self.process.pid) if command_of(pid) == "tpmgate-relay"]

    def managers(self):
        """The pids of the resource managers that it started: at most one, or the next comes."""
        return [pid for pid in children(self.process.pid) if command_of(pid) == "tpmgate-rm"]

    def stop(self, number=signal.SIGTERM):
        orphans = children(self.process.pid) if self.process.status is None else []
        status = self.process.stop(number)
        for pid in orphans:
            finish_orphan(pid)
        return status


def finish_orphan(pid, timeout=PATIENCE):
    """Waits for a process that became ours when its parent ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if not readable(pidfd, timeout):
            raise AssertionError(f"process {pid} outlived its broker and its client")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None
    finally:
        os.close(pidfd)


def status_of(pid):
    """/proc/PID/status as a dictionary."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def command_of(pid):
    """The name of PID's program, or nothing where it is gone."""
    try:
        return status_of(pid)["Name"]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid):
    found = []
    for path in glob.glob("/proc/[0-9]*/status"):
        try:
            fields = status_of(path.split("/")[2])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields["PPid"] == str(pid) and not fields["State"].startswith("Z"):
            found.append(int(fields["Pid"]))
    return sorted(found)


def descriptors_of(pid):
    """Descriptor numbers of PID, with what they refer to."""
    table = {}
    for path in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            table[int(os.path.basename(path))] = os.readlink(path)
        except FileNotFoundError:
            pass
    return table


def write_rule(name, javascript):
    """A polkit rule of the test's own, for the polkitd that is started next."""
    with open(f"{RULES}/{name}.rules", "w", encoding="utf-8") as file:
        file.write(javascript)


def user_environment(user, **more):
    """The environment of a tool that USER runs against the broker."""
    env = {"PATH": os.environ["PATH"], "HOME": f"{WORLD}/home/{user}", "LANG": "C.UTF-8",
           "TPMGATE_SOCKET": SOCKET, "TPM2TOOLS_TCTI": f"{TCTI}:socket={SOCKET}"}
    if SANITIZED:
        # The tools are not sanitized and the TCTI that they load is: its runtime must come first.
        env["LD_PRELOAD"] = os.environ["TPMGATE_SANITIZER_RUNTIME"]
        env["ASAN_OPTIONS"] = "detect_leaks=0"
    env.update(more)
    return env


def run_as(user, argv, groups=None, env=None, data=None, timeout=PATIENCE, cwd=None):
    """Runs a tool to its end as USER in their home directory."""
    uid = user if isinstance(user, int) else USERS[user]
    if groups is None:
        groups = groups_of(user)
    return subprocess.run(
        argv, user=uid, group=uid, extra_groups=groups, input=data, timeout=timeout,
        env=user_environment(user) if env is None else env,
        cwd=cwd or f"{WORLD}/home/{user}", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL if data is None else None, text=not isinstance(data, bytes),
        check=False)


class TestCase(unittest.TestCase):
    """Whatever a test starts with start() is stopped at its end, the last first."""

    maxDiff = None

    def start(self, thing, *arguments, **options):
        started = thing(*arguments, **options)
        self.addCleanup(started.stop)
        return started
