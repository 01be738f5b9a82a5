"""What stands between a resource manager and a software TPM, and sees each command in its order.

It hands on what comes, one command at a time. A test can read which commands there were, have the
response to some kept back, so that the TPM seems to be busy for as long as the test likes, and ask
the TPM itself, past the resource manager.
"""

import os
import pickle
import select
import socket
import struct

from harness import PATIENCE, USERS, Process, readable
from wire import get_capability, response_code


def receive_message(sock):
    """One command or response; b"" at the end."""
    data = b""
    size = 10
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            return b""
        data += part
        if len(data) == 10:
            size = struct.unpack_from(">I", data, 2)[0]
    return data


class Tap:
    """socket: the path that the resource manager connects to."""

    def __init__(self, swtpm):
        self.socket = swtpm.directory + "/tap.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.socket)
        listener.listen()
        # The socket is for the broker's user, as the software TPM's is.
        os.chown(self.socket, USERS["tpmgate"], USERS["tpmgate"])
        tpm = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        tpm.connect(swtpm.socket)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.file = self.control.makefile("rwb")
        self.process = Process([self._serve], fds={3: theirs, 4: listener, 5: tpm}, name="tap")
        for sock in (listener, tpm, theirs):
            sock.close()

    # In the child.

    @staticmethod
    def _serve():
        tap = Tap.__new__(Tap)
        control, tap.listener, tap.tpm = (socket.socket(fileno=fd) for fd in (3, 4, 5))
        tap.file = control.makefile("rwb")
        tap.client = None
        tap.codes = []
        tap.hold = None
        tap.response = None  # what is kept back
        tap.awaited = False  # somebody waits for that
        while True:
            source = tap.client or tap.listener
            poll = select.poll()
            poll.register(control, select.POLLIN)
            poll.register(source, select.POLLIN)
            ready = [fd for fd, _ in poll.poll()]
            if source.fileno() in ready:
                tap._forward()
            if control.fileno() in ready and not tap._obey():
                return

    def _forward(self):
        if self.client is None:
            self.client = self.listener.accept()[0]
            return
        try:
            command = receive_message(self.client)
        except ConnectionResetError:
            command = b""
        if not command:
            self.client.close()
            self.client = self.response = None
            return
        self.codes.append(struct.unpack_from(">I", command, 6)[0])
        response = self._ask(command)
        if self.codes[-1] != self.hold:
            self.client.sendall(response)
            return
        self.response = response
        if self.awaited:
            self._answer(None)
            self.awaited = False

    def _ask(self, command):
        self.tpm.sendall(command)
        return receive_message(self.tpm)

    def _answer(self, value):
        pickle.dump(value, self.file)
        self.file.flush()

    def _obey(self):
        try:
            what, argument = pickle.load(self.file)
        except EOFError:
            return False
        if what == "hold":
            self.hold = argument
            self._answer(None)
        elif what == "held":
            self.awaited = self.response is None
            if not self.awaited:
                self._answer(None)
        elif what == "release":
            response, self.response = self.response, None
            if response:
                self.client.sendall(response)
            self._answer(response is not None)
        elif what == "codes":
            self._answer(self.codes[argument:])
        elif what == "execute":
            self._answer(self._ask(argument))
        return True

    # In the test.

    def _tell(self, what, argument=None):
        pickle.dump((what, argument), self.file)
        self.file.flush()
        if not readable(self.control, PATIENCE):
            raise AssertionError(f"the tap does not answer: {what}")
        return pickle.load(self.file)

    def hold(self, code):
        """Keeps back the responses to commands with CODE from now on; None: no more."""
        self._tell("hold", code)

    def wait_held(self):
        """Returns when a response is kept back: to the resource manager, the TPM is busy."""
        self._tell("held")

    def release(self):
        """Hands on the response that is kept back; the next one will be kept back again."""
        assert self._tell("release"), "nothing was kept back"

    def codes(self, first=0):
        """The codes of all commands that the TPM has executed, in this order, from FIRST on."""
        return self._tell("codes", first)

    def execute(self, command):
        """The TPM's own response to a command of the test's."""
        return self._tell("execute", command)

    def handles(self):
        """Transient objects, loaded sessions and saved ones, as the TPM has them."""
        found = []
        for first in (0x80000000, 0x02000000, 0x03000000):
            response = self.execute(get_capability(1, first, 254))
            assert response_code(response) == 0, response.hex()
            count = struct.unpack_from(">I", response, 15)[0]
            found += struct.unpack_from(f">{count}I", response, 19)
        return found

    def stop(self):
        self.file.close()
        self.control.close()
        return self.process.wait()
