"""What scenarios have in common: the machine that they run on, and tpmgate installed."""

import ast
import os
import time
import unittest

here = None  # the Machine, from run.py
TCTI = {"TPM2TOOLS_TCTI": "tpmgate:"}
USE_A_KEY = """set -e
    cd $(mktemp -d)
    tpm2_createprimary -Q -C o -c primary.ctx
    tpm2_create -Q -C primary.ctx -G ecc -u key.pub -r key.priv -c key.ctx
    echo hello >message
    tpm2_sign -Q -c key.ctx -o signature message
    tpm2_verifysignature -Q -c key.ctx -m message -s signature
    rm -r $PWD"""
installed = False


class Holder:
    """A session that is held and used all the time: holder.py in the guest, as a service."""

    count = 0

    def __init__(self, machine, user, device):
        Holder.count += 1
        self.machine = machine
        self.log = f"/run/vm/holders/{Holder.count}"
        self.start = (f"rm -f {self.log}; systemd-run --quiet --collect "
                      f"--unit=vm-holder-{Holder.count} --uid={user} "
                      f"python3 -B /run/vm/holder.py {self.log} '{device}'")

    @property
    def session(self):
        return self.lines()[0]

    def lines(self):
        return self.machine.run(f"cat {self.log}", check=False).output.split("\n")[:-1]

    def codes(self):
        """The response codes so far, in hexadecimal."""
        return self.lines()[1:]

    def goes_on(self):
        go_on([self])


def go_on(holders):
    """Waits for two more responses of each: one may have been on its way."""
    logs = " ".join(holder.log for holder in holders)

    def counts():
        return [int(line) for line in
                here.run(f"for log in {logs}; do wc -l <$log; done").output.split()]

    before = counts()
    here.eventually(lambda: all(new >= old + 2 for new, old in zip(counts(), before)),
                    "all get responses")


class Scenario(unittest.TestCase):
    installs = True  # whether tpmgate is there before the first test

    @classmethod
    def setUpClass(cls):
        global installed
        if cls.installs and not installed:
            here.install()
            here.run("gpasswd -a carol tpmgate-users")
            installed = True

    def setUp(self):
        self.machine = here
        self.run_in_guest = here.run
        self.began = time.monotonic()

    def tearDown(self):
        print(f"({time.monotonic() - self.began:.1f} s) ", end="", flush=True)

    def hold(self, *users, device=""):
        """A Holder for each of USERS, in a list when they are more than one."""
        holders = [Holder(here, user, device) for user in users]
        here.run("\n".join(["mkdir -m 1777 -p /run/vm/holders"] +
                           [holder.start for holder in holders]))
        for holder in holders:
            here.eventually(lambda holder=holder: len(holder.lines()) > 1, "it holds a session")
        return holders if len(users) > 1 else holders[0]

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print(here.run("journalctl -b --no-pager -o short-monotonic -n 60", check=False).output)
        return result


def on_node(*groups, timeout=60):
    """A Scenario with a test for each of on_node.py in the classes GROUPS, to be run there."""
    with open(os.path.dirname(os.path.abspath(__file__)) + "/on_node.py", encoding="utf-8") as file:
        classes = {item.name: item for item in ast.parse(file.read()).body
                   if isinstance(item, ast.ClassDef)}

    def check(self, name):
        result = self.run_in_guest(f"python3 -B /run/vm/on_node.py {name} 2>&1", timeout=timeout,
                                   check=False)
        self.assertEqual(result.status, 0, result)

    tests = {}
    for group in groups:
        for item in classes[group].body:
            if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                tests[f"test_{group}_{item.name[5:]}"] = (
                    lambda self, name=f"{group}.{item.name}": check(self, name))
    return type("OnNode", (Scenario,), tests)
