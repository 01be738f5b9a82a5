"""Relays that their clients have taken over: programs in the real one's place.

A session of one profile has such a relay, which hands its client's messages to the broker and the
broker's to its client. Sessions of any other profile have the real one.
"""

import os

from harness import PATIENCE, RELAY, WORLD, readable
from relay import ACCOUNT, ACCOUNT_MAGIC, ANSWER, FLUSH, IMAGE, READY

PROFILE = "basic"  # whose sessions are hostile
(DA_BEGIN, TURN_BEGIN, SESSION_BEGIN, CLAIM, DROP, CONFIRM, LOOKUP, CHARGE,
 FLUSH_BEGIN) = range(16, 25)
DA_END, TURN_END, SESSION_END, SAVED, GONE = range(32, 37)
NO, LIMIT, TAKEN, WAIT, RATE = 0, 2, 3, 5, 6

PROGRAM = f"""#!/usr/bin/python3 -B
import os, select, socket
name = {PROFILE.encode() + bytes(1)!r}
if os.pread(5, len(name), {IMAGE.size}) != name:
    os.execv({RELAY!r}, ["tpmgate-relay"])
client, account = (socket.socket(fileno=fd) for fd in (3, 6))
account.send({ACCOUNT.pack(ACCOUNT_MAGIC, READY, *[0] * 8, b"")!r})
while True:
    ready, _, _ = select.select([client, account], [], [])
    for here in ready:
        data = here.recv({ACCOUNT.size}, socket.MSG_WAITALL)
        if not data:
            raise SystemExit
        (account if here is client else client).sendall(data)
"""


def install():
    """The program, for a Broker's `relay`; its name is the real one's."""
    directory = WORLD + "/hostile"
    os.makedirs(directory, exist_ok=True)
    path = directory + "/tpmgate-relay"
    with open(path, "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    os.chmod(path, 0o755)
    return path


class Hostile:
    """The client's side of SESSION, which must be one of PROFILE. orders: handles to be flushed, as
    the broker has said so far."""

    def __init__(self, session):
        self.socket = session.socket
        self.orders = []
        self.serial = 0

    def tell(self, kind, argument=0, what=0, handle=0, values=(0, 0, 0), data=b"", serial=0):
        self.socket.sendall(ACCOUNT.pack(
            ACCOUNT_MAGIC, kind, serial, argument, what, handle, *values, len(data), data))

    def ask(self, kind, **fields):
        """The answer, however long it takes."""
        self.serial += 1
        self.tell(kind, serial=self.serial, **fields)
        while True:
            if not readable(self.socket, PATIENCE):
                raise AssertionError(f"question {kind} was not answered")
            data = self.socket.recv(ACCOUNT.size)
            if not data:
                raise EOFError(f"question {kind} has ended the session")
            _, answered, serial, argument, _, handle = ACCOUNT.unpack(data)[:6]
            if answered == FLUSH:
                self.orders.append(handle)
            elif (answered, serial) == (ANSWER, self.serial) and argument != WAIT:
                return argument

    def ended(self):
        """Waits until the broker has ended the session."""
        try:
            while readable(self.socket, PATIENCE):
                if not self.socket.recv(ACCOUNT.size):
                    return True
        except ConnectionResetError:  # with some of what was sent left unread
            return True
        return False
