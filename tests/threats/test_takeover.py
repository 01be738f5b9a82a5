"""Row 31: a relay that its client has taken over.

It holds its session's TPM, and no filter stands before that any more: that is not prevented. What
else it tries ends it, or is answered for the uid that the broker knows it by.
"""

import signal
import struct

from commands import (NV_READ_PUBLIC, clear, nv_define, nv_read, nv_write, take_tpm2b,
                      with_handle)
from harness import BUILD, TestCase
from hostile import CLAIM, CONFIRM, DROP, LOOKUP, NO, PROFILE, TAKEN, Hostile, install
from relay import ACCOUNT, ACCOUNT_MAGIC, ANSWER, YES, Relay
from scenario import Machine, Scenario, done, facts
from wire import KIND_NV

ATTEMPT = BUILD + "/helper/relay/tpmgate-relay-attempt"
INDEX = 0x01800001
WRITTEN = 1 << 29


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

    def hostile(self, user="carol"):
        if not self.machine.broker:
            self.machine.serve(relay=install())
        return Hostile(self.machine.open(PROFILE, user))

    def test_row_31_another_uids_index(self):
        index = {"what": KIND_NV, "handle": INDEX}
        hostile = self.hostile()
        self.assertEqual(hostile.ask(LOOKUP, data=self.public, **index), NO)
        self.assertEqual(hostile.ask(DROP, **index), NO)
        self.assertEqual(hostile.ask(
            CLAIM, data=self.public, values=(32, 0, 0), **index), TAKEN)
        # It is user1's all the time, of which a relay of hers is told.
        self.assertEqual(self.hostile("user1").ask(LOOKUP, data=self.public, **index), YES)
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
                hostile = self.hostile()
                hostile.socket.sendall(packet)
                self.assertTrue(hostile.ended())
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
