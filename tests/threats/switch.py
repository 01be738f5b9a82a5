"""What stands before a software TPM and lets several use it at once: a broker, and whoever has the
raw node besides.

It hands on whole commands, one at a time, in the order in which they come. Where a command fails it
can look at once whether the TPM's failure counter reached its maximum, however short the moment.
"""

import os
import pickle
import select
import socket
import struct

from harness import PATIENCE, USERS, Process, readable
from tap import receive_message
from wire import Tpm, get_capability, response_code

PT_PERMANENT, PT_LOCKOUT_COUNTER, PT_MAX_AUTH_FAIL = 0x200, 0x20E, 0x20F
PERMANENT_IN_LOCKOUT = 1 << 9


RETRY = 0x922


class Node(Tpm):
    """The raw node: what a TPM wants to be sent again, the kernel sends again."""

    def execute(self, data, timeout=PATIENCE):
        while True:
            response = super().execute(data, timeout)
            if response_code(response) != RETRY:
                return response


class Switch:
    """socket: the path that brokers and Switch.direct() connect to."""

    def __init__(self, swtpm):
        self.socket = swtpm.directory + "/switch.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.socket)
        listener.listen(64)
        os.chown(self.socket, USERS["tpmgate"], USERS["tpmgate"])
        tpm = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        tpm.connect(swtpm.socket)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = Process([self._serve], fds={3: theirs, 4: listener, 5: tpm}, name="switch")
        for sock in (listener, tpm, theirs):
            sock.close()

    # In the child.

    @staticmethod
    def _serve():
        switch = Switch.__new__(Switch)
        control, listener, switch.tpm = (socket.socket(fileno=fd) for fd in (3, 4, 5))
        switch.watching, switch.highest, switch.locked, switch.failures = False, 0, False, 0
        clients = {}
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(listener, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    client = listener.accept()[0]
                    clients[client.fileno()] = client
                    poll.register(client, select.POLLIN)
                elif fd == control.fileno():
                    if not control.recv(64):
                        return
                    switch.watching = True
                    control.send(pickle.dumps((switch.highest, switch.locked, switch.failures)))
                elif not switch._forward(clients[fd]):
                    poll.unregister(fd)
                    clients.pop(fd).close()

    def _forward(self, client):
        try:
            command = receive_message(client)
            if command:
                client.sendall(self._ask(command))
        except (ConnectionResetError, BrokenPipeError):
            command = b""
        return bool(command)

    def _ask(self, command):
        self.tpm.sendall(command)
        response = receive_message(self.tpm)
        if self.watching and struct.unpack_from(">I", response, 6)[0] & 0xBF == 0x8E:
            self.failures += 1
            self.locked |= bool(self._property(PT_PERMANENT) & PERMANENT_IN_LOCKOUT)
            self.highest = max(self.highest, self._property(PT_LOCKOUT_COUNTER))
        return response

    def _property(self, number):
        self.tpm.sendall(get_capability(6, number, 1))
        return struct.unpack_from(">I", receive_message(self.tpm), 23)[0]

    # In the test.

    def watch(self):
        """Counts from now on. What there was so far: the highest failure counter, whether the TPM
        ever was locked, and how many authorizations failed."""
        self.control.send(b"?")
        if not readable(self.control, PATIENCE):
            raise AssertionError("the switch does not answer")
        return pickle.loads(self.control.recv(1024))

    def direct(self):
        """The raw node, as a member of tss has it."""
        return Node.direct(self)

    def stop(self):
        self.control.close()
        return self.process.wait()
