"""Microsoft's TPM simulator as libtss2-tcti-mssim knows it, with a software TPM behind it.

Two ports, one after the other. On the first a command is u32 8, u8 locality, u32 size and the
command, and its answer u32 size, the response and u32 0. On the second, the platform's, each request
is a u32, answered by u32 0. Either ends with u32 20, or by being closed.
"""

import functools
import select
import socket
import struct

from harness import Process
from wire import Tpm

SEND_COMMAND, SESSION_END = 8, 20


def receive(sock, layout):
    """The fields of LAYOUT, all of them."""
    data = sock.recv(layout.size, socket.MSG_WAITALL)
    if len(data) < layout.size:
        raise EOFError
    return layout.unpack(data)


def serve_platform(sock):
    """One request: power and cancelling have no meaning for what is behind."""
    if receive(sock, struct.Struct(">I"))[0] == SESSION_END:
        raise EOFError
    sock.sendall(bytes(4))


def serve_command(tpm, sock):
    """One command, to TPM and back."""
    if receive(sock, struct.Struct(">I"))[0] != SEND_COMMAND:
        raise EOFError
    _locality, size = receive(sock, struct.Struct(">BI"))
    response = tpm.execute(*receive(sock, struct.Struct(f"{size}s")))
    sock.sendall(struct.pack(">I", len(response)) + response + bytes(4))


def serve(swtpm):
    """Both ports, in a process of their own. SWTPM is connected to only while a client is."""
    commands, platform = socket.socket(fileno=3), socket.socket(fileno=4)
    connections = {}
    while True:
        for sock in select.select([commands, platform, *connections], [], [])[0]:
            try:
                if sock is commands:
                    connection = commands.accept()[0]
                    connections[connection] = functools.partial(serve_command, Tpm.direct(swtpm))
                elif sock is platform:
                    connections[platform.accept()[0]] = serve_platform
                else:
                    connections[sock](sock)
            except (EOFError, OSError):
                # The TPM's end is the connection's too, as if the simulator had ended.
                connections.pop(sock, None)
                if sock not in (commands, platform):
                    sock.close()


def listen_twice():
    """Listening sockets on two ports of which the second is the first plus one."""
    while True:
        first, second = socket.socket(), socket.socket()
        first.bind(("127.0.0.1", 0))
        try:
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except (OSError, OverflowError):
            first.close()
            second.close()
            continue
        first.listen(8)
        second.listen(8)
        return first, second


class MssimPeer:
    """The simulator's stand-in for SWTPM. It listens before it is started: there is no waiting."""

    def __init__(self, swtpm):
        commands, platform = listen_twice()
        self.port = commands.getsockname()[1]
        self.conf = f"host=127.0.0.1,port={self.port}"
        self.process = Process([serve, swtpm], fds={3: commands, 4: platform}, name="mssim-peer")
        commands.close()
        platform.close()

    def stop(self):
        self.process.stop()
