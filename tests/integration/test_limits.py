"""Silent and slow clients, too many of them, and a TPM that serves one session at a time."""

import os
import resource
import time

from harness import (NUMBERED, PATIENCE, TPMGATE_USERS, Broker, Swtpm, TestCase, descriptors_of,
                     eventually)
from wire import BUSY, LIMIT, OK, OPEN, Caller, Tpm, decode_reply, get_random, request

TIMEOUT = 2  # RequestTimeoutSec in these tests


class Limits(TestCase):
    def start_broker(self, config="", **options):
        self.swtpm = self.start(Swtpm)
        self.broker = self.start(
            Broker, "unix:" + self.swtpm.socket, arguments=["--no-polkit"],
            config=f"[Broker]\nRequestTimeoutSec={TIMEOUT}\n{config}", **options)

    def caller(self, user):
        return self.start(Caller, user, [TPMGATE_USERS])

    def is_served(self, caller, within=PATIENCE):
        begin = time.monotonic()
        tpm = caller.open()
        tpm.random()
        tpm.close()
        self.assertLess(time.monotonic() - begin, within)

    def is_served_eventually(self, caller):
        def served():
            reply = caller.ask(OPEN, profiles="keys")
            if reply.status == OK:
                Tpm(reply.fd).close()
            return reply.status == OK
        eventually(served, "another caller is served")


class Undecided(Limits):
    def test_silent_client(self):
        self.start_broker()
        silent, carol = self.caller("bob"), self.caller("carol")
        before = len(descriptors_of(self.broker.process.pid))
        silent.call("connect_more", 1)
        self.is_served(carol, TIMEOUT)
        # The deadline ends it.
        eventually(lambda: silent.call("count_open")[0] == 0, "the deadline")
        eventually(lambda: len(descriptors_of(self.broker.process.pid)) <= before, "descriptors")
        self.is_served(silent)

    def test_one_uid_with_many_connections(self):
        self.start_broker()
        silent, carol = self.caller("bob"), self.caller("carol")
        silent.call("connect_more", 20)
        self.is_served(carol, TIMEOUT)
        reply = self.caller("bob").ask(OPEN, profiles="keys")
        self.assertEqual(reply.status, LIMIT, reply)
        silent.call("close_more")
        self.is_served_eventually(silent)

    def test_two_hundred_half_open_connections(self):
        self.start_broker()
        silent = [self.caller(user) for user in NUMBERED[:50]]
        carol = self.caller("carol")
        before = len(descriptors_of(self.broker.process.pid))
        for caller in silent:
            caller.call("connect_more", 4)
        # Even if they keep coming, each for as long as the deadline lets it.
        self.is_served_eventually(carol)
        for caller in silent:
            caller.call("close_more")
        self.is_served(carol, TIMEOUT)
        eventually(lambda: len(descriptors_of(self.broker.process.pid)) <= before, "descriptors")

    def test_client_that_does_not_read_its_reply(self):
        self.start_broker()
        lazy, carol = self.caller("bob"), self.caller("carol")
        lazy.call("connect")
        lazy.call("send", request(OPEN, profiles="keys"))
        # The session is there, its client is not: it goes when the client does.
        eventually(lambda: self.broker.relays(), "the session")
        lazy.call("close")
        self.is_served_eventually(carol)

    def test_more_than_one_request(self):
        self.start_broker()
        eager = self.caller("bob")
        eager.call("connect")
        eager.call("send", request(OPEN, profiles="basic"))
        try:
            eager.call("send", request(OPEN, profiles="basic"))
        except (BrokenPipeError, ConnectionResetError):
            pass
        data, fds = eager.call("receive", PATIENCE)
        decode_reply(data, fds)
        for fd in fds:
            os.close(fd)
        eager.call("close")
        self.is_served_eventually(self.caller("carol"))


class Descriptors(Limits):
    def test_broker_that_runs_out(self):
        """EMFILE: accepting waits until there are descriptors again; nothing spins or ends."""
        self.start_broker(limits={resource.RLIMIT_NOFILE: 40},
                          config="MaxUndecided=1000\nMaxUndecidedPerUser=1000\n")
        silent, carol = self.caller("bob"), self.caller("carol")
        before = len(descriptors_of(self.broker.process.pid))
        silent.call("connect_more", 40)
        self.is_served_eventually(carol)
        self.assertLess(self.processor_time(), 2)
        silent.call("close_more")
        self.is_served(carol)
        eventually(lambda: len(descriptors_of(self.broker.process.pid)) <= before, "descriptors")

    def processor_time(self):
        """Seconds of processor time that the broker has used."""
        with open(f"/proc/{self.broker.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Sessions(Limits):
    def test_sessions_of_one_user(self):
        self.start_broker("MaxSessionsPerUser=1\n")
        bob, carol = self.caller("bob"), self.caller("carol")
        tpm = bob.open()
        reply = bob.ask(OPEN, profiles="keys")
        self.assertEqual(reply.status, LIMIT, reply)
        # The limit is bob's alone: carol waits for the TPM, which is another matter.
        carol.send_request(OPEN, profiles="keys")
        tpm.close()
        reply = carol.finish()
        self.assertEqual(reply.status, OK, reply)
        Tpm(reply.fd).close()
        self.is_served_eventually(bob)

    def test_sessions_of_all(self):
        self.start_broker("MaxSessions=1\n")
        bob, carol = self.caller("bob"), self.caller("carol")
        tpm = bob.open()
        self.assertEqual(carol.ask(OPEN, profiles="keys").status, LIMIT)
        tpm.close()
        self.is_served_eventually(carol)


class Busy(Limits):
    """A software TPM without a resource manager serves one session; the others wait 10 s."""

    def test_second_session_proceeds(self):
        self.start_broker()
        bob, carol = self.caller("bob"), self.caller("carol")
        tpm = bob.open()
        carol.send_request(OPEN, profiles="keys")
        self.assertNotEqual(tpm.random(), tpm.random())
        tpm.close()
        reply = carol.finish()
        self.assertEqual(reply.status, OK, reply)
        tpm = Tpm(reply.fd)
        tpm.random()
        tpm.close()

    def test_second_session_gives_up(self):
        self.start_broker()
        bob, carol = self.caller("bob"), self.caller("carol")
        tpm = bob.open()
        begin = time.monotonic()
        reply = carol.ask(OPEN, profiles="keys")
        waited = time.monotonic() - begin
        self.assertEqual(reply.status, BUSY, reply)
        self.assertTrue(9 < waited < 20, waited)
        # The session that was there has noticed nothing.
        tpm.random()
        tpm.close()
        self.is_served_eventually(carol)

    def test_waiting_caller_that_leaves(self):
        self.start_broker()
        bob, carol = self.caller("bob"), self.caller("carol")
        tpm = bob.open()
        carol.call("connect")
        carol.call("send", request(OPEN, profiles="keys"))
        carol.call("close")
        tpm.close()
        self.is_served_eventually(bob)

    def test_client_that_does_not_read(self):
        """Its relay waits with it; the broker and other users' requests do not."""
        self.start_broker()
        bob, carol = self.caller("bob"), self.caller("carol")
        tpm = bob.open()
        tpm.socket.setblocking(False)
        try:
            while True:
                tpm.socket.send(get_random(8))
        except BlockingIOError:
            pass
        self.assertIn("keys", carol.profiles())
        tpm.close()
        self.is_served_eventually(carol)
