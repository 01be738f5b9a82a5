"""TPM sessions, of which a TPM has few, and its time, of which it has one for all."""

import hashlib
import hmac
import socket
import struct

from commands import (CONTEXT_LOAD, CONTEXT_SAVE, READ_CLOCK, RSA_STORAGE_TEMPLATE, SIGN,
                      SIGN_TEMPLATE, evict, flush, primary, session_entry, with_handle)
from harness import GROUPS, PATIENCE, Broker, Swtpm, TestCase, readable
from kernel import Kernel
from relay import COMMANDS, SAVES, Relay
from scenario import (SHIPPED, Machine, Scenario, done, made, open_to_members, properties,
                      without)
from tap import Tap
from wire import (CC_CREATE_PRIMARY, CC_GET_CAPABILITY, CC_GET_RANDOM, NULL, REVOKE, Caller,
                  command, get_capability, response_code, start_session, tpm2b)

POLICY_RESTART = 0x180
KEY = 0x81000100
SESSION_HANDLES = 0x905
NO_SESSION, NOT_OWN, NOT_HERE = 0x000B0903, 0x000B01CB, 0x000B0910
EVERYTHING = without()
SESSIONS_OF_TPM = 64
PT_ACTIVE_LEFT = 0x206  # TPM_PT_HR_ACTIVE_AVAIL
PT_CONTEXT_GAP_MAX = 0x114  # TPM_PT_CONTEXT_GAP_MAX
REPORTED = 65535 // 64 + 1  # saves of which a relay tells the broker


def active_left(tap):
    return struct.unpack(">I", tap.execute(get_capability(6, PT_ACTIVE_LEFT, 1))[-4:])[0]


def restart(tpm, session):
    return tpm.code(command(POLICY_RESTART, [session]))


class Others(Scenario):
    def test_row_20_flush(self):
        """Others' sessions are listed, and a handle is all that FlushContext wants."""
        machine = Machine(self)
        victim, attacker = self.start(machine.switch.direct), machine.node
        session = made(victim, start_session(kind=1))
        self.assertIn(session, attacker.handles(0x02000000) + attacker.handles(0x03000000))
        self.assertEqual(attacker.code(flush(session)), 0)
        self.assertNotEqual(restart(victim, session), 0)

        machine = Machine(self)
        victim = machine.open("keys", "user1")
        session = made(victim, start_session(kind=1))
        for profiles in ("keys", EVERYTHING):
            with self.subTest(profiles):
                attacker = machine.open(profiles)
                self.assertEqual(attacker.handles(0x02000000), [])
                self.assertEqual(attacker.handles(0x03000000), [])
                self.assertEqual(attacker.handles(0x80000000), [])
                for handle in (session, session ^ 0x01000000, session + 1):
                    self.assertEqual(f"{attacker.code(flush(handle)):#x}", f"{NOT_OWN:#x}")
                self.assertEqual(machine.refusals()[-1][1], "not-own")
                self.assertNotEqual(restart(attacker, session), 0)
                self.assertNotEqual(attacker.code(command(
                    CC_GET_RANDOM, [], session_entry(session), b"\0\x08")), 0)
                self.assertEqual(restart(victim, session), 0)
                attacker.close()

    def test_row_20_objects(self):
        """Kernel and manager number everybody's from the same value: it is no way in."""
        machine = Machine(self)
        victim = machine.open("keys", "user1")
        key = made(victim, primary())
        attacker = machine.open(EVERYTHING)
        for code in (0x173, CONTEXT_SAVE):
            self.assertEqual(f"{attacker.code(with_handle(code, key)):#x}", f"{NOT_HERE:#x}")
        self.assertEqual(f"{attacker.code(flush(key)):#x}", f"{NOT_OWN:#x}")
        # By the relay, on whose word the kernel's resource manager depends.
        self.assertEqual([rule for _, rule, _ in machine.refusals()], ["not-own"] * 3)
        self.assertEqual(victim.code(with_handle(0x173, key)), 0)


class Exhaustion(Scenario):
    def take_all(self, tpm):
        """Saved sessions stay the TPM's; returns how many there was room for."""
        for count in range(2 * SESSIONS_OF_TPM):
            response = tpm.execute(start_session())
            if response_code(response):
                return count
            if response_code(tpm.execute(with_handle(
                    CONTEXT_SAVE, struct.unpack_from(">I", response, 10)[0]))):
                return count
        raise AssertionError("there is no end of sessions")

    def test_row_21_all_sessions(self):
        machine = Machine(self)
        taken = self.take_all(machine.node)
        self.assertGreaterEqual(taken, SESSIONS_OF_TPM - 1)
        self.assertEqual(self.start(machine.switch.direct).code(start_session()), SESSION_HANDLES)

        machine = Machine(self)
        carol = [machine.open("keys") for _ in range(8)]
        codes = []
        for session in carol:
            for _ in range(16):
                response = session.execute(start_session())
                codes.append(response_code(response))
                if codes[-1] == 0 and len(codes) % 2:
                    session.execute(with_handle(
                        CONTEXT_SAVE, struct.unpack_from(">I", response, 10)[0]))
        self.assertLess(codes.count(0), SESSIONS_OF_TPM / 2)
        self.assertEqual(f"{codes[-1]:#x}", f"{NO_SESSION:#x}")
        # What carol does costs nobody else a session.
        made(machine.open("keys", "user1"), start_session())
        self.assertGreater(properties(machine.node)[PT_ACTIVE_LEFT], SESSIONS_OF_TPM / 4)

    def test_row_21_many_users(self):
        """Each within their own number, and all of them not with the whole of the TPM's."""
        machine = Machine(self)
        codes = []
        for user in range(10):
            session = machine.open("keys", f"user{user}")
            codes += [session.code(start_session()) for _ in range(12)]
        self.assertLess(codes.count(0), SESSIONS_OF_TPM)
        self.assertLessEqual({code for code in codes if code}, {NO_SESSION})
        # Whoever has the raw node, the system's services and a disk's PIN, still has some.
        self.assertGreaterEqual(properties(machine.node)[PT_ACTIVE_LEFT], SESSIONS_OF_TPM / 4)

    def test_row_21_left_behind(self):
        """Saved and never loaded again, by sessions that are long closed."""
        machine = Machine(self)
        for _ in range(12):
            session = machine.open("keys")
            self.take_few(session)
            session.close()
        user = machine.open("keys", "user1")
        made(user, start_session())
        self.assertGreaterEqual(properties(machine.node)[PT_ACTIVE_LEFT], SESSIONS_OF_TPM / 4)

    def test_row_21_saves_that_were_refused(self):
        """What is no save makes nobody's saved session old. A session that does nothing else would
        soon have all of them flushed."""
        relay = self.start(
            Relay, self.start(Swtpm), commands=(*COMMANDS, CONTEXT_SAVE, CONTEXT_LOAD))
        relay.client.send(with_handle(CONTEXT_SAVE, 0x02FFFFFF) * REPORTED)
        for _ in range(REPORTED):
            self.assertNotEqual(struct.unpack_from(
                ">I", relay.client.socket.recv(10, socket.MSG_WAITALL), 6)[0], 0)
        self.assertNotIn(SAVES, relay.resume())
        # Those that are none are told of.
        session = made(relay.client, start_session())
        for _ in range(REPORTED):
            saved = done(relay.client, with_handle(CONTEXT_SAVE, session))[10:]
            done(relay.client, command(CONTEXT_LOAD, parameters=saved))
        self.assertIn(SAVES, relay.resume())

    def test_row_21_client_that_does_not_read(self):
        """Its relay waits for it, and has a TPM session that becomes too old meanwhile. It is
        renewed by any command, as the kernel saves all of a descriptor after each."""
        relay = self.start(Relay)
        client = relay.client.socket
        client.send(start_session())
        relay.command_arrives()
        relay.tpm.send(struct.pack(">HIII", 0x8001, 16, 0, 0x02000000) + b"\0\0")
        self.tell_gap(relay)
        client.recv(16, socket.MSG_WAITALL)
        random = struct.pack(">HIIH", 0x8001, 4096, 0, 4084) + bytes(4084)
        client.send(command(CC_GET_RANDOM, parameters=b"\0\x20") * 1000)
        while readable(relay.tpm, 0.5):
            relay.tpm.recv(4096)
            relay.tpm.send(random)
        relay.order_flush(0x02000000)
        self.tell_gap(relay)
        told = None
        while told != SAVES:
            told = relay.facts.get(timeout=PATIENCE)

    def tell_gap(self, relay):
        self.assertEqual(relay.command_arrives()[6:10], struct.pack(">I", CC_GET_CAPABILITY))
        relay.tpm.send(struct.pack(">HIIBIIII", 0x8001, 27, 0, 0, 6, 1, PT_CONTEXT_GAP_MAX, 65535))

    def test_row_21_revoked_amid_save(self):
        """The TPM saves it all the same: a saved TPM session for each of carol's own sessions."""
        tap = self.start(Tap, self.start(Swtpm))
        self.start(Broker, "rm:unix:" + tap.socket, arguments=["--no-polkit"],
                   profiles=open_to_members(*SHIPPED))
        carol = self.start(Caller, "carol")
        self.start(carol.open)  # the manager stays, who flushes nothing then
        before = active_left(tap)
        for _ in range(20):
            tpm = carol.open()
            session = made(tpm, start_session())
            tap.hold(CONTEXT_SAVE)
            tpm.send(with_handle(CONTEXT_SAVE, session))
            tap.wait_held()
            self.assertEqual(carol.ask(REVOKE, session=tpm.session).status, 1)
            tap.hold(None)
            tap.release()
            tpm.close()
        self.assertLessEqual(before - active_left(tap), 14)  # 2 to be flushed
        self.assertGreaterEqual(carol.account()["tpm_sessions"], 12)

    def test_row_21_saves_at_the_end(self):
        """Of a session that ends before it had to tell of its saves, as of many such."""
        kernel = Kernel(self.start(Swtpm))
        told = 0
        for _ in range(3):
            relay = self.start(Relay)
            kernel.serve(relay)
            done(relay.client, start_session())
            done(relay.client, start_session())
            for _ in range(20):
                relay.client.random()
            relay.leave()
            told += relay.saves
        self.assertGreaterEqual(told, kernel.saves)
        self.assertLess(told, 2 * kernel.saves)

    def test_row_21_saves_of_sessions_that_end(self):
        """The relay asks the TPM about a key before a command is sent, and each time the kernel
        saves the session; that the command ends it makes them no fewer."""
        swtpm = self.start(Swtpm)
        kernel = Kernel(swtpm)
        key = made(kernel.tpm, primary(template=SIGN_TEMPLATE))
        done(kernel.tpm, evict(key, KEY))
        done(kernel.tpm, flush(key))
        public = done(kernel.tpm, with_handle(0x173, KEY))
        size = struct.unpack_from(">H", public, 10)[0]
        name = public[14 + size:14 + size + 34]
        relay = self.start(Relay, commands=(*COMMANDS, SIGN))
        kernel.serve(relay)
        parameters = tpm2b(bytes(32)) + struct.pack(">HHIH", 0x10, 0x8024, NULL, 0)
        digest = hashlib.sha256(struct.pack(">I", SIGN) + name + parameters).digest()
        for _ in range(50):
            response = done(relay.client, start_session())
            nonces = bytes(16) + response[16:32]
            code = hmac.new(b"", digest + nonces + b"\0", hashlib.sha256).digest()
            entry = response[10:14] + tpm2b(bytes(16)) + b"\0" + tpm2b(code)
            done(relay.client, command(SIGN, [KEY], entry, parameters))
        relay.leave()
        self.assertGreaterEqual(kernel.saves, 150)
        self.assertGreaterEqual(relay.saves, kernel.saves)
        self.assertLess(relay.saves, 2 * kernel.saves)

    def take_few(self, tpm):
        for _ in range(8):
            response = tpm.execute(start_session())
            if response_code(response) == 0:
                tpm.execute(with_handle(CONTEXT_SAVE, struct.unpack_from(">I", response, 10)[0]))


class Turns(TestCase):
    """Row 22: making RSA keys without end. The TPM does one thing at a time, for one user at a
    time: who waits for it waits for what it is doing, not for all that somebody asks of it."""

    KEYS = 8

    def test_row_22_turns(self):
        tap = self.start(Tap, self.start(Swtpm))
        self.start(Broker, "rm:unix:" + tap.socket, arguments=["--no-polkit"],
                   profiles=open_to_members(*SHIPPED))
        carol = self.start(Caller, "carol")
        user = self.start(Caller, "user1", groups=[GROUPS["tpmgate-users"][0]])
        greedy = [self.start(lambda: carol.open()) for _ in range(self.KEYS)]
        other = self.start(lambda: user.open())
        tap.hold(CC_CREATE_PRIMARY)
        start = len(tap.codes())
        for session in greedy:
            session.send(primary(NULL, RSA_STORAGE_TEMPLATE))
        tap.wait_held()
        other.send(command(READ_CLOCK))
        # One key after the other, until the other user's command has had its turn.
        before_other = 0
        while not readable(other.socket, 0.2):
            before_other += 1
            self.assertLessEqual(before_other, 2, "one user's keys come before another's command")
            tap.release()
            tap.wait_held()
        tap.hold(None)
        self.assertEqual(response_code(other.receive()), 0)
        self.assertLess(tap.codes(start).index(READ_CLOCK), self.KEYS)
        tap.release()
        # Delayed, not refused: carol gets every key.
        for session in greedy:
            self.assertEqual(response_code(session.receive(PATIENCE * 4)), 0)

    def test_row_22_turns_of_revoked_sessions(self):
        """A turn comes back with its session; the command that it was for must not stay."""
        tap = self.start(Tap, self.start(Swtpm))
        self.start(Broker, "rm:unix:" + tap.socket, arguments=["--no-polkit"],
                   profiles=open_to_members(*SHIPPED))
        carol = self.start(Caller, "carol")
        user = self.start(Caller, "user1", groups=[GROUPS["tpmgate-users"][0]])
        greedy = [self.start(carol.open) for _ in range(self.KEYS)]
        other = self.start(user.open)
        tap.hold(CC_CREATE_PRIMARY)
        start = len(tap.codes())
        for session in greedy:
            session.send(primary(NULL, RSA_STORAGE_TEMPLATE))
            if session == greedy[0]:
                tap.wait_held()
            self.assertEqual(carol.ask(REVOKE, session=session.session).status, 1)
        other.send(command(READ_CLOCK))
        tap.hold(None)
        tap.release()
        self.assertEqual(response_code(other.receive()), 0)
        self.assertLessEqual(tap.codes(start).count(CC_CREATE_PRIMARY), 2)
