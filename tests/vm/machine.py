"""A virtual machine with Debian, a TPM and tpmgate: its tree, boot, commands in it, and its end.

Tree: made once by mmdebstrap, as an image that is never written to; each machine has what it changes
in a temporary file. QEMU emulates the processor, since KVM is not to be counted on where tests run: a
boot takes half a minute. Nothing of the host is reached from inside, there is no network.
"""

import fcntl
import hashlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

PACKAGES = ("linux-image-cloud-amd64 initramfs-tools systemd-sysv udev kmod dbus polkitd "
            "procps libpam-systemd dbus-user-session tpm2-tools tpm-udev swtpm openssh-server "
            "openssh-client cron expect python3 libseccomp2 apparmor")
ROOT_PASSWORD = "right horse"
USERS = ("alice", "bob", "carol")

# The agent comes with each run, on the second disk, as what is to be installed does.
AGENT_UNIT = r"""[Unit]
Requires=dev-virtio\x2dports-tpmgate.vm.device
After=dev-virtio\x2dports-tpmgate.vm.device basic.target dbus.service

[Service]
ExecStartPre=mkdir -p /run/vm
ExecStartPre=mkdir -m 1777 -p /run/vm/sessions
ExecStartPre=tar -C /run/vm -xf /dev/vdb
ExecStart=python3 -B /run/vm/agent.py
# What commands leave in the background is the tests' to end.
KillMode=process

[Install]
WantedBy=multi-user.target
"""

# Run in the tree's root by mmdebstrap, with the tree as $1.
CUSTOMIZE = f"""set -eu
root=$1
in_tree() {{ chroot "$root" "$@"; }}
for user in {" ".join(USERS)}; do
    in_tree useradd --create-home --shell /bin/bash $user
    echo "$user:$user" | in_tree chpasswd
done
echo 'root:{ROOT_PASSWORD}' | in_tree chpasswd
echo vm >"$root/etc/hostname"
echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
cp "$UNIT" "$root/etc/systemd/system/tpmgate-vm.service"
in_tree systemctl --quiet enable tpmgate-vm.service
# A shell for whoever looks into the machine; tty1 is for the sessions of tests.
mkdir -p "$root/etc/systemd/system/serial-getty@ttyS0.service.d"
printf '[Service]\\nExecStart=\\nExecStart=-/sbin/agetty --autologin root --noclear %%I vt220\\n' \\
    >"$root/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"
in_tree systemctl --quiet mask getty@tty1.service systemd-networkd-wait-online.service \\
    apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer \\
    e2scrub_reap.service systemd-timesyncd.service
in_tree systemctl --quiet disable ssh.service
# An emulated processor is slow enough, and no image outlives its test.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/tpmgate-vm"
# Nor does a machine start from the initramfs that it would make, which takes minutes.
echo update_initramfs=no >"$root/etc/initramfs-tools/update-initramfs.conf"
# For installing it in another order.
mkdir -p "$root/var/cache/tpmgate-vm"
cd "$root/var/cache/tpmgate-vm"
in_tree sh -c 'cd /var/cache/tpmgate-vm && apt-get -qq download tpm-udev'
"""


def mirror():
    """Where this machine's packages come from."""
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN) $(LABEL)",
                              "Created-By: Packages"], check=True, stdout=subprocess.PIPE,
                             text=True).stdout
    return next((line.split()[0] for line in targets.splitlines()
                 if line.split()[1:] == ["Debian", "Debian"]), "http://deb.debian.org/debian")


class KeptTree:
    """A tree of a suite that mmdebstrap makes when the cache does not have it.

    It is not made anew for newer packages: for these remove the cache.
    """

    CACHE = os.environ.get("TPMGATE_VM_CACHE") or os.path.join(HERE, "../../build/vm")

    def __init__(self, suite, kind, cache, recipe):
        """KIND names its like, of which the cache keeps one; RECIPE is all that it depends on."""
        self.suite = suite
        number = hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]
        self.directory = os.path.join(cache, f"{kind}-{number}")
        os.makedirs(cache, exist_ok=True)
        with open(cache + f"/{kind}.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(self.directory):
                return
            for old in os.listdir(cache):
                if re.fullmatch(kind + "-([0-9a-f]{12}|new)", old):
                    shutil.rmtree(os.path.join(cache, old))
            work = os.path.join(cache, f"{kind}-new")
            os.mkdir(work)
            self.make(work)
            os.rename(work, self.directory)

    def make(self, work):
        """Puts into the directory WORK what is to be kept."""
        raise NotImplementedError

    def mmdebstrap(self, work, packages, customize, variables):
        """WORK/tree with PACKAGES, and CUSTOMIZE run on it as a shell script with VARIABLES."""
        with open(work + "/customize", "w", encoding="utf-8") as file:
            file.write(customize)
        with open(work + "/log", "w", encoding="utf-8") as log:
            made = subprocess.run(
                ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
                 "--include=" + ",".join(packages),
                 f'--customize-hook=sh {work}/customize "$1"',
                 self.suite, work + "/tree", mirror()], env=dict(os.environ, **variables),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False)
        if made.returncode:
            with open(work + "/log", encoding="utf-8", errors="replace") as log:
                raise RuntimeError("mmdebstrap failed:\n" + log.read()[-4000:])


class Tree(KeptTree):
    """The image, kernel and initrd of a suite."""

    def __init__(self, suite, cache, kind=None, packages=PACKAGES):
        """With other PACKAGES it is of another KIND."""
        self.packages = packages
        super().__init__(suite, f"{suite}-{kind}" if kind else suite, cache,
                         (packages, AGENT_UNIT, CUSTOMIZE))
        self.image = self.directory + "/image"
        self.kernel = self.directory + "/vmlinuz"
        self.initrd = self.directory + "/initrd.img"

    def make(self, work):
        tree = work + "/tree"
        with open(work + "/unit", "w", encoding="utf-8") as file:
            file.write(AGENT_UNIT)
        self.mmdebstrap(work, self.packages.split(), CUSTOMIZE, {"UNIT": work + "/unit"})
        for name in ("vmlinuz", "initrd.img"):
            shutil.copy(os.path.join(tree, name), work)
        subprocess.run(["mkfs.ext4", "-q", "-d", tree, work + "/image", "2G"], check=True)
        shutil.rmtree(tree)


class Result:
    def __init__(self, command, status, output):
        self.command = command
        self.status = status
        self.output = output

    def __str__(self):
        return f"{self.command}\nended with {self.status} and said:\n{self.output}"


class Machine:
    """One machine, from __init__ (it is up) to stop()."""

    def __init__(self, tree, packages, tpm="crb", console=None):
        """Boots TREE, with a directory of PACKAGES at hand in /run/vm/packages.

        TPM is crb or tis; CONSOLE a file for what the kernel says, None for this terminal.
        """
        self.directory = tempfile.mkdtemp(prefix="tpmgate-vm-")
        self.processes = []
        self.boot = None
        self.buffer = b""
        self.began = time.monotonic()
        try:
            self._start(tree, packages, tpm, console)
        except BaseException:
            self.stop()
            raise

    def _start(self, tree, packages, tpm, console):
        with tarfile.open(self.directory + "/payload.tar", "w") as tar:
            for name in ("agent.py", "holder.py", "on_node.py"):
                tar.add(f"{HERE}/{name}", name)
            for name in ("integration/harness.py", "integration/wire.py", "threats/commands.py"):
                tar.add(f"{HERE}/../{name}", f"tests/{name}")
            tar.add(packages, "packages")

        control = self.directory + "/swtpm"
        os.mkdir(self.directory + "/tpm")
        self._spawn(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory}/tpm",
                     "--ctrl", f"type=unixio,path={control}", "--terminate"])
        end = time.monotonic() + 30
        while not os.path.exists(control):
            if time.monotonic() > end:
                raise RuntimeError("swtpm did not start")
            select.select([], [], [], 0.01)

        self.channel, theirs = socket.socketpair()
        disk = "if=virtio,format=raw"
        self._spawn([
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-m", "1024", "-smp", "2", "-display", "none", "-nodefaults", "-vga", "std",
            "-device", "virtio-rng-pci",
            "-kernel", tree.kernel, "-initrd", tree.initrd,
            "-append", "root=/dev/vda console=ttyS0 quiet systemd.show_status=no",
            "-drive", f"file={tree.image},snapshot=on,{disk}",
            "-drive", f"file={self.directory}/payload.tar,readonly=on,{disk}",
            "-chardev", f"socket,id=tpm,path={control}", "-tpmdev", "emulator,id=tpm,chardev=tpm",
            "-device", f"tpm-{tpm},tpmdev=tpm",
            "-chardev", f"socket,id=agent,fd={theirs.fileno()}", "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=agent,name=tpmgate.vm",
            "-serial", f"file:{console}" if console else "mon:stdio",
        ], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL if console else None,
            env=dict(os.environ, TMPDIR=self.directory))
        theirs.close()
        self.wait_for_boot()

    def _spawn(self, argv, **options):
        # Whatever becomes of us, it ends with us.
        self.processes.append(subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL"] + argv, **options))

    # What is tested.

    def install(self, directory="/run/vm/packages", by="apt-get -q -y install"):
        """All packages but what compilers want."""
        return self.run(f"DEBIAN_FRONTEND=noninteractive {by} "
                        f"$(ls {directory}/*.deb | grep -v -e -dev_)", timeout=180)

    def apt(self, command):
        return self.run(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y {command}", timeout=180)

    # Commands.

    def _line(self, timeout):
        end = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.channel], [], [], left)[0]:
                raise RuntimeError("the machine does not answer")
            data = self.channel.recv(65536)
            if not data:
                raise RuntimeError("the machine has ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def wait_for_boot(self):
        boot = self._line(240).get("boot")
        if boot is None or boot == self.boot:
            raise RuntimeError("the machine did not boot")
        self.boot = boot
        # "degraded" would mean that a unit failed, which is a defect of the tree.
        state = self.run("systemctl is-system-running --wait || systemctl --failed", timeout=180)
        if state.output.strip() != "running":
            raise RuntimeError("the machine is not up: " + state.output)

    def run(self, command, user=None, session=None, env=None, input="", timeout=60, check=True):
        """Runs a bash COMMAND: as root, as USER outside of any session, or in a SESSION of login().

        CHECK: it has to end with 0.
        """
        command = command.strip()
        argv = ["bash", "-c", command]
        variables = dict({"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                          "LC_ALL": "C.UTF-8"}, **(env or {}))
        request = {"timeout": timeout, "input": input}
        if user:
            variables.update(USER=user, LOGNAME=user, HOME=f"/home/{user}")
            argv = self._env(variables, argv, clear=True)
            if not session:  # where everything is the user's anyway
                argv = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] + argv
            request["cwd"] = f"/home/{user}"
        else:
            argv = self._env(variables, argv, clear=False)
        if session:
            request["session"] = session
        request["argv"] = argv
        self.channel.sendall(json.dumps(request).encode() + b"\n")
        answer = self._line(timeout + 30)
        result = Result(command, answer["status"], answer["output"])
        if check and result.status != 0:
            raise AssertionError(str(result))
        return result

    @staticmethod
    def _env(variables, argv, clear):
        return (["env"] + (["-i"] if clear else []) +
                [f"{name}={value}" for name, value in variables.items()] + argv)

    def write(self, path, text, mode=0o644):
        self.run(f"cat >{shlex.quote(path)} && chmod {mode:o} {shlex.quote(path)}", input=text)

    def eventually(self, condition, what, timeout=60):
        """Waits for what nothing in the guest tells of."""
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"did not happen in {timeout} s: {what}")
            select.select([], [], [], 0.2)

    def login(self, user, tty="tty1"):
        """A session of USER as login(1) on a console makes it; returns what run() takes."""
        path = f"/run/vm/sessions/{user}-{tty}"
        self.run(f"rm -f {path}; systemd-run --quiet --collect --unit=vm-login-{user} "
                 f"-p PAMName=login -p User={user} -p TTYPath=/dev/{tty} -p StandardInput=tty "
                 f"-p StandardOutput=journal -p WorkingDirectory=/home/{user} "
                 f"python3 -B /run/vm/agent.py {path}")
        self.eventually(lambda: self.run(f"test -S {path}", check=False).status == 0,
                        f"{user} is logged in")
        return path

    def logout(self, user):
        self.run(f"systemctl stop vm-login-{user}; loginctl terminate-user {user}", check=False)

    def reboot(self):
        self.run("systemctl --no-block reboot")
        self.wait_for_boot()

    def wait(self):
        """Until somebody shuts it down."""
        self.processes[-1].wait()

    def stop(self):
        """Ends it as if its plug was pulled."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.directory)
