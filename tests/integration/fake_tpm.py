"""A TPM behind a socket that is a software TPM's, but for the misbehaviour that a test asks for.

A misbehaviour is a function of this file that gets the client's stream, the command, and what
forwards it to the real TPM. It either answers for the TPM, or raises EOFError to hang up.
"""

import collections
import os
import pickle
import select
import socket
import struct

from harness import PATIENCE, WORLD, Process, readable
from wire import NO_SESSIONS, Tpm, response_code

RETRY, YIELDED, TESTING, INITIALIZE = 0x922, 0x908, 0x90A, 0x100
Misbehaviour = collections.namedtuple("Misbehaviour", "function code times arguments")


def with_size(response, size):
    return response[:2] + struct.pack(">I", size) + response[6:]


def cut(client, command, forward):
    """Hangs up in the middle of the response."""
    response = forward(command)
    client.send(response[:len(response) // 2])
    raise EOFError


def hang_up(_client, command, forward):
    """Does what it was told, and hangs up instead of saying so."""
    forward(command)
    raise EOFError


def too_small(client, command, forward):
    """A size that not even a header has."""
    client.send(with_size(forward(command), 9))


def too_large(client, command, forward):
    """A size of which the last byte never comes."""
    response = forward(command)
    client.send(with_size(response, len(response) + 1))


def enormous(client, command, forward):
    """More than any TPM's buffer holds, and all of it comes."""
    client.send(with_size(forward(command).ljust(5000, b"\0"), 5000))


def trailing(client, command, forward):
    """One byte more than the size says."""
    client.send(forward(command) + b"\0")


def twice(client, command, forward, seconds):
    """A response, and SECONDS later another that nobody asked for."""
    slow(client, command, forward, 0)
    slow(client, command, forward, seconds)


def wrong_handle(client, command, forward, handle):
    """A success whose handle is HANDLE."""
    response = forward(command)
    assert response_code(response) == 0, response.hex()
    client.send(response[:10] + struct.pack(">I", handle) + response[14:])


def refuse(client, _command, _forward, code):
    """CODE, and nothing was done."""
    client.send(struct.pack(">HII", NO_SESSIONS, 10, code))


def silent(_client, _command, _forward):
    """No answer, ever."""


def slow(client, command, forward, seconds):
    """The real response, SECONDS later."""
    response = forward(command)
    select.select([], [], [], seconds)
    client.send(response)


class Server:
    """The process that is connected to: one client at a time, as with a software TPM."""

    def __init__(self, swtpm):
        self.swtpm = swtpm
        self.listener, self.control = socket.socket(fileno=3), socket.socket(fileno=4)
        self.client = self.tpm = None
        self.plan = []

    def run(self):
        while True:
            ready = select.select([self.control, self.client or self.listener], [], [])[0]
            if self.control in ready:
                self.obey()
            elif self.client is None:
                self.client = Tpm(self.listener.accept()[0].detach())
                self.tpm = Tpm.direct(self.swtpm)
            else:
                self.serve()

    def obey(self):
        """From the test: more misbehaviours, or None; the answer is how many are left."""
        data = self.control.recv(65536)
        if not data:
            os._exit(0)
        self.plan += [request for request in [pickle.loads(data)] if request]
        self.control.send(pickle.dumps(sum(step.times for step in self.plan)))

    def serve(self):
        try:
            self.answer(self.client.receive())
        except (EOFError, OSError):
            self.client.close()
            self.tpm.close()
            self.client = self.tpm = None

    def answer(self, command):
        for i, (function, code, times, arguments) in enumerate(self.plan):
            if code in (None, response_code(command)):
                self.plan[i:i + 1] = [self.plan[i]._replace(times=times - 1)] if times > 1 else []
                function(self.client, command, self.tpm.execute, *arguments)
                return
        self.client.send(self.tpm.execute(command))


class FakeTpm:
    """A TPM that does what SWTPM does, until it is told otherwise."""

    count = 0

    def __init__(self, swtpm):
        FakeTpm.count += 1
        self.socket = f"{WORLD}/fake-{FakeTpm.count}.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.socket)
        os.chmod(self.socket, 0o666)  # the broker is not root
        listener.listen(8)
        os.symlink(swtpm.control, self.socket + ".ctrl")  # where the TCTI swtpm looks for it
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = Process([lambda: Server(swtpm).run()], fds={3: listener, 4: theirs},
                               name="fake-tpm")
        listener.close()
        theirs.close()

    def call(self, request):
        self.control.send(pickle.dumps(request))
        if not readable(self.control, PATIENCE):
            raise AssertionError(f"no answer from {self.process.log}")
        return pickle.loads(self.control.recv(65536))

    def misbehave(self, function, *arguments, code=None, times=1):
        """The next TIMES commands with command code CODE, or any, get FUNCTION."""
        self.call(Misbehaviour(function, code, times, arguments))

    def left(self):
        """How many commands are still to be misbehaved on."""
        return self.call(None)

    def stop(self):
        self.control.close()
        self.process.wait()
        os.unlink(self.socket)
        os.unlink(self.socket + ".ctrl")
