"""Many clients of one resource manager: what they have is their own, and so are their turns.

TPMGATE_LOAD_OPERATIONS and TPMGATE_LOAD_SEED in the environment choose others.
"""

import fcntl
import os
import signal
import struct
import termios
import unittest

from harness import (BUILD, SANITIZED, SOCKET, TCTI, Broker, Process, Swtpm, TestCase, eventually,
                     run_as, status_of, user_environment)
from tap import Tap
from wire import (CC_CREATE_PRIMARY, CC_FLUSH_CONTEXT, CC_GET_RANDOM, ECC_STORAGE_TEMPLATE,
                  EMPTY_PASSWORD, Caller, command, create_primary, get_random, response_code,
                  start_session, tpm2b)

LOAD = BUILD + "/tests/integration/rm-load"
OPERATIONS = int(os.environ.get("TPMGATE_LOAD_OPERATIONS", 1000 if SANITIZED else 10000))
SEED = os.environ.get("TPMGATE_LOAD_SEED", "20261125")
TIMEOUT = 850
CC_CREATE, CC_READ_PUBLIC, CC_POLICY_RESTART, CC_CONTEXT_LOAD = 0x153, 0x173, 0x180, 0x161
NO_MORE_SESSIONS = 0x000B0903
CONF = f"{TCTI}:socket={SOCKET}"


def unique_template(number):
    """Of a primary key that only NUMBER has."""
    return ECC_STORAGE_TEMPLATE[:-4] + tpm2b(bytes([number]) * 32) + tpm2b(b"")


def create(parent):
    """Create, which takes its time and leaves nothing in the TPM."""
    return command(CC_CREATE, [parent], EMPTY_PASSWORD, tpm2b(tpm2b(b"") + tpm2b(b"")) +
                   tpm2b(ECC_STORAGE_TEMPLATE) + tpm2b(b"") + bytes(4))


def flush(handle):
    return command(CC_FLUSH_CONTEXT, parameters=struct.pack(">I", handle))


class Shared(TestCase):
    """A software TPM behind the resource manager, and a tap between them."""

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.tap = self.start(Tap, self.swtpm)
        # Clients that start at the same moment, as programs of one user seldom do.
        self.broker = self.start(Broker, "rm:unix:" + self.tap.socket, arguments=["--no-polkit"],
                                 config="[Broker]\nMaxUndecidedPerUser=16\n"
                                        "[Account]\nTpmSessionsPerUser=64\nTpmSessions=64\n")

    def nothing_is_left(self):
        """Neither objects nor sessions, loaded or saved, while the resource manager goes on."""
        eventually(lambda: not self.tap.handles(), "the TPM is empty")

    def made(self, tpm, data):
        """The handle that a command returns."""
        response = tpm.execute(data)
        self.assertEqual(response_code(response), 0, response.hex())
        return struct.unpack_from(">I", response, 10)[0]

    def public(self, tpm, handle):
        """ReadPublic's response: public area, Name and qualified Name."""
        response = tpm.execute(command(CC_READ_PUBLIC, [handle]))
        self.assertEqual(response_code(response), 0, response.hex())
        return response


@unittest.skipUnless(os.path.exists(LOAD), "built without the development files of tpm2-tss")
class Programs(Shared):
    def load(self, *numbers):
        result = run_as("carol", [LOAD, CONF, *map(str, numbers), SEED], timeout=TIMEOUT)
        print(result.stdout)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertTrue(result.stdout.endswith(f"ok {numbers[-1]} operations\n"), result.stdout)
        self.nothing_is_left()

    def test_eight_clients(self):
        self.load(8, 8, 4, OPERATIONS)
        # It was more than the TPM has room for: contexts were swapped.
        codes = self.tap.codes()
        self.assertGreater(codes.count(CC_CONTEXT_LOAD), OPERATIONS // 10)

    def test_full_spaces(self):
        """32 objects and 16 sessions each."""
        self.load(2, 31, 16, OPERATIONS // 20)

    def test_twelve_clients(self):
        """With nearly as many sessions as a TPM keeps, which are 64."""
        self.load(12, 3, 5, OPERATIONS // 20)

    def test_killed_clients(self):
        """Whatever they were about."""
        process = Process([LOAD, CONF, "4", "8", "4", "10000000", SEED], user="carol",
                          env=user_environment("carol"))
        eventually(lambda: self.tap.codes().count(CC_GET_RANDOM) > 40, "operations")
        process.stop(signal.SIGKILL)
        self.nothing_is_left()
        self.load(1, 8, 4, 50)


class Bytes(Shared):
    def setUp(self):
        super().setUp()
        self.callers = [self.start(Caller, user) for user in ("bob", "carol")]
        self.tpms, self.relays = [], []
        for caller in self.callers:
            before = self.broker.relays()
            self.tpms.append(self.start(lambda: caller.open()))
            self.relays += [pid for pid in self.broker.relays() if pid not in before]
        self.assertEqual(len(self.relays), 2)

    def tearDown(self):
        for tpm in self.tpms:
            tpm.close()
        self.nothing_is_left()

    def wait_forwarded(self, i):
        """Returns when relay I has taken what was sent to it, and waits for the answer."""
        def waits():
            unread = struct.unpack("i", fcntl.ioctl(self.tpms[i].socket, termios.TIOCOUTQ,
                                                    bytes(4)))[0]
            return unread == 0 and status_of(self.relays[i])["State"].startswith("S")
        eventually(waits, "the relay waits for the TPM")


class Handles(Bytes):
    def test_capability(self):
        """GetCapability shows what is one's own."""
        own = []
        for number, tpm in enumerate(self.tpms):
            objects = [self.made(tpm, create_primary(template=unique_template(10 * number + i)))
                       for i in range(5 + number)]
            sessions = [self.made(tpm, start_session(kind=i % 2)) for i in range(4 + number)]
            own.append((objects, sessions))
        for tpm, (objects, sessions) in zip(self.tpms, own):
            self.assertEqual(tpm.capability(1, 0x80000000),
                             struct.pack(f">II{len(objects)}I", 1, len(objects),
                                         *sorted(objects)))
            sessions.sort(key=lambda handle: handle & 0xFFFFFF)
            self.assertEqual(tpm.capability(1, 0x02000000),
                             struct.pack(f">II{len(sessions)}I", 1, len(sessions), *sessions))
            self.assertEqual(tpm.capability(1, 0x03000000), struct.pack(">II", 1, 0))

    def test_others(self):
        """What another has is not there, even if a handle of one's own has the same number."""
        publics = []
        for number, tpm in enumerate(self.tpms):
            keys = [self.made(tpm, create_primary(template=unique_template(10 * number + i)))
                    for i in range(4)]
            sessions = [self.made(tpm, start_session(kind=1)) for _ in range(4)]
            publics.append(({key: self.public(tpm, key) for key in keys}, sessions))
        for i, tpm in enumerate(self.tpms):
            (keys, sessions), (others, other_sessions) = publics[i], publics[1 - i]
            for handle in others:
                if handle not in keys:
                    self.assertNotEqual(tpm.code(command(CC_READ_PUBLIC, [handle])), 0)
                    self.assertNotEqual(tpm.code(flush(handle)), 0)
            for handle in other_sessions:
                if handle not in sessions:
                    self.assertNotEqual(tpm.code(command(CC_POLICY_RESTART, [handle])), 0)
                    self.assertNotEqual(tpm.code(flush(handle)), 0)
        # Nobody has lost anything by that, or got another's.
        for tpm, (keys, sessions) in zip(self.tpms, publics):
            for handle, public in keys.items():
                self.assertEqual(self.public(tpm, handle), public)
            for handle in sessions:
                self.assertEqual(tpm.code(command(CC_POLICY_RESTART, [handle])), 0)
        self.assertEqual(len({public for keys, _ in publics for public in keys.values()}), 8)
        # And nobody's are gone because somebody flushed all of theirs.
        for handle in list(publics[0][0]) + publics[0][1]:
            self.assertEqual(self.tpms[0].code(flush(handle)), 0)
        for handle, public in publics[1][0].items():
            self.assertEqual(self.public(self.tpms[1], handle), public)


    def test_more_sessions_than_the_tpm_keeps(self):
        """Who comes too late is told so; nobody loses a session to them."""
        tpms = self.tpms + [self.start(lambda: self.callers[1].open()) for _ in range(3)]
        sessions = []
        codes = []
        for _ in range(16):
            for tpm in tpms:
                response = tpm.execute(start_session(kind=1))
                codes.append(response_code(response))
                if codes[-1] == 0:
                    sessions.append((tpm, struct.unpack_from(">I", response, 10)[0]))
        count = len(sessions)
        self.assertGreaterEqual(count, 56)
        self.assertEqual(codes, count * [0] + (80 - count) * [NO_MORE_SESSIONS])
        for tpm, session in sessions:
            self.assertEqual(tpm.code(command(CC_POLICY_RESTART, [session])), 0)
        tpm, session = sessions[0]
        self.assertEqual(tpm.code(flush(session)), 0)
        self.made(tpms[-1], start_session(kind=1))
        for tpm in tpms:
            tpm.close()


class Turns(Bytes):
    def test_one_with_a_queue(self):
        """Who has work for hours costs another one command for each of theirs."""
        busy, other = self.tpms
        slow = create(self.made(busy, create_primary()))
        other.random()
        first = len(self.tap.codes())
        self.tap.hold(CC_CREATE)
        for _ in range(8):
            busy.send(slow)
        for _ in range(50):
            self.tap.wait_held()
            # The TPM is at one of those, others wait behind it, and now another's comes.
            other.send(get_random(8))
            self.wait_forwarded(1)
            self.tap.release()
            self.assertEqual(response_code(other.receive()), 0)
            self.assertEqual(response_code(busy.receive()), 0)
            busy.send(slow)
        for _ in range(8):
            self.tap.wait_held()
            self.tap.release()
            self.assertEqual(response_code(busy.receive()), 0)
        order = [code for code in self.tap.codes(first) if code in (CC_CREATE, CC_GET_RANDOM)]
        self.assertEqual(order, 50 * [CC_CREATE, CC_GET_RANDOM] + 8 * [CC_CREATE])

    def test_client_killed_at_work(self):
        """It costs the others the command that the TPM is at, and nothing else."""
        key = self.made(self.tpms[1], create_primary(template=unique_template(1)))
        public = self.public(self.tpms[1], key)
        session = self.made(self.tpms[1], start_session(kind=1))
        first = len(self.tap.codes())
        self.tap.hold(CC_CREATE_PRIMARY)
        victim = Process([self.send_and_wait, 6 * create_primary(template=unique_template(2))],
                         user="bob", fds={3: self.tpms[0].socket}, name="victim")
        self.tpms[0].close()
        self.tap.wait_held()
        victim.stop(signal.SIGKILL)
        self.tpms[1].send(get_random(8))
        self.wait_forwarded(1)
        self.tap.hold(None)
        self.tap.release()
        self.assertEqual(response_code(self.tpms[1].receive()), 0)
        self.assertEqual(self.public(self.tpms[1], key), public)
        self.assertEqual(self.tpms[1].code(command(CC_POLICY_RESTART, [session])), 0)
        eventually(lambda: self.relays[0] not in self.broker.relays(), "its relay ends")
        self.assertEqual(self.tap.codes(first).count(CC_CREATE_PRIMARY), 1)
        for handle in (key, session):
            self.assertEqual(self.tpms[1].code(flush(handle)), 0)
        self.nothing_is_left()

    @staticmethod
    def send_and_wait(data):
        os.write(3, data)
        signal.pause()
