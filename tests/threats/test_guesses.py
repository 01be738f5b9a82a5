"""Row 39: guesses at the owner's password, which no TPM counts, and tells nobody of.

A user has five of them, in all sessions together, whatever command and handle they are made with.
"""

import struct

from commands import (ALG_NULL, NV_NO_DA, NV_ORDINARY, change_auth, nv_define, nv_write, password,
                      primary)
from scenario import Machine, Scenario, done
from wire import EMPTY_PASSWORD, NULL, OWNER, command, response_code

NV_CERTIFY = 0x184
INDEX = 0x01800001
GUESSES = 5
SESSIONS = 16  # of a user
LOCKED_HERE = 0x000B0921
PASSWORDS = [b"%02d" % number for number in range(40)]
OWNERS = PASSWORDS[-1]


def by_primary(guess):
    return primary(OWNER, authorization=password(guess))


def by_certify(guess):
    """The owner's authorization is the second: the first is for a key that there need not be."""
    return command(NV_CERTIFY, [NULL, OWNER, INDEX], EMPTY_PASSWORD + password(guess),
                   b"\0\0" + struct.pack(">HHH", ALG_NULL, 8, 0))


def by_write(guess):
    return nv_write(INDEX, bytes(8), auth=guess)


class Guesses(Scenario):
    def prepare(self, profiles=None):
        """A machine whose owner has a password, and a session or the raw node with an index of its
        own from before."""
        machine = Machine(self)
        tpm = machine.open(profiles) if profiles else machine.node
        if not profiles or "persist" in profiles:
            done(tpm, nv_define(INDEX, 8, NV_ORDINARY | NV_NO_DA))
        done(machine.node, change_auth(OWNER, OWNERS))
        return machine, tpm

    def guess(self, tpm, attack):
        """Codes up to the right guess."""
        codes = []
        for value in PASSWORDS:
            codes.append(tpm.code(attack(value)))
            if is_right(codes[-1]):
                break
        return codes

    def assert_few(self, machine, codes):
        tried = [code for code in codes if code != LOCKED_HERE]
        self.assertLessEqual(len(tried), GUESSES)
        self.assertFalse([code for code in tried if is_right(code)])
        self.assertEqual(machine.refusals()[-1][1:], ("hierarchy-guesses", LOCKED_HERE))

    def test_row_39_guesses(self):
        _, node = self.prepare()
        self.assertTrue(is_right(self.guess(node, by_primary)[-1]))
        machine, session = self.prepare("keys")
        codes = self.guess(session, by_primary)
        self.assertEqual(len(codes) - codes.count(LOCKED_HERE), GUESSES)
        self.assert_few(machine, codes)
        # Not even the right one, since that would tell.
        self.assertEqual(session.code(by_primary(OWNERS)), LOCKED_HERE)

    def test_row_39_guesses_by_the_second_handle(self):
        _, node = self.prepare()
        self.assertTrue(is_right(self.guess(node, by_certify)[-1]))
        machine, session = self.prepare("attest+persist")
        codes = self.guess(session, by_certify)
        self.assertEqual(len(codes) - codes.count(LOCKED_HERE), GUESSES)
        self.assert_few(machine, codes)

    def test_row_39_guesses_in_new_sessions(self):
        machine, session = self.prepare("keys")
        codes = []
        for attempt in range(0, len(PASSWORDS), 2):
            codes += [session.code(by_primary(guess)) for guess in PASSWORDS[attempt:attempt + 2]]
            session.close()
            session = machine.open("keys")
        self.assert_few(machine, codes)
        # What one user has tried is not another's failure.
        other = machine.open("keys", "user1")
        self.assertEqual(other.code(by_primary(OWNERS)), 0)

    def test_row_39_guesses_in_sessions_at_once(self):
        machine, session = self.prepare("keys")
        sessions = [session] + [machine.open("keys") for _ in range(SESSIONS - 1)]
        codes = []
        for attempt in range(0, len(PASSWORDS), SESSIONS):
            guesses = list(zip(sessions, PASSWORDS[attempt:attempt + SESSIONS]))
            for one, guess in guesses:
                one.send(by_primary(guess))
            codes += [response_code(one.receive()) for one, _ in guesses]
        self.assertEqual(len(codes) - codes.count(LOCKED_HERE), GUESSES)
        self.assert_few(machine, codes)

    def test_row_39_right_passwords_are_no_guesses(self):
        machine, session = self.prepare("admin+persist")
        other = machine.open("admin+persist")
        for _ in range(GUESSES - 1):
            self.assertFalse(is_right(session.code(by_write(PASSWORDS[0]))))
        for _ in range(2 * GUESSES):
            for tpm in (session, other):
                self.assertEqual(tpm.code(by_write(OWNERS)), 0)
        self.assertFalse(is_right(other.code(by_write(PASSWORDS[1]))))
        self.assertEqual(session.code(by_write(OWNERS)), LOCKED_HERE)

    def test_row_39_empty_passwords_are_no_guesses(self):
        """Of a hierarchy that has none: whoever has guessed may use it as before."""
        machine, session = self.prepare("keys")
        self.assert_few(machine, self.guess(session, by_primary))
        done(machine.node, change_auth(OWNER, b"", old=OWNERS))
        self.assertEqual(session.code(primary(OWNER)), 0)
        self.assertEqual(session.code(by_primary(OWNERS)), LOCKED_HERE)


def is_right(code):
    """TPM_RC_BAD_AUTH is what a wrong password of a hierarchy gets."""
    return code != LOCKED_HERE and code & 0xBF != 0xA2
