"""Several commands in one session, as programs on tpm2-tss and as bytes of the test's own."""

import os
import struct
import unittest

from harness import BUILD, SOCKET, TCTI, Broker, Swtpm, TestCase, run_as
from wire import (CC_FLUSH_CONTEXT, ECC_STORAGE_TEMPLATE, EMPTY_PASSWORD, LOCKOUT, NULL, OWNER,
                  REFUSED, Caller, command, create_primary, get_capability, get_random,
                  response_code, start_session, state_of, tpm2b)

FLOW = BUILD + "/tests/integration/esys-flow"
RETRY = 0x922
OBJECT_SLOTS, SESSION_SLOTS = 0x000B0902, 0x000B0903
CC_UNSEAL, CC_CREATE, CC_READ_PUBLIC, CC_POLICY_SECRET = 0x15E, 0x153, 0x173, 0x151
CC_POLICY_RESTART = 0x180


class Flows(TestCase):
    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.before = state_of(self.swtpm)
        self.broker = self.start(Broker, self.spec(), arguments=["--no-polkit"],
                                 config="[Account]\nTpmSessionsPerUser=64\nTpmSessions=64\n")

    def spec(self):
        return self.swtpm

    def unchanged(self):
        self.assertEqual(state_of(self.swtpm), self.before)


class Programs(Flows):
    @unittest.skipUnless(os.path.exists(FLOW), "built without the development files of tpm2-tss")
    def test_esys(self):
        result = run_as("carol", [FLOW, f"{TCTI}:socket={SOCKET}"])
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertTrue(result.stdout.endswith("ok all\n"), result.stdout)
        self.unchanged()

    @unittest.skipUnless(os.path.exists(FLOW), "built without the development files of tpm2-tss")
    def test_esys_over_stdio(self):
        """The same through `tpmgate stdio`, as the TCTI `cmd` runs it."""
        result = run_as("carol", [FLOW, f"cmd:{BUILD}/helper/cli/tpmgate stdio"])
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.unchanged()

    @unittest.skipUnless(os.path.exists(FLOW), "built without the development files of tpm2-tss")
    def test_esys_under_basic(self):
        result = run_as("carol", [FLOW, f"{TCTI}:socket={SOCKET},profile=basic"])
        self.assertEqual(result.returncode, 1)
        self.assertIn("CreatePrimary: 0x000b0120", result.stdout)
        self.unchanged()


class Bytes(Flows):
    objects, sessions = 32, 16  # that a session may have

    def setUp(self):
        super().setUp()
        self.carol = self.start(Caller, "carol")
        self.tpm = self.start(lambda: self.carol.open())

    def made(self, data):
        """The handle that a command returns."""
        response = self.tpm.execute(data)
        self.assertEqual(response_code(response), 0, response.hex())
        return struct.unpack_from(">I", response, 10)[0]

    def refused(self, data, code=REFUSED):
        self.assertEqual(f"{self.tpm.code(data):#010x}", f"{code:#010x}")
        self.tpm.random()

    def flush(self, handle):
        return self.tpm.code(command(CC_FLUSH_CONTEXT, parameters=struct.pack(">I", handle)))

    def test_own_handles_and_foreign_ones(self):
        key = self.made(create_primary())
        session = self.made(start_session(kind=1))
        self.assertEqual(self.tpm.code(command(CC_READ_PUBLIC, [key])), 0)
        self.assertEqual(self.tpm.code(command(CC_POLICY_RESTART, [session])), 0)
        # A handle is one's own or it is none, whatever the TPM might have behind it.
        for foreign in (key ^ 1, 0x80FFFF00, 0x80000007):
            self.assertNotEqual(self.tpm.code(command(CC_READ_PUBLIC, [foreign])), 0)
            self.assertNotEqual(self.flush(foreign), 0)
        for foreign in (session + 1, 0x02000000, 0x03000005):
            self.assertNotEqual(self.tpm.code(command(CC_POLICY_RESTART, [foreign])), 0)
            self.assertNotEqual(self.flush(foreign), 0)
            self.assertNotEqual(self.tpm.code(command(
                0x17B, [], struct.pack(">IHBH", foreign, 0, 1, 0), b"\0\x08")), 0)
        self.assertEqual(self.flush(session), 0)
        self.assertEqual(self.flush(key), 0)
        self.assertNotEqual(self.tpm.code(command(CC_READ_PUBLIC, [key])), 0)

    def test_session_bound_to_the_lockout_authorization(self):
        """With it a wrong HMAC on any command would take lockout authorization away."""
        self.refused(start_session(bind=LOCKOUT))
        self.assertEqual(self.flush(self.made(start_session(bind=NULL))), 0)

    def test_policy_secret_of_a_hierarchy(self):
        session = self.made(start_session(kind=1))
        parameters = tpm2b(b"") * 3 + struct.pack(">i", 0)
        for hierarchy in (OWNER, LOCKOUT, 0x4000000B, 0x4000000C):
            self.refused(command(CC_POLICY_SECRET, [hierarchy, session], EMPTY_PASSWORD,
                                 parameters))

    def test_key_that_is_not_exempt_from_lockout(self):
        protected = bytearray(ECC_STORAGE_TEMPLATE)
        protected[6] &= ~0x04  # noDA
        key = self.made(create_primary(template=bytes(protected)))
        sealed = tpm2b(struct.pack(">HHIHHH", 8, 0x0B, 0x452, 0, 0x10, 0))
        create = tpm2b(tpm2b(b"") + tpm2b(b"abc")) + sealed + tpm2b(b"") + bytes(4)
        self.assertIn(self.tpm.code(command(CC_CREATE, [key], EMPTY_PASSWORD, create)),
                      (0, RETRY))  # the TPM's own, at the first use of its failure counter
        self.assertEqual(self.flush(key), 0)
        key = self.made(create_primary())
        self.assertEqual(self.tpm.code(command(CC_CREATE, [key], EMPTY_PASSWORD, create)), 0)

    def test_slots(self):
        """As many objects and sessions as were promised, and no more."""
        keys = [self.made(create_primary()) for _ in range(self.objects)]
        self.refused(create_primary(), OBJECT_SLOTS)
        sessions = [self.made(start_session()) for _ in range(self.sessions)]
        self.refused(start_session(), SESSION_SLOTS)
        # What is shown is one's own, and exact.
        self.assertEqual(self.tpm.capability(1, 0x80000000),
                         struct.pack(f">II{self.objects}I", 1, self.objects, *sorted(keys)))
        self.assertEqual(self.tpm.capability(1, 0x02000000, 64)[:8],
                         struct.pack(">II", 1, self.sessions))
        self.assertEqual(self.flush(keys[1]), 0)
        self.assertEqual(self.flush(sessions[1]), 0)
        self.made(create_primary())
        self.made(start_session())
        self.tpm.close()

    def test_sessions_of_a_capability_query(self):
        """The answer about handles is the relay's own, so it cannot be authenticated."""
        session = self.made(start_session())
        area = struct.pack(">IHBH", session, 0, 0x81, 0)
        self.refused(command(0x17A, [], area, struct.pack(">III", 1, 0x80000000, 8)))
        self.assertEqual(self.tpm.code(get_capability(1, 0x80000000, 8)), 0)

    def test_capability_of_the_vendor(self):
        self.refused(get_capability(0x100, 0, 1))
        self.refused(get_capability(32, 0, 1))
        self.assertEqual(self.tpm.code(get_capability(6, 0x100, 1)), 0)

    def tearDown(self):
        self.tpm.close()
        self.carol.stop()
        self.unchanged()

    def test_startup(self):
        self.assertEqual(self.tpm.code(command(0x144, parameters=b"\0\0")), 0x100)
        self.assertEqual(self.tpm.code(get_random(4)), 0)


class BytesOfOneSession(Bytes):
    """The same on a TPM that nobody manages: as little room as in the kernel."""

    objects, sessions = 3, 3

    def spec(self):
        return "unix:" + self.swtpm.socket
