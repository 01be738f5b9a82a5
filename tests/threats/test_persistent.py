"""Persistent keys that belong to others, or to nobody: using, removing and multiplying them."""

import struct

from commands import (READ_PUBLIC, SIGN_TEMPLATE, evict, flush, policy_secret, primary,
                      session_entry, sign, with_handle)
from scenario import (PT_LOCKOUT_COUNTER, STORAGE_ROOT, Machine, Scenario, done, facts, failed,
                      made, persist_storage_root, without)
from wire import CC_GET_RANDOM, REFUSED, command, start_session

SIGNER = 0x81000010  # somebody's, without a password
GUARDED = 0x81000011  # somebody's, whose password is counted
OWN = 0x81000100  # the first that persist may give away
NO_SPACE, TAKEN = 0x000B014B, 0x000B014C
WEAK = without("owner", "admin")


def persist(tpm, handle, template=SIGN_TEMPLATE, auth=b""):
    key = made(tpm, primary(template=template, auth=auth))
    done(tpm, evict(key, handle))
    done(tpm, flush(key))


def others_keys(tpm):
    persist_storage_root(tpm)
    persist(tpm, SIGNER)
    guarded = bytearray(SIGN_TEMPLATE)
    guarded[6] &= ~0x04  # noDA
    persist(tpm, GUARDED, bytes(guarded), b"secret")


class Others(Scenario):
    def test_row_09_evict(self):
        for handle in (SIGNER, STORAGE_ROOT):
            with self.subTest(f"{handle:#x}"):
                self.threat(lambda tpm, _: tpm.code(evict(handle, handle)),
                            lambda before, after: handle in before["persistent"]
                            and handle not in after["persistent"],
                            ("command", "persistent-handle"), others_keys, strongest=WEAK)

    def test_row_18_use(self):
        """A signature by somebody's key: without a password it is whoever's reaches it."""
        self.threat(lambda tpm, _: tpm.code(sign(SIGNER)), None,
                    ("persistent-handle", "command"), others_keys)

    def test_row_18_storage_root_key_is_a_parent_only(self):
        """It opens the way to everybody's keys, and what is no key under it is refused."""
        machine = Machine(self)
        persist(machine.node, STORAGE_ROOT)  # somebody put a signing key there
        before = facts(machine.node)
        session = machine.open("keys")
        self.assertEqual(session.code(sign(STORAGE_ROOT)), REFUSED)
        self.assertEqual(session.code(command(
            0x153, [STORAGE_ROOT], struct.pack(">IHBH", 0x40000009, 0, 0, 0),
            b"\0\4" + bytes(4) + b"\0\0" + bytes(6))), REFUSED)
        self.assertEqual(facts(machine.node), before)


class OthersAuthorizations(Scenario):
    """Row 8: what fails, and by whose password, is the whole TPM's business."""

    def test_row_08_policy_secret(self):
        def attack(tpm, _):
            session = made(tpm, start_session(kind=1))
            code = tpm.code(policy_secret(GUARDED, session, b"guess"))
            tpm.execute(flush(session))
            return failed(code)
        self.counts(attack)

    def test_row_08_policy_secret_as_an_oracle(self):
        """The right guess is told, too."""
        def attack(tpm, _):
            session = made(tpm, start_session(kind=1))
            code = tpm.code(policy_secret(GUARDED, session, b"secret"))
            tpm.execute(flush(session))
            return code
        self.threat(attack, None, "persistent-handle", others_keys)

    def test_row_08_bound_session(self):
        """It is never named again: any command with the session tries the key's password."""
        def attack(tpm, _):
            response = tpm.execute(start_session(bind=GUARDED))
            if len(response) == 10:
                return struct.unpack_from(">I", response, 6)[0]
            session = struct.unpack_from(">I", response, 10)[0]
            code = tpm.code(command(CC_GET_RANDOM, [], session_entry(session, bytes(32), 0x81),
                                    b"\0\x08"))
            tpm.execute(flush(session))
            return failed(code)
        self.counts(attack)

    def test_row_08_use(self):
        self.counts(lambda tpm, _: failed(tpm.code(sign(GUARDED, b"guess"))))

    def counts(self, attack):
        """One failure, which is one step to where nobody's password is taken any more."""
        before, after = self.damage(attack, others_keys)
        self.assertEqual(after["properties"][PT_LOCKOUT_COUNTER],
                         before["properties"][PT_LOCKOUT_COUNTER] + 1)

        self.refuse(attack, ("persistent-handle", "bind"), others_keys)


class Own(Scenario):
    """Rows 9 and 11: with `persist`, two keys of one's own, where nothing else is."""

    def setUp(self):
        self.machine = Machine(self)
        others_keys(self.machine.node)
        self.session = self.machine.open("persist")

    def keep(self, handle):
        key = made(self.session, primary())
        code = self.session.code(evict(key, handle))
        done(self.session, flush(key))
        return code

    def test_row_09_own_keys_only(self):
        self.assertEqual(self.keep(OWN), 0)
        self.assertIn(OWN, self.machine.node.handles(0x81000000))
        done(self.session, with_handle(READ_PUBLIC, OWN))
        # As own as it is, it is not another user's.
        other = self.machine.open("persist", "user1")
        self.assertEqual(other.code(evict(OWN, OWN)), REFUSED)
        self.assertIn(OWN, self.machine.node.handles(0x81000000))
        self.assertEqual(self.session.code(evict(OWN, OWN)), 0)
        self.assertNotIn(OWN, self.machine.node.handles(0x81000000))

    def test_row_11_quota_of_keys(self):
        self.assertEqual([self.keep(OWN + i) for i in range(2)], [0, 0])
        before = facts(self.machine.node)
        self.assertEqual(f"{self.keep(OWN + 2):#x}", f"{NO_SPACE:#x}")
        # Nor in another session, or after the first has ended.
        self.session.close()
        self.session = self.machine.open("persist")
        self.assertEqual(f"{self.keep(OWN + 2):#x}", f"{NO_SPACE:#x}")
        self.assertEqual(facts(self.machine.node), before)

    def test_row_11_taken_handles(self):
        persist(self.machine.node, OWN + 5)
        before = facts(self.machine.node)
        self.assertEqual(f"{self.keep(OWN + 5):#x}", f"{TAKEN:#x}")
        for reserved in (SIGNER, 0x81010001, 0x81020000, 0x81800001):
            self.assertEqual(f"{self.keep(reserved):#x}", f"{REFUSED:#x}")
        self.assertEqual(facts(self.machine.node), before)
