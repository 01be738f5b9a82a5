"""The example rules of polkit/, as they are but for names, before the real polkitd."""

import os
import re
import subprocess
import unittest

from agent import Agent
from harness import BUILD, RULES, SOURCE, Broker, Bus, Process, Swtpm, TestCase, eventually
from logind import Unit, hierarchy, log_in, log_out
from wire import DENIED, INTERACTIVE, OK, OPEN, WOULD_PROMPT, Caller, Tpm

UNIT = "web-certificates.service"
SLICE = "user.slice/user-64101.slice"


def polkit_version():
    printed = subprocess.run(["pkaction", "--version"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    return int(re.search(r"(\d+)(\.\d+)?$", printed.strip()).group(1))


class Rules(TestCase):
    def begin(self, *names):
        """polkitd with the example rules NAMES alone, and a broker."""
        self.units = {}
        for name in names:
            path = f"{RULES}/{name}.rules"
            with open(f"{SOURCE}/polkit/{name}.rules", encoding="utf-8") as file:
                text = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            self.addCleanup(os.unlink, path)
        self.bus = self.start(Bus)
        self.start(Broker, self.start(Swtpm))

    def caller(self, user, unit=None):
        caller = Caller(user)
        if unit:
            if not hierarchy():
                caller.stop()
                raise unittest.SkipTest("control groups cannot be made here")
            if unit not in self.units:
                self.units[unit] = self.start(Unit, unit)
            self.units[unit].add(caller.pid)
        self.addCleanup(caller.stop)  # before its unit
        return caller

    def status(self, caller, profile="keys"):
        reply = caller.ask(OPEN, profiles=profile)
        if reply.status == OK:
            Tpm(reply.fd).close()
        return reply.status

    def log_in(self, user, session, **options):
        log_in(user, session, **options)
        self.addCleanup(log_out, user, session)

    def test_group(self):
        with open("/etc/group", "a", encoding="utf-8") as file:
            file.write("developers:x:64060:user2\n")
        self.begin("50-tpmgate-group")
        developer, other = self.caller("user2"), self.caller("user1")
        self.assertEqual(self.status(developer), OK)
        for profile in ("attest", "persist", "unseal", "admin", "owner", "keys+attest"):
            self.assertNotEqual(self.status(developer, profile), OK, profile)
        self.assertEqual(self.status(other), WOULD_PROMPT)

    def test_service(self):
        """polkit asks systemd for the unit, from 125 on; before, nobody is let in."""
        self.begin("50-tpmgate-service")
        service = self.caller("user1", "system.slice/" + UNIT)
        # where systemd does not answer
        self.assertEqual(self.status(service), WOULD_PROMPT)
        systemd = self.start(Process, [BUILD + "/tests/integration/fake-systemd"])
        systemd.wait_for_log("ready")
        known = polkit_version() >= 125
        self.assertEqual(self.status(service), OK if known else WOULD_PROMPT)
        for profile in ("attest", "keys+attest", "owner"):
            self.assertNotEqual(self.status(service, profile), OK)
        # the same user's other programs, and other services
        self.assertEqual(self.status(self.caller("user1")), WOULD_PROMPT)
        self.assertEqual(self.status(self.caller("user1", "system.slice/other.service")),
                         WOULD_PROMPT)
        # a unit of the user's own by that name
        mine = self.caller("user1", f"{SLICE}/user@64101.service/app.slice/{UNIT}")
        self.assertEqual(self.status(mine), WOULD_PROMPT)
        self.assertNotIn("rror", self.bus.polkitd.logged().replace("--no-debug", ""))

    def test_no_ssh(self):
        """Over the network not even with a password; at the seat as ever."""
        self.begin("49-tpmgate-no-ssh")
        self.log_in("user1", "7", remote=True)
        remote = self.caller("user1", SLICE + "/session-7.scope")
        for profile in ("basic", "keys", "attest"):
            self.assertEqual(self.status(remote, profile), DENIED, profile)
        agent = self.start(Agent, remote)
        remote.send_request(OPEN, profiles="keys", flags=INTERACTIVE)
        self.assertEqual(remote.finish().status, DENIED)
        self.assertIsNone(agent.next_line(0))
        # members of the profiles' groups are polkit's no business
        self.assertEqual(self.status(self.caller("carol", SLICE + "/session-7.scope")), OK)
        self.log_in("user2", "c8")
        local = self.caller("user2", "user.slice/user-64102.slice/session-c8.scope")
        self.assertEqual(self.status(local, "basic"), OK)
        # and neither is who has no session, such as a service
        self.assertEqual(self.status(self.caller("user3"), "basic"), OK)

    def test_without_rules_ssh_may_prompt(self):
        """So that the refusals above come from the rule."""
        self.begin()
        self.log_in("user1", "7", remote=True)
        remote = self.caller("user1", SLICE + "/session-7.scope")
        self.assertEqual(self.status(remote, "basic"), OK)
        self.assertEqual(self.status(remote), WOULD_PROMPT)

    def test_all_together(self):
        """None is in another's way."""
        with open("/etc/group", "a", encoding="utf-8") as file:
            file.write("developers:x:64060:user2\n")
        self.begin("49-tpmgate-no-ssh", "50-tpmgate-group", "50-tpmgate-service")
        self.log_in("user2", "9", remote=True)
        self.assertEqual(self.status(self.caller("user2")), OK)
        self.assertEqual(self.status(self.caller(
            "user2", "user.slice/user-64102.slice/session-9.scope")), DENIED)
        eventually(lambda: self.status(self.caller("user3"), "basic") == OK, "others go on")
