"""Row 31: a relay that its client has taken over.

It holds its session's TPM, and no filter stands before that any more: that is not prevented. What
else it tries ends it, or is answered for the uid that the broker knows it by.
"""

import os
import signal
import struct

from commands import (NV_READ_PUBLIC, clear, nv_define, nv_read, nv_write, take_tpm2b,
                      with_handle)
from harness import BUILD, WORLD, TestCase, eventually
from relay import ACCOUNT, ACCOUNT_MAGIC, READY, Relay
from scenario import Machine, Scenario, done, facts

ATTEMPT = BUILD + "/helper/relay/tpmgate-relay-attempt"
INDEX = 0x01800001
CLAIM, DROP, CONFIRM, LOOKUP, ANSWER = 19, 20, 21, 22, 31
KIND_NV = 1
NO, YES, TAKEN = 0, 1, 3
WRITTEN = 1 << 29

# Passes what its client sends to the broker, and what the broker says to its client.
HOSTILE = f"""#!/usr/bin/python3
import select, socket
client, account = (socket.socket(fileno=fd) for fd in (3, 6))
account.send({ACCOUNT.pack(ACCOUNT_MAGIC, READY, *[0] * 8, b"")!r})
while True:
    ready, _, _ = select.select([client, account], [], [])
    for here in ready:
        data = here.recv({ACCOUNT.size})
        if not data:
            raise SystemExit
        (account if here is client else client).sendall(data)
"""


class Confined(TestCase):
    def test_row_31_attempts(self):
        """seccomp ends it before it has got anything."""
        for attempt in ("open", "socket", "connect", "execve", "fork", "ptrace", "kill"):
            with self.subTest(attempt):
                relay = Relay(program=ATTEMPT, environment={"TPMGATE_ATTEMPT": attempt})
                status = relay.process.wait()
                relay.stop()
                self.assertEqual(status, -signal.SIGSYS, relay.process.logged())


class SpeakingForOthers(Scenario):
    """With the broker, as a uid that is not its session's: no message has a place for one."""

    def setUp(self):
        self.machine = Machine(self)
        session = self.machine.open("persist", "user1")
        done(session, nv_define(INDEX))
        done(session, nv_write(INDEX, b"hers", INDEX))
        session.close()
        public = take_tpm2b(done(self.machine.node, with_handle(NV_READ_PUBLIC, INDEX)), 10)[0]
        self.public = public[:6] + struct.pack(
            ">I", struct.unpack_from(">I", public, 6)[0] & ~WRITTEN) + public[10:]
        self.machine.end()
        self.program = f"{WORLD}/hostile-relay"
        with open(self.program, "w", encoding="utf-8") as file:
            file.write(HOSTILE)
        os.chmod(self.program, 0o755)
        self.serial = 0

    def hostile(self, user="carol"):
        if not self.machine.broker:
            self.machine.serve(relay=self.program)
        return self.machine.open("persist", user)

    def ask(self, session, kind, handle, data=b"", argument=0, value=0):
        self.serial += 1
        session.socket.sendall(ACCOUNT.pack(
            ACCOUNT_MAGIC, kind, self.serial, argument, KIND_NV, handle, value, 0, 0, len(data),
            data))
        fields = ACCOUNT.unpack(session.socket.recv(ACCOUNT.size))
        self.assertEqual(fields[:3], (ACCOUNT_MAGIC, ANSWER, self.serial))
        return fields[3]

    def test_row_31_another_uids_index(self):
        session = self.hostile()
        self.assertEqual(self.ask(session, LOOKUP, INDEX, self.public), NO)
        self.assertEqual(self.ask(session, DROP, INDEX), NO)
        self.assertEqual(self.ask(session, CLAIM, INDEX, self.public, value=32), TAKEN)
        # It is user1's all the time, of which a relay of hers is told.
        self.serial = 0
        self.assertEqual(self.ask(self.hostile("user1"), LOOKUP, INDEX, self.public), YES)
        self.machine.end()
        self.assertEqual(self.machine.open("persist", "user1").code(nv_read(INDEX, 4, INDEX)), 0)
        self.assertNotEqual(self.machine.open("persist").code(nv_read(INDEX, 4, INDEX)), 0)

    def test_row_31_out_of_turn(self):
        """An outcome of what was not asked, or no message at all, ends the session."""
        for name, packet in {
                "confirm": ACCOUNT.pack(
                    ACCOUNT_MAGIC, CONFIRM, 1, 1, KIND_NV, INDEX, 0, 0, 0, 0, b""),
                "answer": ACCOUNT.pack(ACCOUNT_MAGIC, ANSWER, 1, 1, 0, 0, 0, 0, 0, 0, b""),
                "nothing": bytes(ACCOUNT.size)}.items():
            with self.subTest(name):
                session = self.hostile()
                session.socket.sendall(packet)
                eventually(lambda: not self.machine.broker.relays(), "the session has ended")
                session.close()
        self.machine.end()
        self.assertEqual(self.machine.open("persist", "user1").code(nv_read(INDEX, 4, INDEX)), 0)


class WhatItHolds(Scenario):
    def test_row_31_its_own_tpm(self):
        """Said aloud, so that nobody believes in more: with the descriptor it can do anything."""
        machine = Machine(self)
        done(machine.node, nv_define(INDEX))
        relay = self.start(Relay, machine.switch)
        self.assertNotEqual(relay.client.code(clear()), 0)
        self.assertIn(INDEX, facts(machine.node)["nv"])
        self.assertEqual(machine.node.code(clear()), 0)  # what the relay could send on
