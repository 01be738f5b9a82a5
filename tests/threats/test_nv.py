"""NV indices: others' content, the space that all share, and the wear that nobody repairs."""

import struct

from commands import (NV_AUTH_WRITE, NV_COUNTER, NV_EXTEND, NV_EXTEND_TYPE, NV_GLOBAL_LOCK,
                      NV_GLOBAL_WRITE_LOCK, NV_INCREMENT, NV_LOCKABLE, NV_NO_DA, NV_ORDINARY,
                      NV_READ_LOCK, NV_READ_PUBLIC, NV_UNDEFINE_SPACE, NV_WRITE_LOCK,
                      POLICY_AUTHORIZE_NV, by_owner, flush, nv, nv_define, nv_read, nv_write,
                      policy_nv, policy_secret, session_entry, take_tpm2b, with_handle)
from harness import USERS
from scenario import (PT_LOCKOUT_COUNTER, Machine, Scenario, done, facts, failed, made,
                      read_nv, without)
from wire import (ADOPT, CC_GET_RANDOM, EMPTY_PASSWORD, KIND_NV, OK, OWNER, REFUSED, Caller,
                  adopt_part, command, response_code, start_session)

VICTIM, COUNTER, PIN, NV_PCR = 0x01800001, 0x01800002, 0x01800003, 0x01D10200
PIN_FAIL, PIN_PASS = 8 << 4, 9 << 4
PIN_OWN = (NV_ORDINARY & ~NV_AUTH_WRITE) | NV_NO_DA  # its own password must not write it
NO_SPACE, NV_RATE = 0x000B014B, 0x000B0920
WEAK = without("owner", "admin")
COMMAND_OR_INDEX = ("command", "nv-index", "nv-attributes", "nv-range")


def others_indices(tpm):
    done(tpm, nv_define(VICTIM, attributes=NV_LOCKABLE))
    done(tpm, nv_write(VICTIM, bytes(range(32))))
    done(tpm, nv_define(COUNTER, 8, NV_ORDINARY | NV_NO_DA | NV_COUNTER))
    done(tpm, nv(NV_INCREMENT, COUNTER))


def nv_changed(index):
    return lambda before, after: before["nv"][index] != after["nv"].get(index)


class Others(Scenario):
    def test_row_10_undefine(self):
        self.threat(lambda tpm, _: tpm.code(nv(NV_UNDEFINE_SPACE, VICTIM)),
                    lambda before, after: VICTIM in before["nv"] and VICTIM not in after["nv"],
                    COMMAND_OR_INDEX, others_indices, strongest=WEAK)

    def test_row_12_write_and_increment(self):
        for index, attack in ((VICTIM, nv_write(VICTIM, b"gone")),
                              (COUNTER, nv(NV_INCREMENT, COUNTER))):
            with self.subTest(f"{index:#x}"):
                self.threat(lambda tpm, _: tpm.code(attack), nv_changed(index),
                            COMMAND_OR_INDEX, others_indices, strongest=WEAK)

    def test_row_13_locks(self):
        for name, code, locked in (("write", NV_WRITE_LOCK, nv_write(VICTIM, b"x")),
                                   ("read", NV_READ_LOCK, nv_read(VICTIM, 4))):
            with self.subTest(name):
                machine = Machine(self)
                others_indices(machine.node)
                self.assertEqual(machine.node.code(nv(code, VICTIM)), 0)
                self.assertNotEqual(machine.node.code(locked), 0)
                self.refuse(lambda tpm, _: tpm.code(nv(code, VICTIM)), COMMAND_OR_INDEX,
                            others_indices, strongest=WEAK)

    def test_row_13_global_write_lock(self):
        """Of every index that its owner meant to lock some day, at once."""
        self.threat(lambda tpm, _: tpm.code(by_owner(NV_GLOBAL_WRITE_LOCK)),
                    nv_changed(VICTIM), "command", others_indices, strongest=WEAK)

    def test_row_18_read(self):
        def attack(tpm, _):
            response = tpm.execute(nv_read(VICTIM, 32))
            if response_code(response) == 0:
                self.assertIn(bytes(range(32)), response)
            return response_code(response)
        self.threat(attack, None, COMMAND_OR_INDEX, others_indices, strongest=WEAK)


class Reserved(Scenario):
    """The indices of the endorsement certificates, of systemd and of makers are no user's."""

    def test_row_11_squatting(self):
        for index in (0x01C0000A, 0x01C90000, NV_PCR, 0x01400001, 0x01000001):
            with self.subTest(f"{index:#x}"):
                self.threat(lambda tpm, _: tpm.code(nv_define(index)),
                            lambda before, after: index in after["nv"], COMMAND_OR_INDEX)

    def test_row_14_extend_of_nv_pcr(self):
        def prepare(tpm):
            done(tpm, nv_define(NV_PCR, 32, NV_ORDINARY | NV_NO_DA | NV_EXTEND_TYPE))
            done(tpm, nv(NV_EXTEND, NV_PCR, parameters=b"\0\4boot"))
        self.threat(lambda tpm, _: tpm.code(nv(NV_EXTEND, NV_PCR, parameters=b"\0\4mine")),
                    nv_changed(NV_PCR), COMMAND_OR_INDEX, prepare)


class Full(Scenario):
    def test_row_11_no_space_left(self):
        machine = Machine(self)
        count = 0
        while machine.node.code(nv_define(0x01800100 + count, 2048)) == 0:
            count += 1
        size = 1024
        while size > 1:
            if machine.node.code(nv_define(0x01800100 + count, size)) == 0:
                count += 1
            else:
                size //= 2
        # Nobody stores a byte any more.
        self.assertEqual(machine.node.code(nv_define(VICTIM, 64)), 0x14B)

        machine = Machine(self)
        session = machine.open("persist")
        for i in range(2):
            self.assertEqual(session.code(nv_define(0x01800100 + i, 512)), 0)
        before = facts(machine.node)
        self.assertEqual(f"{session.code(nv_define(0x01800104, 8)):#x}", f"{NO_SPACE:#x}")
        session.close()
        session = machine.open("persist")
        self.assertEqual(f"{session.code(nv_define(0x01800104, 8)):#x}", f"{NO_SPACE:#x}")
        self.assertEqual(session.code(nv_define(0x01C00002, 8)), REFUSED)
        self.assertEqual(facts(machine.node), before)
        # That is not all that there is for users, so that another has some left.
        codes = [machine.open("persist", f"user{user}").code(nv_define(0x01800200 + user, 512))
                 for user in range(4)]
        # Nor are many users many quotas: all of them together leave room for the machine's own.
        self.assertEqual(codes, [0, 0, NO_SPACE, NO_SPACE])
        self.assertEqual(machine.node.code(nv_define(VICTIM, 1024)), 0)

    def test_row_11_number_of_indices(self):
        machine = Machine(self)
        session = machine.open("persist")
        codes = [session.code(nv_define(0x01800100 + i, 8)) for i in range(6)]
        self.assertEqual(codes, [0] * 4 + [NO_SPACE] * 2)

    def test_row_11_what_an_index_may_be(self):
        """No size beyond the quota, none that counts failures, none that others must undefine."""
        machine = Machine(self)
        before = facts(machine.node)
        session = machine.open("persist")
        for name, attack in {
                "large": nv_define(0x01800001, 513),
                "counts failures": nv_define(0x01800001, 8, NV_ORDINARY),
                "global lock": nv_define(0x01800001, 8, NV_ORDINARY | NV_NO_DA | NV_GLOBAL_LOCK),
                "fails by PIN": nv_define(0x01800001, 8, PIN_OWN | PIN_FAIL),
                "passes by PIN": nv_define(0x01800001, 8, PIN_OWN | PIN_PASS),
                "policy delete": nv_define(0x01800001, 8, NV_ORDINARY | NV_NO_DA | 1 << 10),
                "platform writes": nv_define(0x01800001, 8, NV_ORDINARY | NV_NO_DA | 1),
                "platform reads": nv_define(0x01800001, 8, NV_ORDINARY | NV_NO_DA | 1 << 16),
                "platform's": nv_define(0x01800001, 8, NV_ORDINARY | NV_NO_DA | 1 << 30)}.items():
            with self.subTest(name):
                self.assertIn(session.code(attack), (REFUSED, NO_SPACE))
                self.assertEqual(facts(machine.node), before)
        self.assertEqual(len(machine.refusals()), 9)


class Wear(Scenario):
    """Row 12: NV cells are written so often and then no more."""

    def test_row_12_wear_of_ones_own(self):
        machine = Machine(self)
        done(machine.node, nv_define(COUNTER, 8, NV_ORDINARY | NV_NO_DA | NV_COUNTER))
        for _ in range(100):
            done(machine.node, nv(NV_INCREMENT, COUNTER))  # as fast as it can

        machine = Machine(self)
        session = machine.open("persist")
        done(session, nv_define(COUNTER, 8, NV_ORDINARY | NV_NO_DA | NV_COUNTER))
        done(session, nv_define(VICTIM))
        codes = []
        for _ in range(50):
            codes.append(session.code(nv(NV_INCREMENT, COUNTER, COUNTER)))
            codes.append(session.code(nv_write(VICTIM, b"x", VICTIM)))
        self.assertGreaterEqual(codes.count(0), 1)
        self.assertLessEqual(codes.count(0), 12)
        self.assertEqual({code >> 16 for code in codes if code}, {0x000B})
        before = facts(machine.node)
        # Another session is no second life.
        session.close()
        session = machine.open("persist")
        self.assertNotEqual(session.code(nv_write(VICTIM, b"y", VICTIM)), 0)
        self.assertEqual(facts(machine.node), before)

    def test_row_12_wear_by_wrong_passwords(self):
        """Each try is written to a PIN index. None is one's own, but for those that an
        administrator has given to a user."""
        machine = Machine(self)
        done(machine.node, nv_define(PIN, 8, PIN_OWN | PIN_FAIL, b"1234"))
        public = take_tpm2b(done(machine.node, with_handle(NV_READ_PUBLIC, PIN)), 10)[0]
        done(machine.node, nv_write(PIN, struct.pack(">II", 0, 0xFFFFFFFF)))
        session = machine.open("persist")
        reply = self.start(Caller, 0).ask(
            ADOPT, tail=adopt_part(USERS["carol"], KIND_NV, PIN, public, 8))
        self.assertEqual(reply.status, OK, reply.message)
        codes = [session.code(nv_read(PIN, 8, PIN, b"wrong")) for _ in range(50)]
        self.assertEqual({code for code in codes if code >> 16}, {NV_RATE})
        tried = struct.unpack(">II", read_nv(machine.node, PIN)[1][6:14])[0]
        self.assertGreaterEqual(tried, 1)
        self.assertLessEqual(tried, 10)


class Oracles(Scenario):
    """Row 33, and what row 8 says of indices."""

    def guarded(self, tpm):
        """A secret that nobody reads without its password, or a policy on it."""
        done(tpm, nv_define(VICTIM, 4, NV_ORDINARY | NV_NO_DA, b""))
        done(tpm, nv_write(VICTIM, b"PIN7"))

    def guess(self, tpm, _):
        """Byte by byte: TPM_RC_POLICY for a wrong guess."""
        session = made(tpm, start_session(kind=1))
        found = b""
        code = 0
        try:
            for offset in range(4):
                for value in range(0x30, 0x5B):
                    code = tpm.code(policy_nv(VICTIM, session, bytes([value]), OWNER,
                                              offset=offset))
                    if code == 0:
                        found += bytes([value])
                        break
                    if code >> 16:
                        return code
        finally:
            tpm.execute(flush(session))
        return 0 if found == b"PIN7" else 1

    def test_row_33_policy_nv(self):
        self.threat(self.guess, None, "nv-index", self.guarded, strongest=WEAK)

    def test_row_33_policy_nv_by_its_own_password(self):
        def attack(tpm, _):
            session = made(tpm, start_session(kind=1))
            code = tpm.code(policy_nv(VICTIM, session, b"PIN7"))
            tpm.execute(flush(session))
            return code
        self.threat(attack, None, "nv-index", self.guarded, strongest=WEAK)

    def test_row_33_policy_authorize_nv(self):
        """It tells whether a policy is in somebody's index; systemd's are open to all by design."""
        def attack(tpm, _):
            session = made(tpm, start_session(kind=1))
            code = tpm.code(command(POLICY_AUTHORIZE_NV, [OWNER, VICTIM, session], EMPTY_PASSWORD))
            tpm.execute(flush(session))
            return code

        def prepare(tpm):
            done(tpm, nv_define(VICTIM, 34))
            done(tpm, nv_write(VICTIM, struct.pack(">H", 0x0B) + bytes(32)))
        self.threat(attack, None, "nv-index", prepare, strongest=WEAK)

    def test_row_08_pin_index(self):
        """A wrong try is one of the few that the PIN has, and stays counted over resets."""
        def prepare(tpm):
            done(tpm, nv_define(PIN, 8, PIN_OWN | PIN_FAIL, b"1234"))
            done(tpm, nv_write(PIN, struct.pack(">II", 0, 3)))

        def attack(tpm, _):
            session = made(tpm, start_session(kind=1))
            code = tpm.code(policy_secret(PIN, session, b"0000"))
            tpm.execute(flush(session))
            return 0 if code & 0xBF == 0xA2 & 0xBF else code
        self.threat(attack, nv_changed(PIN), ("nv-index", "entity"), prepare)

    def test_row_08_index_that_counts_failures(self):
        def prepare(tpm):
            done(tpm, nv_define(VICTIM, 8, NV_ORDINARY, b"secret"))
            done(tpm, nv_write(VICTIM, bytes(8)))

        def guess(tpm, _):
            session = made(tpm, start_session(kind=1))
            code = tpm.code(policy_secret(VICTIM, session, b"guess"))
            tpm.execute(flush(session))
            return failed(code)

        def bind(tpm, _):
            response = tpm.execute(start_session(bind=VICTIM))
            if response_code(response):
                return response_code(response)
            session = struct.unpack_from(">I", response, 10)[0]
            code = tpm.code(command(CC_GET_RANDOM, [], session_entry(session, bytes(32), 0x81),
                                    b"\0\x08"))
            tpm.execute(flush(session))
            return failed(code)
        for name, attack in (("secret", guess), ("bind", bind)):
            with self.subTest(name):
                self.threat(attack, lambda before, after:
                            after["properties"][PT_LOCKOUT_COUNTER] == 1,
                            ("nv-index", "bind"), prepare)
