"""A TPM that lies, and one that is gone in the middle of something (rows 26 and 36)."""

import os
import signal
import struct

from commands import (NV_DEFINE_SPACE, NV_UNDEFINE_SPACE, SIGN, SIGN_PROTECTED,
                      dictionary_attack_parameters, nv, nv_define, nv_read, nv_write, primary, sign)
from harness import Broker, Swtpm, TestCase, children, eventually
from relay import Relay
from scenario import SHIPPED, Machine, done, facts, made, open_to_members
from tap import Tap
from wire import NULL, Caller, get_capability, get_random, response_code, start_session

RELEASED = bytes.fromhex("80010000000a000b0101")
INDEX = 0x01800001
LOCKED_HERE = 0x000B0921
LONG = 10000  # seconds: nothing is forgotten while a test runs


class Lies(TestCase):
    """Row 26: whatever plays the TPM, a client gets well-formed responses, and no handle that the
    relay would later take for its session's."""

    def answered(self, question, answer):
        relay = Relay()
        try:
            relay.client.send(question)
            relay.command_arrives()
            relay.tpm.send(answer)
            response = relay.client.receive()
            self.assertTrue(relay.process.running(), relay.process.logged())
            # After a lie there is no more asking.
            if response == RELEASED:
                self.assertEqual(relay.client.execute(get_random(8)), RELEASED)
            return response
        finally:
            relay.stop()

    def test_row_26_sizes(self):
        good = struct.pack(">HIIH", 0x8001, 20, 0, 8) + bytes(8)
        self.assertEqual(self.answered(get_random(8), good), good)
        for size in (0, 9, 19, 21, 4097, 0x7FFFFFFF, 0xFFFFFFFF):
            with self.subTest(size):
                self.assertEqual(self.answered(
                    get_random(8), good[:2] + struct.pack(">I", size) + good[6:]), RELEASED)
        self.assertEqual(self.answered(get_random(8), good + b"x"), RELEASED)
        self.assertEqual(self.answered(get_random(8), b"\x80"), RELEASED)

    def test_row_26_handles(self):
        """A handle of another kind would open what is kept by its kind."""
        for name, question, handles in (
                ("object", primary(NULL), (0x02000000, 0x03000001, 0x81000001, 0x40000001, 0, 1)),
                ("session", start_session(), (0x80000000, 0x81000001, 0x01800001, 0x4000000A))):
            for handle in handles:
                with self.subTest(name, handle=f"{handle:#x}"):
                    body = struct.pack(">I", handle) + struct.pack(">H", 16) + bytes(16)
                    response = self.answered(question, struct.pack(
                        ">HII", 0x8001, 10 + len(body), 0) + body)
                    self.assertEqual(response, RELEASED)

    def test_row_26_public_area(self):
        """What decides whether a password's failures count is asked of the TPM, too."""
        relay = self.start(Relay, commands=(0x131, 0x15D, 0x173, 0x17A))
        relay.client.send(get_capability(6, 0x100, 1))
        relay.command_arrives()
        relay.tpm.send(struct.pack(">HIIBII", 0x8001, 0xFFFF, 0, 0, 6, 0xFFFFFFFF))
        self.assertEqual(relay.client.receive(), RELEASED)


class Lost(TestCase):
    """Row 36: what is unknown counts as the worst."""

    def setUp(self):
        self.tap = self.start(Tap, self.start(Swtpm))
        self.tap.execute(dictionary_attack_parameters(32, LONG, 60))
        self.broker = self.serve()
        self.carol = self.start(Caller, "carol")

    def serve(self, **options):
        return self.start(Broker, "rm:unix:" + self.tap.socket, arguments=["--no-polkit"],
                          profiles=open_to_members(*SHIPPED), **options)

    def kill_during(self, code, attack, profiles="keys"):
        """The session's relay is killed when its command has reached the TPM."""
        session = self.start(lambda: self.carol.open(profiles))
        attack = attack(session)
        self.tap.hold(code)
        session.send(attack)
        self.tap.wait_held()
        for pid in self.broker.relays():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.broker.relays(), "the relay is gone")
        self.tap.release()
        self.tap.hold(None)
        session.close()

    def test_row_36_relay_lost_in_an_attempt(self):
        """Three times, so that nothing is left for a fourth, though nobody has seen them fail."""
        def attempt(session):
            return sign(made(session, primary(NULL, SIGN_PROTECTED, b"right")), b"right")
        for _ in range(3):
            self.kill_during(SIGN, attempt)
        session = self.start(lambda: self.carol.open())
        key = made(session, primary(NULL, SIGN_PROTECTED, b"right"))
        self.assertEqual(f"{session.code(sign(key, b'wrong')):#x}", f"{LOCKED_HERE:#x}")

    def test_row_36_relay_lost_in_a_claim(self):
        """Whether the index was made, and whose it is by now, an administrator finds out."""
        self.kill_during(NV_DEFINE_SPACE, lambda _: nv_define(INDEX), "persist")
        session = self.start(lambda: self.carol.open("persist"))
        self.assertNotEqual(session.code(nv_read(INDEX, 8, INDEX)), 0)
        self.assertNotEqual(session.code(nv_write(INDEX, b"mine", INDEX)), 0)
        # It is in the TPM and in the quota.
        codes = [session.code(nv_define(INDEX + 1 + i)) for i in range(4)]
        self.assertEqual(codes, [0, 0, 0, 0x000B014B])

    def test_row_36_broker_lost_in_a_claim(self):
        """The claim was on disk before the TPM was asked, and grants nothing after."""
        session = self.start(lambda: self.carol.open("persist"))
        self.tap.hold(NV_DEFINE_SPACE)
        session.send(nv_define(INDEX))
        self.tap.wait_held()
        orphans = children(self.broker.process.pid)
        self.broker.process.stop(signal.SIGKILL)
        self.tap.release()
        self.tap.hold(None)
        session.close()
        eventually(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in orphans),
                   "relay and manager end with their broker")
        os.unlink(self.broker.socket)
        self.broker = self.serve(state=self.broker.state)
        session = self.start(lambda: self.carol.open("persist"))
        self.assertNotEqual(session.code(nv_read(INDEX, 8, INDEX)), 0)
        self.assertNotEqual(session.code(nv_write(INDEX, b"mine", INDEX)), 0)

    def test_row_36_claim_of_what_is_somebody_elses_by_now(self):
        """A record is for the index as it was made: another one at its handle is not carol's."""
        machine = Machine(self)
        self.broker.stop()
        session = machine.open("persist")
        done(session, nv_define(INDEX))
        done(session, nv_write(INDEX, b"mine", INDEX))
        session.close()
        node = machine.node
        done(node, nv(NV_UNDEFINE_SPACE, INDEX))
        done(node, nv_define(INDEX, 16))
        done(node, nv_write(INDEX, b"somebody else's."))
        before = facts(node)
        session = machine.open("persist")
        for attack in (nv_read(INDEX, 16, INDEX), nv_write(INDEX, b"mine", INDEX),
                       nv(NV_UNDEFINE_SPACE, INDEX)):
            self.assertEqual(response_code(session.execute(attack)) >> 16, 0x000B)
        self.assertEqual(facts(node), before)
