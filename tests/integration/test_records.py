"""What is recorded as whose: adopting, forgetting, and how `tpmgate status` tells of it."""

import json
import os
import re
import shutil
import struct

from agent import Agent
from asking import AREA, INDEX, OBJECT, Requests
from harness import (CLI, GROUPS, SOURCE, TPMGATE_USERS, USERS, WORLD, Broker, Bus, eventually, run_as,
                     write_rule)
from wire import (ADOPT, BUSY, CC_CLEAR, DENIED, ECC_STORAGE_TEMPLATE, EMPTY_PASSWORD, FAILED,
                  FORGET, INTERACTIVE, KIND_NV, KIND_PERSISTENT, LOCKOUT, NO_DEVICE, OK, OWNER,
                  REFUSED, REVOKE, STATE_OWN, WOULD_PROMPT, adopt_part, command, create_primary,
                  response_code, tpm2b)

CC_EVICT_CONTROL, CC_NV_DEFINE_SPACE, CC_NV_WRITE, CC_NV_READ = 0x120, 0x12A, 0x137, 0x14E
CC_CREATE = 0x153
READER = "[Profile]\nSummary=t\n[Allow]\nCommands=ReadPublic\n" \
         "[Handles]\nUseKey=0x81000000-0x817FFFFF\n"
MANAGER = """
polkit.addRule(function(action, subject) {
    if (subject.user == "bob" && action.id == "io.github.tpmgate.manage")
        return polkit.Result.YES;
    return polkit.Result.NOT_HANDLED;
});
"""


class Records(Requests):
    def define(self):
        """An NV index that nobody has recorded, written once."""
        tpm = self.caller(0).open("admin")
        self.assertEqual(tpm.code(command(CC_NV_DEFINE_SPACE, [OWNER], EMPTY_PASSWORD,
                                          tpm2b(b"") + tpm2b(AREA))), 0)
        self.assertEqual(tpm.code(command(CC_NV_WRITE, [OWNER, INDEX], EMPTY_PASSWORD,
                                          tpm2b(b"12345678") + bytes(2))), 0)
        tpm.close()

    def persist(self):
        """A persistent key that nobody has recorded."""
        tpm = self.caller(0).open("admin")
        response = tpm.execute(create_primary())
        self.assertEqual(response_code(response), 0)
        handle = struct.unpack_from(">I", response, 10)[0]
        self.assertEqual(tpm.code(command(CC_EVICT_CONTROL, [OWNER, handle], EMPTY_PASSWORD,
                                          struct.pack(">I", OBJECT))), 0)
        tpm.close()


class Adopt(Records):
    def test_command_reads_the_area_and_the_user_has_it(self):
        self.broker("--no-polkit")
        self.define()
        result = self.tool(0, "adopt", hex(INDEX), "--for", "alice")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("alice's from now on", result.stdout)
        expected = (USERS["alice"], KIND_NV, INDEX, 8, STATE_OWN, 1)
        self.assertEqual(self.caller("alice").records()[0], [expected])
        self.assertEqual(self.caller("bob").records()[0], [])
        self.assertEqual(self.caller(0).records()[0], [expected])
        # whosever it was
        result = self.tool(0, "adopt", hex(INDEX), "--for", str(USERS["bob"]))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.caller("alice").records()[0], [])
        self.assertEqual(self.caller("bob").records()[0], [(USERS["bob"], *expected[1:])])

    def test_adopted_index_can_be_used(self):
        """What the command records is what the relay finds: after a write, too."""
        self.broker("--no-polkit")
        self.define()
        carol = self.caller("carol")
        read = command(CC_NV_READ, [INDEX, INDEX], EMPTY_PASSWORD, struct.pack(">HH", 8, 0))
        tpm = carol.open("persist")
        self.assertEqual(tpm.code(read), REFUSED)
        tpm.close()
        self.assertEqual(self.tool(0, "adopt", hex(INDEX), "--for", "carol").returncode, 0)
        tpm = carol.open("persist")
        response = tpm.execute(read)
        self.assertEqual(response_code(response), 0)
        self.assertIn(b"12345678", response)
        tpm.close()
        # and it is nobody else's
        tpm = self.caller("bob").open("persist")
        self.assertEqual(tpm.code(read), REFUSED)
        tpm.close()
        self.assertEqual(self.tool(0, "forget", "carol").returncode, 0)
        tpm = carol.open("persist")
        self.assertEqual(tpm.code(read), REFUSED)
        tpm.close()

    def test_persistent_object(self):
        self.broker("--no-polkit", profiles={"reader": READER})
        self.persist()
        result = self.tool(0, "adopt", hex(OBJECT), "--for", "carol", "--profile", "reader")
        self.assertEqual(result.returncode, 0, result.stderr)
        carol = self.caller("carol")
        expected = [(USERS["carol"], KIND_PERSISTENT, OBJECT, 0, STATE_OWN, 1)]
        self.assertEqual(carol.records()[0], expected)
        # by the profile admin it is read, too
        self.assertEqual(self.tool(0, "forget", "carol").returncode, 0)
        create = command(CC_CREATE, [OBJECT], EMPTY_PASSWORD, tpm2b(tpm2b(b"") + tpm2b(b"")) +
                         tpm2b(ECC_STORAGE_TEMPLATE) + tpm2b(b"") + bytes(4))
        tpm = carol.open("persist")
        self.assertEqual(tpm.code(create), REFUSED)
        tpm.close()
        result = self.tool(0, "adopt", hex(OBJECT), "--for", "carol")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(carol.records()[0], expected)
        tpm = carol.open("persist+keys")
        self.assertEqual(tpm.code(create), 0)
        tpm.close()

    def test_nothing_there(self):
        self.broker("--no-polkit")
        result = self.tool(0, "adopt", hex(INDEX), "--for", "alice")
        self.assertEqual(result.returncode, 1)
        self.assertIn("nothing at 0x01800123", result.stderr)
        self.assertEqual(self.caller(0).records()[0], [])

    def test_who_may(self):
        write_rule("40-test", MANAGER)
        self.start(Bus)
        self.broker()
        for user in ("carol", "alice"):
            self.assertIn(self.adopt(self.caller(user)).status, (DENIED, WOULD_PROMPT))
        self.assertEqual(self.caller(0).records()[0], [])
        bob = self.caller("bob")
        self.assertEqual(self.adopt(bob).status, OK)
        self.assertEqual(self.adopt(bob, device="tpmrm7").status, NO_DEVICE)
        # everybody's
        self.assertEqual(bob.records()[0], [(USERS["alice"], KIND_NV, INDEX, 8, STATE_OWN, 1)])
        self.assertEqual(self.caller("carol").records()[0], [])

    def test_prompt(self):
        self.start(Bus)
        self.broker()
        carol = self.caller("carol")
        agent = self.start(Agent, carol)
        self.assertEqual(self.adopt(carol).status, WOULD_PROMPT)
        carol.send_request(ADOPT, flags=INTERACTIVE,
                           tail=adopt_part(USERS["carol"], KIND_NV, INDEX, AREA, 8))
        prompt = agent.prompt()
        self.assertEqual(prompt.action, "io.github.tpmgate.manage")
        agent.no(prompt)
        self.assertEqual(carol.finish().status, DENIED)
        self.assertEqual(self.caller(0).records()[0], [])


class Forget(Records):
    def test_what_stays_is_told(self):
        self.broker("--no-polkit")
        root = self.caller(0)
        alice = self.caller("alice")
        self.assertEqual(self.adopt(root).status, OK)
        self.assertEqual(self.adopt(root, device="rm").status, OK)
        self.assertEqual(root.ask(ADOPT, tail=adopt_part(
            USERS["bob"], KIND_PERSISTENT, OBJECT, b"\0\x0bname")).status, OK)
        for user in ("alice", "carol"):
            self.assertEqual(self.ask(user, FORGET, session=USERS["alice"]).status, DENIED)
        self.assertEqual(len(alice.records()[0]), 1)
        result = self.tool(0, "forget", "alice")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("NV index 0x01800123 of rm, 8 bytes", result.stdout)
        self.assertIn("tpm2_nvundefine -C o 0x01800123", result.stdout)
        self.assertEqual(alice.records()[0], [])
        self.assertEqual([record[0] for record in root.records()[0]], [USERS["bob"]])
        result = self.tool(0, "forget", str(USERS["alice"]))
        self.assertEqual((result.returncode, result.stdout),
                         (0, "nothing was recorded for alice\n"))

    def test_open_sessions_keep_it(self):
        self.broker("--no-polkit")
        root = self.caller(0)
        carol = self.caller("carol")
        self.assertEqual(self.adopt(root, USERS["carol"]).status, OK)
        tpm = carol.open("keys")
        reply = root.ask(FORGET, session=USERS["carol"])
        self.assertEqual(reply.status, BUSY)
        self.assertIn("1 session open", reply.message)
        result = self.tool(0, "forget", "carol")
        self.assertEqual(result.returncode, 1)
        self.assertIn("tpmgate revoke", result.stderr)
        self.assertEqual(len(carol.records()[0]), 1)
        self.assertEqual(root.ask(REVOKE, session=tpm.session).status, OK)
        tpm.close()
        self.assertEqual(root.ask(FORGET, session=USERS["carol"]).status, OK)
        self.assertEqual(carol.records()[0], [])


class Status(Records):
    def status(self, user):
        result = self.tool(user, "status", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout), self.tool(user, "status").stdout

    def test_all_of_it(self):
        self.broker("--no-polkit")
        carol = self.caller("carol")
        tpm = carol.open("keys")
        self.assertEqual(tpm.code(command(CC_CLEAR, [LOCKOUT], EMPTY_PASSWORD)), REFUSED)
        tpm.close()
        eventually(carol.refusals, "the relay's word")
        root = self.caller(0)
        self.assertEqual(self.adopt(root, USERS["carol"]).status, OK)
        self.assertEqual(root.ask(ADOPT, tail=adopt_part(
            77777, KIND_PERSISTENT, OBJECT, b"\0\x0bname")).status, OK)
        facts, told = self.status("carol")
        self.assertEqual([record["handle"] for record in facts["records"]], [INDEX])
        self.assertEqual([(item["name"], item["rule"]) for item in facts["refusals"]],
                         [("Clear", "command")])
        self.assertIsNone(facts["records_problem"])
        self.assertEqual(facts["gone_uids"], [])
        self.assertEqual(facts["account"]["nv_writes"], 10)
        self.assertIn("carol      NV index 0x01800123, 8 bytes on rm\n", told)
        self.assertEqual((facts["tpm"]["known"], facts["tpm"]["maker"], facts["tpm"]["lockout"]),
                         (True, "IBM", "no"))
        self.assertEqual(facts["tpm"]["counter"], 0)
        self.assertGreater(facts["tpm"]["maximum"], 0)
        self.assertIn("Lockout    no\n", told)
        self.assertIn("carol: Clear (command, 0x000b0120)\n", told)
        self.assertNotIn("77777", told)
        facts, told = self.status(0)
        self.assertEqual(sorted(record["uid"] for record in facts["records"]),
                         sorted([USERS["carol"], 77777]))
        self.assertEqual(facts["gone_uids"], [77777])
        self.assertIn("sudo tpmgate forget 77777\n", told)
        self.assertIn("carol: Clear", told)
        # what it advises can be done
        result = self.tool(0, "forget", "77777")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("tpm2_evictcontrol -C o -c 0x81000123", result.stdout)
        self.assertEqual(self.status(0)[0]["gone_uids"], [])

    def test_names_are_documented(self):
        """Every member of what --json prints is in the manual."""
        def names(value):
            if isinstance(value, list):
                return set().union(*map(names, value))
            if isinstance(value, dict):
                return set(value) | names(list(value.values()))
            return set()

        root = f"{WORLD}/facts"
        self.addCleanup(shutil.rmtree, root)
        for path in ("sys/class/tpm/tpm0", "etc/udev/rules.d"):
            os.makedirs(f"{root}/{path}")
        with open(f"{root}/etc/udev/rules.d/1.rules", "w", encoding="utf-8") as file:
            file.write('KERNEL=="tpm0", MODE="0600"')
        self.broker("--no-polkit")
        carol = self.caller("carol")
        tpm = self.start(lambda: carol.open("keys"))
        tpm.code(command(CC_CLEAR, [LOCKOUT], EMPTY_PASSWORD))
        eventually(carol.refusals, "the relay's word")
        self.assertEqual(self.adopt(self.caller(0), USERS["carol"]).status, OK)
        facts = json.loads(self.tool("carol", "status", "--json", "--facts-root", root).stdout)
        for name in ("sessions", "profiles", "devices", "kernel", "rules", "records", "refusals"):
            self.assertTrue(facts[name], name)
        with open(SOURCE + "/docs/man/tpmgate.1", encoding="utf-8") as file:
            manual = file.read().split(".SH JSON", 1)[1].split(".SH EXIT", 1)[0]
        told = set(re.findall(r"[a-z_]+", manual))
        self.assertEqual(names(facts) - told, set())

    def test_group_tss(self):
        self.broker("--no-polkit")
        result = run_as("carol", [CLI, "status"], groups=[GROUPS["tss"][0], TPMGATE_USERS])
        self.assertIn("bypass tpmgate", result.stdout)

    def test_without_a_registry(self):
        """Nothing is recorded, and who asks is told so."""
        self.start(Broker, self.swtpm, arguments=["--no-polkit", "--state-dir", "/nowhere"])
        root = self.caller(0)
        self.assertIn("could not open its registry", root.records()[1])
        for reply in (self.adopt(root), root.ask(FORGET, session=USERS["alice"])):
            self.assertEqual(reply.status, FAILED)
            self.assertIn("could not open its registry", reply.message)
        self.assertIn("could not open its registry", self.status(0)[1])
