"""Several sessions on one TPM by tpmgate-rm, over whatever leads to it, and when it fails them."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time

import fake_tpm
from fake_tpm import INITIALIZE, RETRY, TESTING, YIELDED, FakeTpm
from harness import (BUILD, PATIENCE, SOURCE, TPMGATE_USERS, WORLD, Broker, Swtpm, TestCase,
                     children, eventually, readable, status_of)
from mssim_peer import MssimPeer
from wire import (CC_CREATE_PRIMARY, CC_GET_RANDOM, CC_START_AUTH_SESSION, ECC_STORAGE_TEMPLATE, EMPTY_PASSWORD, OK, OPEN, Caller, Tpm, command,
                  create_primary, get_random, response_code, start_session, tpm2b)

RM = BUILD + "/helper/rm/tpmgate-rm"
DEAD = 0x000B0101  # every answer of a session whose resource manager has ended
CC_CREATE, CC_READ_PUBLIC, CC_POLICY_COMMAND_CODE, CC_POLICY_GET_DIGEST = (0x153, 0x173, 0x16C,
                                                                           0x189)
POLICY = 1
LOADED_SESSIONS, SAVED_SESSIONS, TRANSIENT, NV = 0x02000000, 0x03000000, 0x80000000, 0x01000000
TPM_SLOTS = 3  # of swtpm: objects, and loaded sessions


def left_in(swtpm):
    """What is in the TPM, seen past everything else; nobody may be connected to it."""
    tpm = Tpm.direct(swtpm)
    try:
        return [handle for kind in (LOADED_SESSIONS, SAVED_SESSIONS, TRANSIENT)
                for handle in tpm.handles(kind)]
    finally:
        tpm.close()


class Key:
    """A primary key, unlike those of another LABEL; and the session that it is in."""

    def __init__(self, tpm, label):
        self.tpm = tpm
        template = ECC_STORAGE_TEMPLATE[:-4] + tpm2b(label.encode()) + tpm2b(b"")
        response = tpm.execute(create_primary(template=template))
        assert response_code(response) == 0, response.hex()
        # handle, parameterSize, outPublic
        self.handle, _, size = struct.unpack_from(">IIH", response, 10)
        self.public = response[20:20 + size]

    def read_public(self, tpm=None):
        """Its public area as the TPM, or another session at this handle, has it; or a code."""
        response = (tpm or self.tpm).execute(command(CC_READ_PUBLIC, [self.handle]))
        if response_code(response) != 0:
            return response_code(response)
        return response[12:12 + struct.unpack_from(">H", response, 10)[0]]

    def create_child(self):
        parameters = tpm2b(tpm2b(b"") + tpm2b(b"")) + tpm2b(ECC_STORAGE_TEMPLATE)
        return self.tpm.code(command(CC_CREATE, [self.handle], EMPTY_PASSWORD,
                                     parameters + tpm2b(b"") + bytes(4)))


class Policy:
    """A policy session whose digest is one of CODE's, and so tells whose it is."""

    def __init__(self, tpm, code):
        self.tpm = tpm
        response = tpm.execute(start_session(POLICY))
        assert response_code(response) == 0, response.hex()
        self.handle = struct.unpack_from(">I", response, 10)[0]
        limit = command(CC_POLICY_COMMAND_CODE, [self.handle], None, struct.pack(">I", code))
        assert tpm.code(limit) == 0
        self.first_digest = self.digest()

    def digest(self, tpm=None):
        """Its digest, or the code with which it was refused."""
        response = (tpm or self.tpm).execute(command(CC_POLICY_GET_DIGEST, [self.handle]))
        return response[12:] if response_code(response) == 0 else response_code(response)


class Manager(TestCase):
    """A broker whose TPM is shared by a resource manager, and users of it."""

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.users = {user: self.start(Caller, user, [TPMGATE_USERS])
                      for user in ("alice", "bob", "carol")}

    def start_broker(self, spec, config=""):
        self.broker = self.start(
            Broker, "rm:" + spec, arguments=["--no-polkit", "--rm", RM],
            config=f"[ResourceManager]\n{config}\n")

    def open(self, user):
        tpm = self.users[user].open()
        self.addCleanup(tpm.close)
        return tpm

    def managers(self):
        """The pids of the resource managers that run."""
        found = []
        for pid in children(self.broker.process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if status_of(pid)["Name"] == "tpmgate-rm":
                    found.append(pid)
        return found

    def end(self, *sessions):
        """Closes the last sessions: the manager goes, and takes along what they had."""
        for tpm in sessions:
            tpm.close()
        eventually(lambda: not self.managers(), "the resource manager has ended")
        self.assertEqual(left_in(self.swtpm), [])

    def is_dead(self, *sessions):
        """Each command is answered, by an error, and the descriptor stays open."""
        for tpm in sessions:
            for request in (get_random(8), create_primary(), get_random(8)):
                self.assertEqual(tpm.code(request), DEAD)
            self.assertFalse(readable(tpm, 0))

    def is_served(self, user="carol"):
        """USER opens a session that works, with a key."""
        tpm = self.open(user)
        self.assertNotEqual(tpm.random(), tpm.random())
        self.assertEqual(Key(tpm, user).create_child(), 0)
        return tpm

    def refused(self, *parts):
        """OPEN is refused in one line that has all of PARTS, and no manager stays."""
        reply = self.users["alice"].ask(OPEN, profiles="keys")
        self.assertNotEqual(reply.status, OK)
        self.assertEqual(len(reply.message.splitlines()), 1, reply)
        for part in parts:
            self.assertIn(part, reply.message)
        eventually(lambda: not self.managers(), "the resource manager has ended")
        return reply

    def log_lines(self, part):
        return [line for line in self.broker.process.logged().splitlines() if part in line]


class Backends(Manager):
    def shares(self, spec):
        self.start_broker(spec)
        self.assertEqual(self.managers(), [], "started before there is any need")
        alice, bob = self.open("alice"), self.open("bob")
        manager, = self.managers()
        self.assertNotEqual(alice.random(), bob.random())
        # More than fit into the TPM together.
        keys = [Key(alice, "a0"), Key(bob, "b0"), Key(alice, "a1"), Key(alice, "a2")]
        policies = [Policy(tpm, code) for code in (0x15D, 0x15E) for tpm in (alice, bob)]
        policies += [Policy(alice, 0x157), Policy(alice, 0x153)]
        self.assertGreater(len(keys), TPM_SLOTS)
        self.assertGreater(len(policies), TPM_SLOTS)
        self.assertEqual(len({key.public for key in keys}), len(keys))
        for key in keys + keys[::-1]:
            self.assertEqual(key.read_public(), key.public)
            self.assertEqual(key.create_child(), 0)
        for policy in policies + policies[::-1]:
            self.assertEqual(policy.digest(), policy.first_digest)
        self.are_apart(alice, bob, keys, policies)
        # One of them ends, and the other's do not.
        bob.close()
        self.assertEqual(keys[-1].read_public(), keys[-1].public)
        self.assertEqual(policies[-1].digest(), policies[-1].first_digest)
        self.assertEqual(self.managers(), [manager])
        self.end(alice)
        self.end(self.is_served())

    def are_apart(self, alice, bob, keys, policies):
        """Each sees what it made, and reaches nothing else."""
        for tpm, other in ((alice, bob), (bob, alice)):
            own = [key.handle for key in keys if key.tpm is tpm]
            self.assertEqual(sorted(tpm.handles(TRANSIENT)), sorted(own))
            self.assertEqual(sorted(handle & 0xFFFFFF for handle in tpm.handles(LOADED_SESSIONS)),
                             sorted(policy.handle & 0xFFFFFF for policy in policies
                                    if policy.tpm is tpm))
            for key in keys:
                if key.tpm is other and key.handle not in own:
                    self.assertIsInstance(key.read_public(tpm), int)
            for policy in policies:
                if policy.tpm is other:
                    self.assertIsInstance(policy.digest(tpm), int)

    def test_unix(self):
        self.shares("unix:" + self.swtpm.socket)

    def test_tcti_swtpm(self):
        self.shares("tcti:swtpm:path=" + self.swtpm.socket)

    def test_tcti_cmd(self):
        self.shares(f"tcti:cmd:/usr/bin/python3 -B {SOURCE}/tests/integration/pipe.py "
                    + self.swtpm.socket)

    def test_tcti_mssim(self):
        self.shares("tcti:mssim:" + self.start(MssimPeer, self.swtpm).conf)

    def test_mssim_peer_itself(self):
        """What stands in for the simulator is what tpm2-tools take for one."""
        peer = self.start(MssimPeer, self.swtpm)
        env = dict(os.environ, TPM2TOOLS_TCTI="mssim:" + peer.conf)
        for argv in (["tpm2_getrandom", "--hex", "8"],
                     ["tpm2_createprimary", "-Q", "-G", "ecc", "-c", "primary.ctx"],
                     ["tpm2_readpublic", "-Q", "-c", "primary.ctx"]):
            subprocess.run(argv, env=env, cwd=WORLD, check=True, timeout=PATIENCE,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Unreachable(Manager):
    def test_path_that_is_not_there(self):
        path = self.swtpm.directory + "/absent.sock"
        self.start_broker("unix:" + path)
        self.refused(path)
        self.refused(path)

    def test_socket_that_nobody_listens_at(self):
        path = self.swtpm.directory + "/deserted.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deserted:
            deserted.bind(path)
        os.chmod(path, 0o666)
        self.start_broker("unix:" + path)
        self.refused(path)

    def test_tcti_that_does_not_exist(self):
        self.start_broker("tcti:nosuch:conf=1")
        self.refused("nosuch")

    def test_tcti_that_reaches_nothing(self):
        path = self.swtpm.directory + "/absent.sock"
        self.start_broker("tcti:swtpm:path=" + path)
        self.refused("swtpm", path)

    def test_manager_that_is_not_installed(self):
        """Told by the broker when it starts, and not by a session that somebody asks for."""
        broker = self.start(Broker, "rm:unix:" + self.swtpm.socket,
                            arguments=["--no-polkit", "--rm", "/nonexistent/tpmgate-rm"], wait=False)
        self.assertNotEqual(broker.process.wait(), 0)
        line, = broker.process.logged().splitlines()
        self.assertIn("/nonexistent/tpmgate-rm", line)

    def test_tpm_that_appears_later(self):
        self.swtpm.process.stop(signal.SIGKILL)
        self.start_broker("unix:" + self.swtpm.socket)
        self.refused(self.swtpm.socket)
        self.swtpm.launch()
        self.end(self.is_served())


# What a TPM does, to which command code, and how a client brings it about.
RANDOM = (CC_GET_RANDOM, get_random(8))
PRIMARY = (CC_CREATE_PRIMARY, create_primary())
SESSION = (CC_START_AUTH_SESSION, start_session())
LIES = {
    "hangs up in the middle of a response": (fake_tpm.cut, RANDOM),
    "hangs up before a response": (fake_tpm.hang_up, RANDOM),
    "hangs up before the response that has a handle": (fake_tpm.hang_up, PRIMARY),
    "size below a header's": (fake_tpm.too_small, RANDOM),
    "size of bytes that never come": (fake_tpm.too_large, RANDOM),
    "size above 4096": (fake_tpm.enormous, RANDOM),
    "bytes behind the response": (fake_tpm.trailing, RANDOM),
    "bytes behind the response that has a handle": (fake_tpm.trailing, PRIMARY),
    "primary key at a handle of NV": (fake_tpm.wrong_handle, PRIMARY, NV),
    "primary key at a session's handle": (fake_tpm.wrong_handle, PRIMARY, LOADED_SESSIONS),
    "session at an object's handle": (fake_tpm.wrong_handle, SESSION, TRANSIENT),
    "session at a handle of NV": (fake_tpm.wrong_handle, SESSION, NV),
    "says nothing": (fake_tpm.silent, RANDOM),
}


class Faked(Manager):
    spec = "unix:"
    lies = LIES

    def setUp(self):
        super().setUp()
        self.fake = self.start(FakeTpm, self.swtpm)
        self.start_broker(self.spec + self.fake.socket, "CommandTimeoutSec=1")

    def misbehaved(self):
        """The test proves something only if it came to that."""
        self.assertEqual(self.fake.left(), 0)


class Lies(Faked):
    def test_lies(self):
        """Each ends the manager and every session of it; the next OPEN finds a new one."""
        for name, (function, (code, request), *arguments) in self.lies.items():
            with self.subTest(name):
                alice, bob = self.open("alice"), self.open("bob")
                Key(bob, "bob")
                Policy(bob, 0x157)
                manager, = self.managers()
                self.fake.misbehave(function, *arguments, code=code)
                self.assertEqual(alice.code(request), DEAD)
                self.misbehaved()
                eventually(lambda: manager not in self.managers(), "the manager has ended")
                self.is_dead(alice, bob)
                # The old ones do not come back to life with it.
                carol = self.is_served()
                self.is_dead(alice, bob)
                self.end(alice, bob, carol)

    def test_response_that_nobody_asked_for(self):
        """It must not become the answer to the next command, which may be somebody else's."""
        alice, bob = self.open("alice"), self.open("bob")
        self.fake.misbehave(fake_tpm.twice, 0.1, code=CC_GET_RANDOM)
        alice.execute(get_random(8))
        self.misbehaved()
        self.assertEqual(bob.code(get_random(8)), DEAD)
        self.end(alice, bob, self.is_served())

    def test_lie_while_another_waits(self):
        alice, bob = self.open("alice"), self.open("bob")
        self.fake.misbehave(fake_tpm.silent, code=CC_GET_RANDOM)
        begin = time.monotonic()
        alice.send(get_random(8))
        bob.send(get_random(8))
        self.assertEqual({response_code(tpm.receive()) for tpm in (alice, bob)}, {DEAD})
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.is_dead(alice, bob)
        self.end(alice, bob, self.is_served())

    def test_lie_at_the_start(self):
        """No session comes of it, and none of the TPM's doing hinders the next."""
        for function in (fake_tpm.cut, fake_tpm.too_small, fake_tpm.enormous, fake_tpm.silent):
            with self.subTest(function.__name__):
                self.fake.misbehave(function)
                self.refused()
                self.misbehaved()
                self.end(self.is_served())

    def test_one_line_in_the_log(self):
        tpm = self.open("alice")
        self.fake.misbehave(fake_tpm.too_small, code=CC_GET_RANDOM)
        self.assertEqual(tpm.code(get_random(8)), DEAD)
        self.broker.process.wait_for_log("resource manager")
        self.end(tpm)
        self.assertEqual(len(self.log_lines("tpmgate-rm: ")), 1, self.broker.process.logged())


class LiesThroughTcti(Lies):
    """A TCTI that connects for each command, so that what follows a response is nobody's."""

    spec = "tcti:swtpm:path="
    lies = {name: lie for name, lie in LIES.items() if lie[0] is not fake_tpm.trailing}
    test_response_that_nobody_asked_for = None


class Patience(Faked):
    def test_busy_tpm(self):
        """What only asks for the command once more is not the client's to see."""
        tpm = self.open("alice")
        for code in (RETRY, YIELDED, TESTING):
            for cc, request in (RANDOM, PRIMARY, SESSION):
                with self.subTest(f"{code:#x} to {cc:#x}"):
                    self.fake.misbehave(fake_tpm.refuse, code, code=cc, times=3)
                    self.assertEqual(tpm.code(request), 0)
                    self.misbehaved()
        self.end(tpm)

    def test_busy_tpm_at_the_start(self):
        for code in (RETRY, YIELDED, TESTING):
            with self.subTest(f"{code:#x}"):
                self.fake.misbehave(fake_tpm.refuse, code, times=3)
                tpm = self.is_served()
                self.misbehaved()
                self.end(tpm)

    def test_tpm_that_stays_busy(self):
        tpm = self.open("alice")
        self.fake.misbehave(fake_tpm.refuse, RETRY, code=CC_GET_RANDOM, times=1000)
        self.assertEqual(tpm.code(get_random(8)), DEAD)
        self.is_dead(tpm)
        self.assertTrue(0 < self.fake.left() < 1000)
        tpm.close()

    def test_command_that_takes_long(self):
        """Making a key may take ten times as long as others may."""
        alice, bob = self.open("alice"), self.open("bob")
        self.fake.misbehave(fake_tpm.slow, 3, code=CC_CREATE_PRIMARY)
        begin = time.monotonic()
        self.assertEqual(alice.code(create_primary()), 0)
        self.assertGreater(time.monotonic() - begin, 2.9)
        self.misbehaved()
        bob.random()
        self.fake.misbehave(fake_tpm.slow, 3, code=CC_GET_RANDOM)
        self.assertEqual(bob.code(get_random(8)), DEAD)
        self.is_dead(alice, bob)
        self.misbehaved()  # which is asked when it is done
        self.end(alice, bob, self.is_served())

    def test_command_that_takes_too_long(self):
        alice, bob = self.open("alice"), self.open("bob")
        self.fake.misbehave(fake_tpm.silent, code=CC_CREATE_PRIMARY)
        begin = time.monotonic()
        self.assertEqual(alice.code(create_primary()), DEAD)
        self.assertTrue(9 < time.monotonic() - begin < 20)
        self.is_dead(bob)
        self.end(alice, bob, self.is_served())

    def test_tpm_that_waits_for_startup(self):
        """As after a reset: it refuses all else until it is started."""
        self.fake.misbehave(fake_tpm.refuse, INITIALIZE)
        tpm = self.is_served()
        self.misbehaved()
        self.end(tpm)


class Broken(Manager):
    """Processes that end, and a TPM that forgets."""

    def setUp(self):
        super().setUp()
        self.start_broker("unix:" + self.swtpm.socket)

    def open_full(self):
        """Two sessions with more of everything than the TPM holds loaded."""
        alice, bob = self.open("alice"), self.open("bob")
        for i in range(TPM_SLOTS):
            for tpm in (alice, bob):
                Key(tpm, f"{tpm.session}.{i}")
                Policy(tpm, 0x15D)
        return alice, bob

    def test_tpm_that_is_killed(self):
        alice, bob = self.open_full()
        self.swtpm.process.stop(signal.SIGKILL)
        self.is_dead(alice, bob)
        eventually(lambda: not self.managers(), "the resource manager has ended")
        self.refused(self.swtpm.socket)
        self.swtpm.launch()
        carol = self.is_served()
        self.is_dead(alice, bob)
        self.end(alice, bob, carol)

    def test_tpm_that_is_reset(self):
        alice, bob = self.open("alice"), self.open("bob")
        keys = Key(alice, "alice"), Key(bob, "bob")
        policies = Policy(alice, 0x15D), Policy(bob, 0x15D)
        self.swtpm.reset()
        for key in keys:
            self.assertIsInstance(key.read_public(), int)
        for policy in policies:
            self.assertIsInstance(policy.digest(), int)
        alice.close()
        bob.close()
        eventually(lambda: not self.managers(), "the resource manager has ended")
        self.end(self.is_served())

    def test_tpm_that_is_reset_while_nobody_is_there(self):
        self.swtpm.reset()
        self.end(self.is_served())

    def test_manager_that_is_killed(self):
        alice, bob = self.open_full()
        manager, = self.managers()
        before = len(self.log_lines("resource manager"))
        os.kill(manager, signal.SIGKILL)
        self.is_dead(alice, bob)
        eventually(lambda: not self.managers(), "it has ended")
        # It could not clean up: the test is about something.
        left = left_in(self.swtpm)
        self.assertTrue(any(handle >> 24 == SAVED_SESSIONS >> 24 for handle in left), left)
        self.assertTrue(any(handle >> 24 == TRANSIENT >> 24 for handle in left), left)
        carol = self.is_served()
        self.assertNotEqual(self.managers(), [manager])
        self.is_dead(alice, bob)
        self.end(alice, bob, carol)
        told = self.log_lines("resource manager")[before:]
        self.assertTrue(any("kill" in line.lower() or "signal" in line for line in told), told)

    def test_manager_that_is_killed_again_and_again(self):
        """However often, nothing of the one before is in the way of the next."""
        for _ in range(5):
            alice, bob = self.open_full()
            manager = self.managers()[0]
            os.kill(manager, signal.SIGKILL)
            self.is_dead(alice, bob)
            alice.close()
            bob.close()
            # until then a session may still be given to it, and end with it
            eventually(lambda: manager not in self.managers(), "it has ended")
        self.end(self.is_served())

    def test_manager_that_does_not_answer(self):
        """Stopped, and so alive: the session is not closed, and goes on when the manager does."""
        tpm = self.open("alice")
        manager, = self.managers()
        os.kill(manager, signal.SIGSTOP)
        try:
            tpm.send(get_random(8))
            self.assertFalse(readable(tpm, 0.5))
        finally:
            os.kill(manager, signal.SIGCONT)
        self.assertEqual(response_code(tpm.receive()), 0)
        self.end(tpm)
