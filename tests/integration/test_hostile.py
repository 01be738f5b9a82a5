"""One user who means ill, and others who must not notice."""

import os
import signal
import socket
import struct
import time

from harness import (SOCKET, Broker, Bus, Process, Swtpm, TestCase, make_run_directory, readable,
                     write_rule)
from wire import DEVICES, OK, OPEN, Caller, request

LINGER_SECONDS = 600


def lingering_socket():
    """A TCP socket whose last close sleeps for LINGER_SECONDS, with its two companions."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    sender = socket.socket()
    sender.connect(listener.getsockname())
    receiver, _ = listener.accept()
    sender.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
    sender.setblocking(False)
    try:
        while True:
            sender.send(b"x" * 65536)
    except BlockingIOError:
        pass
    return sender, receiver, listener


def pass_lingering(ready, path):
    """Sends it along with a request, lets go of it, and tells READY."""
    sender, _receiver, _listener = lingering_socket()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    socket.send_fds(connection, [request(DEVICES)], [sender.fileno()])
    sender.close()
    os.write(ready, b"r")
    signal.pause()


def ask_and_leave(ready, path, seconds):
    """Asks for what polkit has to be asked about, and hangs up while it is; again and again."""
    waiting = []
    end = time.monotonic() + seconds
    os.write(ready, b"r")
    while time.monotonic() < end:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(path)
            connection.send(request(OPEN, profiles="admin+attest+persist+unseal"))
        except OSError:
            pass
        waiting.append(connection)
        if len(waiting) > 3:
            waiting.pop(0).close()
        select_nothing(0.0008)


def select_nothing(seconds):
    """Lets polkit get the question before the hang-up: the pace is the attack."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Hostile(TestCase):
    def test_descriptor_that_lingers_holds_up_nobody(self):
        """Queued before the broker starts, where no kernel keeps it from being passed."""
        make_run_directory()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(SOCKET)
        os.chmod(SOCKET, 0o666)
        listener.listen(100)
        self.addCleanup(listener.close)
        told, ready = os.pipe()
        attacker = Process(
            [pass_lingering, 5, SOCKET], user="alice", fds={5: ready}, name="pass-lingering")
        self.addCleanup(attacker.stop, signal.SIGKILL)
        self.assertTrue(readable(told, 10), attacker.logged())
        broker = Broker(self.start(Swtpm), listen=None, fds={3: listener.fileno()},
            environment={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "tpmgate.socket"},
            arguments=["--no-polkit"])
        self.addCleanup(broker.process.stop, signal.SIGKILL)
        started = time.monotonic()
        self.assertEqual(self.start(Caller, "carol").ask(DEVICES).status, OK)
        self.assertLess(time.monotonic() - started, LINGER_SECONDS / 10)

    def test_questions_taken_back_leave_polkit_to_others(self):
        self.start(Bus)
        write_rule("40-test",
            'polkit.addRule(function(a, s) { if (s.user == "alice") return polkit.Result.YES; });')
        self.start(Broker, self.start(Swtpm))
        told, ready = os.pipe()
        attacker = Process(
            [ask_and_leave, 5, SOCKET, 4], user="carol", fds={5: ready}, name="ask-and-leave")
        self.addCleanup(attacker.stop, signal.SIGKILL)
        self.assertTrue(readable(told, 10), attacker.logged())
        alice = self.start(Caller, "alice")
        end = time.monotonic() + 3
        answers = []
        while time.monotonic() < end:
            reply = alice.ask(OPEN, profiles="keys")
            answers.append(reply.status)
            if reply.fd >= 0:
                os.close(reply.fd)
        self.assertGreater(len(answers), 10)
        self.assertEqual(set(answers), {OK})
