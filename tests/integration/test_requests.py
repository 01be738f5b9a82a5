"""What people ask of the broker besides sessions: event logs, refusals, what is left."""

import json
import os
import signal
import struct

from agent import Agent
from asking import AREA, INDEX, Requests
from harness import USERS, WORLD, Bus, eventually
from wire import (ACCOUNT, ADOPT, BAD_REQUEST, CC_CLEAR, CC_CREATE_PRIMARY, DENIED, DEVICES,
                  ECC_STORAGE_TEMPLATE, EMPTY_PASSWORD, EVENTLOG, EVERYBODY, FAILED, FORGET,
                  INTERACTIVE, KIND_NV, KIND_PERSISTENT, LOCKOUT, NO_DEVICE, NO_PROFILE, OK, OWNER,
                  PROFILES, RECORDS, REFUSALS, REFUSED, REVOKE, SESSIONS, Tpm, WOULD_PROMPT,
                  adopt_part, command, get_random, response_code, start_session, tpm2b)

CC_CLEAR_CONTROL, CC_DA_PARAMETERS, CC_CREATE = 0x127, 0x13A, 0x153


class Malformed(Requests):
    def test_fields_that_a_request_does_not_use(self):
        self.broker("--no-polkit")
        root = self.caller(0)
        tail = adopt_part(1000, KIND_NV, INDEX, AREA, 8)
        unused = {
            PROFILES: ["profiles", "device", "session"],
            DEVICES: ["profiles", "device", "session"],
            SESSIONS: ["profiles", "device", "session"],
            REVOKE: ["profiles", "device"],
            REFUSALS: ["profiles", "device", "session"],
            RECORDS: ["profiles", "device", "session"],
            ADOPT: ["profiles", "session"],
            FORGET: ["profiles", "device"],
            EVENTLOG: ["profiles", "session"],
            ACCOUNT: ["profiles", "session"],
        }
        for kind, names in unused.items():
            for name in names:
                with self.subTest(kind=kind, field=name):
                    fields = {name: 7 if name == "session" else "keys"}
                    if kind == ADOPT:
                        fields["tail"] = tail
                    self.assertEqual(root.ask(kind, **fields).status, BAD_REQUEST)

    def test_lengths(self):
        """Each type has one; and nothing is authorized before the packet is sound."""
        self.broker("--no-polkit")
        carol = self.caller("carol")
        tail = adopt_part(1000, KIND_NV, INDEX, AREA, 8)
        self.assertEqual(carol.ask(ADOPT, tail=tail).status, DENIED)
        for size in (0, 1, len(tail) - 1):
            self.assertEqual(carol.ask(ADOPT, tail=tail[:size]).status, BAD_REQUEST)
        for more in (1, 103, 104, 4096):
            self.assertEqual(carol.ask(ADOPT, tail=tail + bytes(more)).status, BAD_REQUEST)
        for kind in (PROFILES, SESSIONS, REVOKE, REFUSALS, RECORDS, FORGET, EVENTLOG, ACCOUNT):
            self.assertEqual(carol.ask(kind, tail=tail).status, BAD_REQUEST)
            self.assertEqual(carol.ask(kind, tail=b"\0").status, BAD_REQUEST)
        for bad in (adopt_part(1000, KIND_PERSISTENT, INDEX, AREA),
                    adopt_part(1000, KIND_NV, 0x81000001, AREA, 8),
                    adopt_part(1000, KIND_NV, INDEX, b"", 8),
                    adopt_part(0xFFFFFFFF, KIND_NV, INDEX, AREA, 8),
                    adopt_part(1000, KIND_NV, INDEX, AREA, 65536),
                    tail[:-1] + b"\1"):
            self.assertEqual(carol.ask(ADOPT, tail=bad).status, BAD_REQUEST)

    def test_uids_that_are_nobodys(self):
        self.broker("--no-polkit")
        root = self.caller(0)
        for uid in (0xFFFFFFFF, 1 << 32, (1 << 32) + USERS["alice"], (1 << 64) - 1):
            self.assertEqual(root.ask(FORGET, session=uid).status, BAD_REQUEST)

    def test_unknown_type(self):
        self.broker("--no-polkit")
        for kind in (0, 12, 15, 17, 0xFFFF):
            reply = self.ask("carol", kind)
            self.assertEqual(reply.status, BAD_REQUEST)
            self.assertIn(f"type {kind}", reply.message)


class EventLog(Requests):
    def write_log(self, mode=0o640, device="rm"):
        path = f"{self.logs}/{device}/binary_bios_measurements"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(bytes(range(256)) * 1000)
        os.chown(path, 0, USERS["tpmgate"])
        os.chmod(path, mode)
        return path

    def test_who_gets_it(self):
        self.broker("--no-polkit")
        self.write_log()
        for user in ("carol", 0):
            reply = self.ask(user, EVENTLOG)
            self.assertEqual(reply.status, OK, reply)
            with open(reply.fd, "rb") as file:
                self.assertEqual(file.read(), bytes(range(256)) * 1000)
                self.assertRaises(OSError, os.write, reply.fd, b"x")
        for user in ("alice", "user1"):
            reply = self.ask(user, EVENTLOG)
            self.assertEqual(reply.status, DENIED, reply)
            self.assertIn("'attest'", reply.message)
            self.assertIn(f"gpasswd -a {user} tpmgate-users", reply.message)

    def test_prompt_is_that_of_attest(self):
        self.start(Bus)
        self.broker()
        self.write_log()
        alice = self.caller("alice")
        self.assertEqual(alice.ask(EVENTLOG).status, WOULD_PROMPT)
        agent = self.start(Agent, alice)
        alice.send_request(EVENTLOG, flags=INTERACTIVE)
        prompt = agent.prompt()
        self.assertEqual(prompt.action, "io.github.tpmgate.attest")
        agent.yes(prompt)
        reply = alice.finish()
        self.assertEqual(reply.status, OK, reply)
        os.close(reply.fd)

    def test_no_log(self):
        self.broker("--no-polkit")
        reply = self.ask("carol", EVENTLOG)
        self.assertEqual(reply.status, FAILED)
        self.assertIn("no event log", reply.message)
        self.assertEqual(self.ask("carol", EVENTLOG, device="tpmrm7").status, NO_DEVICE)

    def test_what_is_no_log(self):
        self.broker("--no-polkit")
        path = self.write_log(0o600)
        reply = self.ask("carol", EVENTLOG)
        self.assertEqual(reply.status, FAILED)
        self.assertIn("tss", reply.message)
        os.rename(path, path + "-moved")
        os.chmod(path + "-moved", 0o644)
        os.symlink(path + "-moved", path)
        self.assertEqual(self.ask("carol", EVENTLOG).status, FAILED)
        os.unlink(path)
        os.mkfifo(path)
        os.chmod(path, 0o666)
        self.assertEqual(self.ask("carol", EVENTLOG).status, FAILED)

    def test_without_the_profile(self):
        broker = self.broker("--no-polkit")
        self.write_log()
        carol = self.caller("carol")
        os.unlink(broker.profiles + "/attest.profile")
        broker.process.send_signal(signal.SIGHUP)
        eventually(lambda: "attest" not in carol.profiles(), "the reload")
        reply = carol.ask(EVENTLOG)
        self.assertEqual(reply.status, NO_PROFILE)
        self.assertIn("attest", reply.message)

    def test_command(self):
        self.broker("--no-polkit")
        self.write_log()
        result = self.tool("carol", "eventlog", "log")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        with open(f"{WORLD}/home/carol/log", "rb") as file:
            self.assertEqual(file.read(), bytes(range(256)) * 1000)
            self.assertEqual(os.fstat(file.fileno()).st_mode & 0o777, 0o600)
        result = self.tool("user1", "eventlog")
        self.assertEqual(result.returncode, 3)
        self.assertIn("attest", result.stderr)


class Everybody(Requests):
    """Other users' sessions: for administrators, whom polkit may ask for a password."""

    def answer(self, caller, agent, kind, **fields):
        """The reply, after the administrator's password was typed."""
        caller.send_request(kind, **fields)
        prompt = agent.prompt()
        self.assertEqual(prompt.action, "io.github.tpmgate.manage")
        agent.yes(prompt)
        return caller.finish()

    def test_after_a_prompt(self):
        self.start(Bus)
        self.broker()
        tpm = self.start(lambda: self.caller("carol").open("keys"))
        alice = self.caller("alice")
        self.assertEqual(alice.sessions(), [])
        self.assertEqual(alice.ask(SESSIONS, flags=EVERYBODY).status, WOULD_PROMPT)
        agent = self.start(Agent, alice)
        reply = self.answer(alice, agent, SESSIONS, flags=EVERYBODY | INTERACTIVE)
        self.assertEqual((reply.status, len(reply.items)), (OK, 1), reply)
        self.assertEqual(agent.next_line().split()[0], "done")
        reply = self.answer(alice, agent, REVOKE, flags=INTERACTIVE, session=tpm.session)
        self.assertEqual(reply.status, OK, reply)
        self.assertEqual(tpm.code(get_random(8)), REFUSED)

    def test_who_may_not(self):
        self.broker("--no-polkit")
        tpm = self.start(lambda: self.caller("carol").open("keys"))
        self.assertEqual(self.ask("alice", SESSIONS, flags=EVERYBODY | INTERACTIVE).status, DENIED)
        self.assertEqual(len(self.ask(0, SESSIONS, flags=EVERYBODY).items), 1)
        self.assertEqual(self.ask(0, DEVICES, flags=EVERYBODY).status, BAD_REQUEST)
        result = self.tool("alice", "sessions", "--all", "--no-interaction")
        self.assertEqual((result.returncode, result.stdout), (3, ""))
        self.assertIn("polkit", result.stderr)
        (session,) = json.loads(self.tool(0, "sessions", "--all", "--json").stdout)
        self.assertEqual((session["session"], session["uid"]), (str(tpm.session), USERS["carol"]))
        result = self.tool("alice", "revoke", str(tpm.session))
        self.assertEqual((result.returncode, result.stdout), (3, ""))
        result = self.tool(0, "revoke", str(tpm.session))
        self.assertEqual(result.stdout, f"session {tpm.session} is over\n")
        self.assertEqual(tpm.code(get_random(8)), REFUSED)


class Refusals(Requests):
    def refuse(self, caller, code):
        """Has a command refused in a session of CALLER's, which stays open."""
        tpm = self.start(lambda: caller.open("keys"))
        self.assertEqual(tpm.code(command(code, [LOCKOUT], EMPTY_PASSWORD)), REFUSED)
        return tpm.session

    def test_own_and_everybodys(self):
        self.broker("--no-polkit")
        carol, bob, root = (self.caller(user) for user in ("carol", "bob", 0))
        self.assertEqual(carol.refusals(), [])
        sessions = {user: self.refuse(caller, CC_CLEAR)
                    for user, caller in (("carol", carol), ("bob", bob))}
        expected = {user: (session, USERS[user], CC_CLEAR, REFUSED, 0, "command")
                    for user, session in sessions.items()}
        for user, caller in (("carol", carol), ("bob", bob)):
            eventually(caller.refusals, "the relay's word")
            self.assertEqual(caller.refusals(), [expected[user]])
        self.assertEqual(sorted(root.refusals()), sorted(expected.values()))

    def test_newest_last(self):
        self.broker("--no-polkit")
        carol = self.caller("carol")
        tpm = carol.open("keys")
        for _ in range(3):
            for code in (CC_CLEAR, CC_CLEAR_CONTROL):
                handles = [LOCKOUT]
                parameters = b"\1" if code == CC_CLEAR_CONTROL else b""
                self.assertEqual(tpm.code(command(code, handles, EMPTY_PASSWORD, parameters)),
                                 REFUSED)
        eventually(lambda: len(carol.refusals()) == 6, "the relay's words")
        self.assertEqual([item[2] for item in carol.refusals()],
                         [CC_CLEAR, CC_CLEAR_CONTROL] * 3)
        tpm.close()


class Account(Requests):
    def test_what_is_left(self):
        self.broker("--no-polkit", config="[Account]\nNvWritesPerHour=7\n")
        carol = self.caller("carol")
        account = carol.account()
        self.assertEqual(account["device"].rstrip(b"\0"), b"rm")
        self.assertEqual(account["maximum"], 0)  # nobody has read it
        self.assertEqual((account["nv_writes"], account["nv_writes_max"]), (7, 7))
        self.assertEqual((account["charge"], account["charge_falls"]), (0, 0))
        self.assertEqual(account["reserved"], 0)
        self.assertEqual(carol.account("rm"), account)
        self.assertEqual(carol.ask(ACCOUNT, device="tpmrm7").status, NO_DEVICE)

    def test_charge(self):
        """One wrong authorization of a key without noda: the TPM counts it, and so does carol."""
        tpm = Tpm.direct(self.swtpm)
        self.assertEqual(tpm.code(command(CC_DA_PARAMETERS, [LOCKOUT], EMPTY_PASSWORD,
                                          struct.pack(">III", 32, 600, 0))), 0)
        tpm.close()
        self.broker("--no-polkit")
        carol = self.caller("carol")
        tpm = carol.open("keys")
        template = ECC_STORAGE_TEMPLATE.replace(b"\0\x03\x04\x72", b"\0\x03\0\x72")
        tail = tpm2b(template) + tpm2b(b"") + bytes(4)
        secret = tpm2b(tpm2b(b"secret") + tpm2b(b""))
        response = tpm.execute(command(CC_CREATE_PRIMARY, [OWNER], EMPTY_PASSWORD, secret + tail))
        self.assertEqual(response_code(response), 0)
        handle = struct.unpack_from(">I", response, 10)[0]
        wrong = struct.pack(">IHBH", 0x40000009, 0, 0, 5) + b"wrong"
        self.assertEqual(tpm.code(command(CC_CREATE, [handle], wrong, secret + tail)) & 0xBF, 0x8E)
        account = eventually(lambda: (found := carol.account())["charge"] and found,
                             "the relay's word")
        self.assertEqual((account["maximum"], account["limit"], account["interval"]),
                         (32, 16, 600))
        self.assertEqual((account["charge"], account["charge_limit"]), (1, 3))
        self.assertIn(account["charge_falls"], range(500, 601))
        # everybody sees the TPM's counter, and nobody else's charge
        account = self.caller("bob").account()
        self.assertEqual((account["maximum"], account["charge"]), (32, 0))
        tpm.close()

    def test_tpm_sessions(self):
        self.broker("--no-polkit")
        carol = self.caller("carol")
        tpm = carol.open("keys")
        self.assertEqual(tpm.code(start_session()), 0)
        eventually(lambda: carol.account()["tpm_sessions"] == 1, "the relay's word")
        self.assertEqual(self.caller("bob").account()["tpm_sessions"], 0)
        tpm.close()
