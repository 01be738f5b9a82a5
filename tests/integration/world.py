#!/usr/bin/python3 -B
"""Runs one file of integration tests in a world of its own.

The world is a mount and a pid namespace: a copy of /etc with users and groups that exist only
there, an empty /run with a private system bus, polkit's actions with ours among them, and no TPM of
the machine. Whatever a test starts or writes ends with it; the machine is not changed.

Exit status: 0 all passed, 1 something failed, 77 everything was skipped (a failure where
MUST_WORK=1 is in the environment, as a single skipped test is).
"""

import argparse
import glob
import importlib
import os
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def rewrite_database(path, names, lines):
    """Replaces the entries of NAMES in a colon-separated file by LINES."""
    kept = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            kept = [line for line in file.read().splitlines() if line.split(":")[0] not in names]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(kept + lines) + "\n")


def build_world(build, source):
    from harness import ACTIONS, RULES, WORLD, USERS, GROUPS

    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for path in (WORLD, WORLD + "/build", WORLD + "/source", WORLD + "/log", WORLD + "/home",
                 "/run/dbus"):
        os.mkdir(path)
    os.mkdir(WORLD + "/tmp")
    os.chmod(WORLD + "/tmp", 0o1777)
    mount("--bind", build, WORLD + "/build")
    mount("--bind", source, WORLD + "/source")

    # /etc, with the test's users.
    subprocess.run(["cp", "-a", "/etc", WORLD + "/etc"], check=True)
    mount("--bind", WORLD + "/etc", "/etc")
    users = {name: f"{name}:x:{uid}:{uid}::{WORLD}/home/{name}:/bin/sh"
             for name, uid in USERS.items()}
    groups = {name: f"{name}:x:{gid}:{','.join(members)}"
              for name, (gid, members) in GROUPS.items()}
    groups.update({name: f"{name}:x:{uid}:" for name, uid in USERS.items()})
    rewrite_database("/etc/passwd", users, list(users.values()))
    rewrite_database("/etc/group", groups, list(groups.values()))
    rewrite_database("/etc/subuid", users, ["alice:200000:65536"])
    rewrite_database("/etc/subgid", users, ["alice:200000:65536"])
    with open("/etc/nsswitch.conf", "w", encoding="utf-8") as file:
        file.write("passwd: files\ngroup: files\nshadow: files\n")
    for name, uid in USERS.items():
        os.mkdir(f"{WORLD}/home/{name}", 0o700)
        os.chown(f"{WORLD}/home/{name}", uid, uid)
    shutil.rmtree("/etc/tpmgate", ignore_errors=True)
    shutil.rmtree(RULES, ignore_errors=True)
    os.makedirs(RULES)
    os.chmod("/etc/polkit-1", 0o755)
    os.chmod(RULES, 0o755)

    # polkit's actions: the machine's, with those of this build in place of installed ones.
    shutil.copytree(ACTIONS, WORLD + "/actions")
    for policy in glob.glob(build + "/polkit/*.policy"):
        shutil.copy(policy, WORLD + "/actions")
    mount("--bind", WORLD + "/actions", ACTIONS)

    # The bus starts nobody by itself: a test that stops polkitd means it.
    services = "/usr/share/dbus-1/system-services"
    if os.path.isdir(services):
        mount("-t", "tmpfs", "tmpfs", services)
    if os.path.isdir("/usr/lib/tpmgate"):
        mount("-t", "tmpfs", "tmpfs", "/usr/lib/tpmgate")
    # No test may reach a TPM of the machine.
    for node in glob.glob("/dev/tpm*"):
        mount("--bind", "/dev/null", node)


class Result(unittest.TextTestResult):
    """Prints what took long, and the ends of the logs where a test fails."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test):
        super().addSuccess(test)
        if time.monotonic() - self.began > 5:
            self.stream.writeln(f"    ({time.monotonic() - self.began:.0f} s)")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.show_logs()

    def addError(self, test, err):
        super().addError(test, err)
        self.show_logs()

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.show_logs()

    def show_logs(self):
        from harness import recent_logs
        self.stream.writeln("\n" + recent_logs())


def run_tests(path):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    module = importlib.import_module(os.path.splitext(os.path.basename(path))[0])
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result)
    result = runner.run(suite)
    must_work = os.environ.get("MUST_WORK") == "1"
    if result.testsRun == 0:
        print("no tests in", path)
        return 1
    if not result.wasSuccessful() or (must_work and result.skipped):
        return 1
    return SKIPPED if len(result.skipped) == result.testsRun else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="build directory")
    parser.add_argument("--source", required=True, help="source directory")
    parser.add_argument("--sanitize", default="", help="the build's sanitizers")
    parser.add_argument("--seed", default="", help="for tests that choose at random: this alone")
    parser.add_argument("test", help="the file with the tests")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: users of a test's own need root; run it with sudo")
        sys.exit(1 if os.environ.get("MUST_WORK") == "1" else SKIPPED)
    if "TPMGATE_WORLD" not in os.environ:
        os.environ["TPMGATE_WORLD"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--kill-child",
                              "--mount-proc", sys.executable, "-B", *sys.argv])
    os.umask(0o022)
    sys.path.insert(0, HERE)
    os.environ["TPMGATE_SANITIZE"] = arguments.sanitize
    os.environ["TPMGATE_SEED"] = arguments.seed
    build_world(os.path.abspath(arguments.build), os.path.abspath(arguments.source))
    os.environ["TMPDIR"] = "/run/world/tmp"
    os.chdir("/run/world/tmp")
    code = run_tests(os.path.abspath(arguments.test))
    sys.stdout.flush()
    # What still runs is killed by the kernel with this process, the first of its namespace.
    os._exit(code)


if __name__ == "__main__":
    main()
