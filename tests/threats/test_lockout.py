"""The one counter of wrong passwords that everybody shares, and what is at its end.

Each wrong password of an object that is not exempt (noDA) raises it, each restarts the time after
which it falls by one, and at its maximum nobody's password is taken any more, that of a disk at the
next boot among them. None of these attacks may bring it there; nor may their prevention refuse a
right password as a wrong one, or count it.
"""

import struct
import time

from commands import (CONTEXT_LOAD, CONTEXT_SAVE, NV_ORDINARY, PROTECTED_TEMPLATE, SIGN_PROTECTED,
                      clear, dictionary_attack_parameters, flush, nv_define, nv_read, nv_write,
                      primary, session_entry, sign, with_handle)
from harness import eventually
from scenario import (IN_LOCKOUT, PT_LOCKOUT_COUNTER, PT_MAX_AUTH_FAIL, PT_PERMANENT, Machine,
                      Scenario, done, facts, failed, made, properties, without)
from wire import (CC_GET_RANDOM, EMPTY_PASSWORD, LOCKOUT, NULL, OWNER, REFUSED, command,
                  response_code, start_session)

LOCKED, LOCKED_HERE = 0x921, 0x000B0921
MANY = "[Broker]\nMaxSessionsPerUser=50\n"
DIRECT_INDEX = 0x01800001
LOCKOUT_RULES = ("own-failures", "lockout-near")
LONG = 10000  # seconds: nothing is forgotten while a test runs


def own_key(tpm, hierarchy=NULL):
    """A key of the attacker's own, which the TPM protects from guessing as if it were dear."""
    return made(tpm, primary(hierarchy, SIGN_PROTECTED, b"right"))


def is_locked(tpm):
    return bool(properties(tpm)[PT_PERMANENT] & IN_LOCKOUT)


def counter(tpm):
    return properties(tpm)[PT_LOCKOUT_COUNTER]


def bound_session(tpm, key):
    """A session whose every use tries the password of KEY, or the code that it is refused with."""
    response = tpm.execute(start_session(bind=key))
    if response_code(response):
        return None, response_code(response)
    return struct.unpack_from(">I", response, 10)[0], 0


def use_bound(session):
    return command(CC_GET_RANDOM, [], session_entry(session, bytes(32), 0x81), b"\0\x08")


class Lockout(Scenario):
    def machine(self, maximum, interval, config=MANY):
        machine = Machine(self)
        done(machine.node, dictionary_attack_parameters(maximum, interval, 60))
        machine.serve(config=config)
        machine.switch.watch()
        return machine

    def never_locked(self, machine, maximum):
        """At no time, not only in the end."""
        highest, locked, failures = machine.switch.watch()
        self.assertFalse(locked)
        self.assertLess(highest, maximum)
        table = properties(machine.node)
        self.assertFalse(table[PT_PERMANENT] & IN_LOCKOUT)
        self.assertLess(table[PT_LOCKOUT_COUNTER], table[PT_MAX_AUTH_FAIL])
        return failures

    def right_password_works(self, machine, session, key):
        """At the latest when the failures before are forgotten, and is not one itself."""
        failures = machine.switch.watch()[2]
        count = counter(machine.node)

        def signed():
            code = session.code(sign(key, b"right"))
            self.assertIn(code, (0, LOCKED_HERE))
            return code == 0
        eventually(signed, "the right password is taken")
        self.assertEqual(machine.switch.watch()[2], failures)
        self.assertLessEqual(counter(machine.node), count)


class OneAttacker(Lockout):
    def test_row_05_raw_node(self):
        """With a key that nobody needs, in a hierarchy that nobody owns."""
        for hierarchy in (NULL, OWNER):
            with self.subTest(f"{hierarchy:#x}"):
                machine = Machine(self)
                done(machine.node, dictionary_attack_parameters(32, LONG, 60))
                done(machine.node, nv_define(DIRECT_INDEX, 8, NV_ORDINARY, b"disk's PIN"))
                done(machine.node, nv_write(DIRECT_INDEX, bytes(8)))
                key = own_key(machine.node, hierarchy)
                for _ in range(32):
                    self.assertEqual(failed(machine.node.code(sign(key, b"wrong"))), 0)
                self.assertTrue(is_locked(machine.node))
                self.assertEqual(machine.node.code(nv_read(
                    DIRECT_INDEX, 8, DIRECT_INDEX, b"disk's PIN")), LOCKED)

    def attempts(self, maximum, hierarchy, count=60):
        machine = self.machine(maximum, LONG)
        for profiles in ("keys", without("owner")):
            session = machine.open(profiles)
            key = own_key(session, hierarchy)
            codes = [session.code(sign(key, b"wrong")) for _ in range(count)]
            self.assertEqual(codes[-1], LOCKED_HERE)
            self.assertIn(machine.refusals()[-1][1], LOCKOUT_RULES)
            # Those that are not refused are wrong passwords to the TPM, and nothing else.
            self.assertEqual([code for code in codes if code != LOCKED_HERE and failed(code)], [])
            session.close()
        self.assertLessEqual(self.never_locked(machine, maximum), max(1, min(3, maximum // 4)))
        return machine

    def test_row_05_null_hierarchy(self):
        self.attempts(32, NULL)

    def test_row_05_owner_hierarchy(self):
        self.attempts(32, OWNER)

    def test_row_05_few_tries(self):
        self.attempts(3, NULL)

    def test_row_05_storage_key(self):
        """As a parent, where the password is that of what everything else is below."""
        machine = self.machine(32, LONG)
        session = machine.open()
        key = made(session, primary(NULL, PROTECTED_TEMPLATE, b"right"))
        attack = command(0x153, [key], struct.pack(">IHBH", 0x40000009, 0, 0, 5) + b"wrong",
                         b"\0\4" + bytes(4) + b"\0\x0c" + struct.pack(
                             ">HHIHH", 8, 0x0B, 0x452, 0, 0x10) + bytes(6))
        codes = [session.code(attack) for _ in range(40)]
        self.assertEqual(codes[-1], LOCKED_HERE)
        self.assertLessEqual(self.never_locked(machine, 32), 3)

    def test_row_05_no_recovery(self):
        """Where the TPM forgets at once (an interval of 0), there is nothing to protect."""
        machine = self.machine(32, 0)
        session = machine.open()
        key = own_key(session)
        for _ in range(40):
            self.assertIn(session.code(sign(key, b"wrong")), (0x98E, LOCKED_HERE))
        self.never_locked(machine, 32)

    def test_row_05_right_password(self):
        for maximum in (32, 3):
            with self.subTest(maximum=maximum):
                machine = self.machine(maximum, 2)
                session = machine.open()
                key = own_key(session)
                for _ in range(20):
                    session.code(sign(key, b"wrong"))
                self.right_password_works(machine, session, key)
                self.never_locked(machine, maximum)
                session.close()
                machine.end()

    def test_row_05_bound_session(self):
        """Whose every command, however harmless, is a try at the key that it is bound to."""
        machine = Machine(self)
        session, _ = bound_session(machine.node, own_key(machine.node))
        self.assertEqual(failed(machine.node.code(use_bound(session))), 0)
        self.assertEqual(counter(machine.node), 1)

        machine = self.machine(32, LONG)
        tpm = machine.open()
        key = own_key(tpm)
        session, code = bound_session(tpm, key)
        codes = [tpm.code(use_bound(session)) for _ in range(40)] if session else [code]
        self.assertEqual(codes[-1], LOCKED_HERE)
        self.assertLessEqual(self.never_locked(machine, 32), 3)

    def test_row_05_bound_session_saved_and_loaded(self):
        """On another connection, which has not seen what it is bound to."""
        machine = Machine(self)
        session, _ = bound_session(machine.node, own_key(machine.node))
        saved = done(machine.node, with_handle(CONTEXT_SAVE, session))[10:]
        other = self.start(machine.switch.direct)
        done(other, command(CONTEXT_LOAD, parameters=saved))
        self.assertEqual(failed(other.code(use_bound(session))), 0)
        self.assertEqual(counter(machine.node), 1)
        done(other, flush(session))

        # Saved over the raw node, so that the relay cannot know.
        machine = self.machine(32, LONG)
        session, _ = bound_session(machine.node, own_key(machine.node))
        saved = done(machine.node, with_handle(CONTEXT_SAVE, session))[10:]
        tpm = machine.open()
        response = tpm.execute(command(CONTEXT_LOAD, parameters=saved))
        codes = [response_code(response)]
        if codes == [0]:
            session = struct.unpack_from(">I", response, 10)[0]
            codes = [tpm.code(use_bound(session)) for _ in range(40)]
        self.assertIn(codes[-1], (REFUSED, LOCKED_HERE))
        self.assertLessEqual(self.never_locked(machine, 32), 3)


class LockoutAuthorization(Scenario):
    def test_row_07_bound_to_lockout(self):
        """One bad HMAC on GetRandom, and the lockout authorization is off until the next reset or
        its own recovery time: no Clear, no reset of the counter."""
        def attack(tpm, _):
            session, code = bound_session(tpm, LOCKOUT)
            if session is None:
                return code
            code = tpm.code(use_bound(session))
            done(tpm, flush(session))
            return failed(code)

        machine = Machine(self)
        done(machine.node, dictionary_attack_parameters(32, LONG, LONG))
        done(machine.node, command(0x129, [LOCKOUT], EMPTY_PASSWORD, b"\0\5admin"))
        self.assertEqual(attack(machine.node, None), 0)
        self.assertEqual(machine.node.code(command(
            0x139, [LOCKOUT], struct.pack(">IHBH", 0x40000009, 0, 0, 5) + b"admin")), LOCKED)
        self.refuse(attack, "bind", strongest=without())

    def test_row_07_wrong_lockout_password(self):
        """`keys` names no command that takes it."""
        def attack(tpm, _):
            return tpm.code(command(0x139, [LOCKOUT], struct.pack(
                ">IHBH", 0x40000009, 0, 0, 5) + b"wrong"))
        machine = Machine(self)
        self.assertEqual(failed(attack(machine.node, None)), 0)
        self.assertEqual(machine.node.code(clear()), LOCKED)
        self.refuse(attack, "command", strongest=without("owner", "admin"))


class ManyAttackers(Lockout):
    """Row 6: 50 sessions of ten users, half of whose keys are in the NULL hierarchy."""

    USERS, EACH = 10, 5

    def attackers(self, machine):
        sessions = []
        for user in range(self.USERS):
            for i in range(self.EACH):
                session = machine.open("keys", f"user{user}")
                sessions.append((session, own_key(session, (NULL, OWNER)[i % 2])))
        return sessions

    def round(self, sessions, codes):
        """Everybody tries at once."""
        for session, key in sessions:
            session.send(sign(key, b"wrong"))
        for session, _ in sessions:
            codes.append(response_code(session.receive()))

    def throw(self, maximum):
        machine = self.machine(maximum, LONG)
        sessions = self.attackers(machine)
        codes = []
        for _ in range(1000 // len(sessions)):
            self.round(sessions, codes)
        self.assertEqual(len(codes), 1000)
        self.assertEqual({code for code in codes if failed(code)}, {LOCKED_HERE})
        # Half of the maximum is everybody's limit together; the other half is direct users'.
        self.assertLessEqual(self.never_locked(machine, maximum), max(1, maximum // 2))
        return machine, sessions

    def test_row_06_a_thousand_tries(self):
        machine, sessions = self.throw(32)
        # Somebody who is not one of them is not refused for good: the counter is forgotten.
        done(machine.node, dictionary_attack_parameters(32, 1, 60))
        self.right_password_works(machine, *sessions[0])

    def test_row_06_a_thousand_tries_of_three(self):
        self.throw(3)

    def slowly(self, maximum, direct_limit, seconds=12):
        """Over many intervals of a second, with failures that tpmgate does not see in between."""
        machine = Machine(self)
        node = machine.node
        done(node, dictionary_attack_parameters(maximum, 1, 60))
        done(node, nv_define(DIRECT_INDEX, 8, NV_ORDINARY, b"PIN"))
        done(node, nv_write(DIRECT_INDEX, bytes(8)))
        machine.serve(config=MANY)
        machine.switch.watch()
        sessions = self.attackers(machine)
        codes = []
        direct = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for session, key in sessions:
                session.send(sign(key, b"wrong"))
            # In the middle of theirs. Nobody keeps direct users from locking the TPM alone.
            if counter(node) < direct_limit:
                direct += not failed(node.code(nv_read(DIRECT_INDEX, 8, DIRECT_INDEX, b"wrong")))
            for session, _ in sessions:
                codes.append(response_code(session.receive()))
        self.assertGreater(direct, 0)
        self.assertEqual({code for code in codes if failed(code)}, {LOCKED_HERE})
        self.never_locked(machine, maximum)
        for session, key in (sessions[0], sessions[-1]):
            self.right_password_works(machine, session, key)
        self.assertEqual(node.code(nv_read(DIRECT_INDEX, 8, DIRECT_INDEX, b"PIN")), 0)

    def test_row_06_slowly(self):
        self.slowly(32, 20)

    def test_row_06_slowly_of_three(self):
        self.slowly(3, 1)

    def test_row_06_behind_direct_failures(self):
        """Where others have used up more than half, nothing is added at all."""
        machine = Machine(self)
        node = machine.node
        done(node, dictionary_attack_parameters(32, LONG, 60))
        done(node, nv_define(DIRECT_INDEX, 8, NV_ORDINARY, b"PIN"))
        done(node, nv_write(DIRECT_INDEX, bytes(8)))
        for _ in range(16):
            self.assertEqual(failed(node.code(nv_read(DIRECT_INDEX, 8, DIRECT_INDEX, b"no"))), 0)
        machine.serve(config=MANY)
        before = facts(node)
        self.assertEqual(before["properties"][PT_LOCKOUT_COUNTER], 16)
        session = machine.open()
        key = own_key(session)
        for password in (b"wrong", b"right"):
            self.assertEqual(session.code(sign(key, password)), LOCKED_HERE)
        self.assertEqual(facts(node), before)
