"""Whoever means ill: clients, relays that were taken over, and a TPM, against the resource manager."""

import os
import signal
import socket
import struct

import fake_tpm
from harness import RM, SANITIZED, Broker, Process, Swtpm, TestCase, eventually, readable
from wire import (CC_FLUSH_CONTEXT, CC_START_AUTH_SESSION, CC_STARTUP, LIMIT, OK, OPEN, Caller, Tpm,
                  command, create_primary, decode_reply, request, response_code, start_session)

CC_CONTEXT_LOAD, CC_CONTEXT_SAVE, CC_READ_PUBLIC, CC_POLICY_GET_DIGEST = 0x161, 0x162, 0x173, 0x189
INITIALIZE, CONTEXT_GAP, SESSION_MEMORY, NOT_YOURS = 0x100, 0x901, 0x903, 0x000B01CB

# common/rm-protocol.h
MESSAGE = struct.Struct("=II240s")
MAGIC, READY, SESSION, CLEAN = 0x4D504D54, 1, 3, 4


class Packets(Tpm):
    """A session's end at the manager, as a relay has it: a packet is a response."""

    def receive(self, timeout=20):
        assert readable(self.socket, timeout), "no response"
        data = self.socket.recv(8192)
        if not data:
            raise EOFError("the session ended")
        return data


class Manager:
    """tpmgate-rm with the test in the place of the broker and of its relays."""

    def __init__(self, tpm, program=RM, environment=None):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = Process([program, "--tpm", tpm, "--objects", "16", "--sessions", "16",
                                "--clients", "8", "--timeout", "30"], fds={3: theirs},
                               user="tpmgate", env=environment)
        theirs.close()
        assert self.message() == READY

    def message(self):
        """The type of its next message; None at the end."""
        assert readable(self.control), "the manager says nothing"
        packet = self.control.recv(300)
        return MESSAGE.unpack(packet)[1] if packet else None

    def open(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self.control, [MESSAGE.pack(MAGIC, SESSION, b"")], [theirs.fileno()])
        theirs.close()
        return Packets(ours.detach())

    def stop(self):
        self.control.close()
        if self.process.running():
            self.process.stop(signal.SIGKILL)


class RelayTakenOver(TestCase):
    """It may send any command, and reaches nothing that another session has."""

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.fake = self.start(fake_tpm.FakeTpm, self.swtpm)
        self.manager = self.start(Manager, "unix:" + self.fake.socket)
        self.victim = self.start(self.manager.open)
        self.evil = self.start(self.manager.open)
        self.keys = [self.made(self.victim, create_primary()) for _ in range(3)]
        self.sessions = [self.made(self.victim, start_session(kind=1)) for _ in range(6)]

    def made(self, tpm, data):
        response = tpm.execute(data)
        self.assertEqual(response_code(response), 0, response.hex())
        return struct.unpack_from(">I", response, 10)[0]

    def flush(self, handle):
        return self.evil.code(command(CC_FLUSH_CONTEXT, parameters=struct.pack(">I", handle)))

    def is_unharmed(self):
        for key in self.keys:
            self.assertEqual(self.victim.code(command(CC_READ_PUBLIC, [key])), 0)
        for session in self.sessions:
            self.assertEqual(self.victim.code(command(CC_POLICY_GET_DIGEST, [session])), 0)

    def test_startup(self):
        """The TPM's answer to it is what tells of a reset, where another command gets it."""
        self.assertEqual(self.evil.code(command(CC_STARTUP, parameters=b"\0\0")), INITIALIZE)
        self.is_unharmed()

    def test_flush_by_another_name(self):
        """TPMs know a session by the lower 24 bits, whichever type the handle says."""
        for kind in (0x02000000, 0x03000000):
            for session in self.sessions:
                self.assertEqual(self.flush(kind | session & 0xFFFFFF), NOT_YOURS)
        self.is_unharmed()

    def test_lists(self):
        for kind in (0x02000000, 0x03000000, 0x80000000):
            self.assertEqual(self.evil.handles(kind), [])

    def test_gap_by_somebody_unknown(self):
        """Sessions that are in the way and unknown are flushed, those of others never."""
        self.fake.misbehave(fake_tpm.refuse, CONTEXT_GAP, code=CC_START_AUTH_SESSION)
        self.fake.misbehave(fake_tpm.refuse, CONTEXT_GAP, code=CC_CONTEXT_LOAD)
        self.made(self.evil, start_session(kind=1))
        self.is_unharmed()

    def test_gap_with_another_error(self):
        """What passes is no reason to give a session up."""
        self.fake.misbehave(fake_tpm.refuse, CONTEXT_GAP, code=CC_START_AUTH_SESSION)
        self.fake.misbehave(fake_tpm.refuse, SESSION_MEMORY, code=CC_CONTEXT_LOAD)
        self.assertEqual(self.evil.code(start_session(kind=1)), CONTEXT_GAP)
        self.is_unharmed()

    def test_session_given_away_and_lost(self):
        """Nothing but that session is flushed for it."""
        session = self.made(self.evil, start_session(kind=1))
        self.assertEqual(self.evil.code(command(CC_CONTEXT_SAVE, [session])), 0)
        self.is_unharmed()  # which makes the victim's younger than the one given away
        self.fake.misbehave(fake_tpm.refuse, CONTEXT_GAP, code=CC_START_AUTH_SESSION)
        self.fake.misbehave(fake_tpm.refuse, 0x1CB, code=CC_CONTEXT_LOAD)
        self.made(self.evil, start_session(kind=1))
        self.is_unharmed()

    def tearDown(self):
        self.victim.close()
        self.evil.close()
        self.manager.control.shutdown(socket.SHUT_WR)
        self.assertEqual(self.manager.message(), CLEAN)
        self.assertEqual(self.manager.process.wait(), 0)


class Reset(TestCase):
    def test_noticed_by_the_manager_itself(self):
        """Objects that have to be loaded first: the TPM's answer to that is not the last word."""
        swtpm = self.start(Swtpm)
        manager = self.start(Manager, "unix:" + swtpm.socket)
        tpm = self.start(manager.open)
        keys = [struct.unpack_from(">I", tpm.execute(create_primary()), 10)[0] for _ in range(6)]
        swtpm.reset()
        codes = [tpm.code(command(CC_READ_PUBLIC, [key])) for key in keys]
        self.assertEqual(codes[0], INITIALIZE)
        self.assertEqual(set(codes[1:]), {0x000B0910})
        self.assertEqual(tpm.code(create_primary()), 0)


class ManySessions(TestCase):
    def test_limit_that_was_reached_meanwhile(self):
        """Several requests at once that each see room for one more: the last are refused."""
        broker = self.start(Broker, self.start(Swtpm), arguments=["--no-polkit"],
                            config="[Broker]\nMaxSessionsPerUser=1\n")
        callers = [self.start(Caller, "carol") for _ in range(4)]
        for caller in callers:
            caller.call("connect")
        os.kill(broker.process.pid, signal.SIGSTOP)  # so that it sees them together
        for caller in callers:
            caller.call("send", request(OPEN, profiles="basic"))
            caller.post("receive", 20)
        os.kill(broker.process.pid, signal.SIGCONT)
        replies = [decode_reply(*caller.result(40)) for caller in callers]
        self.assertEqual(sorted(reply.status for reply in replies), sorted([OK] + [LIMIT] * 3))
        for reply in replies:
            if reply.fd >= 0:
                os.close(reply.fd)
        eventually(lambda: not broker.relays() and not broker.managers(), "the one session ends")
        self.start(lambda: callers[0].open("basic")).random()


class SameUser(TestCase):
    def memory_of_the_broker(self):
        """A manager with a TCTI may open files as the broker's user."""
        broker = self.start(Broker, self.start(Swtpm), arguments=["--no-polkit"])

        def attempt():
            try:
                os.open(f"/proc/{broker.process.pid}/mem", os.O_RDWR)
            except PermissionError:
                os._exit(0)
            os._exit(1)
        self.assertEqual(Process([attempt], user="tpmgate", name="attempt").wait(), 0)

    if not SANITIZED:  # which watches for leaks, and needs a process that can be traced for that
        test_memory_of_the_broker = memory_of_the_broker
