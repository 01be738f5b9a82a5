"""In the guest: threats that the kernel's resource manager makes, on the real /dev/tpmrm0.

Each test shows first what the bytes do to whoever has the node, and then what becomes of them in a
session of carol's. test_threats.py runs them there one by one, and tests/threats has the same over
a manager of the tests' own, and many more.
"""

import errno
import os
import pwd
import select
import socket
import struct
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [f"{HERE}/tests/integration", f"{HERE}/tests/threats"]

from commands import (CONTEXT_LOAD, CONTEXT_SAVE, RSA_STORAGE_TEMPLATE, flush, primary,
                      with_handle)
from wire import (CC_GET_RANDOM, OK, OPEN, REVOKE, Tpm, command, decode_reply,
                  get_random, receive_packet, request, response_code, start_session)

NODE = "/dev/tpmrm0"
POLICY_RESTART = 0x180
READ_PUBLIC = 0x173
SLOTS = 3
SESSIONS_OF_TPM = 64
SESSIONS_OF_USER = 12
OBJECT_MEMORY, SESSION_MEMORY, SESSION_HANDLES = 0x902, 0x903, 0x905
LAYER = 0x000B0000
NOT_OWN, NOT_HERE, REVOKED = LAYER | 0x1CB, LAYER | 0x910, LAYER | 0x120
UNMAPPED = 0x80FFFF00


class Node:
    """The node itself, opened by root: a space of its own, as every program there has."""

    def __init__(self):
        self.fd = os.open(NODE, os.O_RDWR | os.O_CLOEXEC)

    def execute(self, data):
        """A response, or the number of an error as a negative response code."""
        try:
            os.write(self.fd, data)
            return os.read(self.fd, 4096)
        except OSError as problem:
            return struct.pack(">HIi", 0x8001, 10, -problem.errno)

    def code(self, data):
        return struct.unpack_from(">i", self.execute(data), 6)[0]

    def handles(self, first):
        response = self.execute(command(0x17A, parameters=struct.pack(">III", 1, first, 254)))
        count = struct.unpack_from(">I", response, 15)[0]
        return list(struct.unpack_from(f">{count}I", response, 19))

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def ask(user, kind, **fields):
    """A request to the broker as USER, whom the kernel takes from the process that connects."""
    entry = pwd.getpwnam(user)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as broker:
        groups = os.getgroups()
        os.setgroups(os.getgrouplist(user, entry.pw_gid))
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)
        try:
            broker.connect("/run/tpmgate/broker.sock")
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
        broker.send(request(kind, **fields))
        reply = decode_reply(*receive_packet(broker, 60))
    assert reply.status == OK, f"{user} was refused: {reply.message}"
    return reply


class Threat(unittest.TestCase):
    def setUp(self):
        self.addCleanup(self.flush_all)

    def flush_all(self):
        """Saved sessions outlive their programs; a session's TPM is told of that by who has it."""
        node = Node()
        for kind in (0x02000000, 0x03000000):
            for handle in node.handles(kind):
                node.code(flush(handle))
        node.close()

    def node(self):
        node = Node()
        self.addCleanup(node.close)
        return node

    def open(self, profiles="keys", user="carol"):
        reply = ask(user, OPEN, profiles=profiles)
        session = Tpm(reply.fd, reply.session)
        self.addCleanup(session.close)
        return session

    def made(self, tpm, data):
        response = tpm.execute(data)
        self.assertEqual(f"{response_code(response):#x}", "0x0")
        return struct.unpack_from(">I", response, 10)[0]

    def restart(self, tpm, session):
        return tpm.code(command(POLICY_RESTART, [session]))

    def assert_code(self, code, expected):
        self.assertEqual(f"{code:#x}", f"{expected:#x}")


class Slots(Threat):
    """What a space has no room for, and what it does not know. The kernel ends all TPM sessions of
    the space for that; a session's programs get a response, and keep theirs."""

    def test_objects(self):
        """On a TPM that has no more slots itself the kernel's table cannot overflow."""
        node = self.node()
        for _ in range(SLOTS):
            self.made(node, primary())
        self.assertIn(node.code(primary()), (OBJECT_MEMORY, -errno.ENOMEM))

        tpm = self.open()
        session = self.made(tpm, start_session(kind=1))
        keys = [self.made(tpm, primary()) for _ in range(SLOTS)]
        self.assert_code(tpm.code(primary()) & ~LAYER, OBJECT_MEMORY)
        self.assertEqual(self.restart(tpm, session), 0)
        for key in keys:
            self.assertEqual(tpm.code(with_handle(READ_PUBLIC, key)), 0)
        self.assertEqual(tpm.code(flush(keys[1])), 0)
        self.made(tpm, primary())

    def test_sessions(self):
        node = self.node()
        for _ in range(SLOTS):
            self.made(node, start_session(kind=1))
        self.assertIn(node.code(start_session(kind=1)), (SESSION_MEMORY, -errno.ENOMEM))
        node.close()

        tpm = self.open()
        sessions = [self.made(tpm, start_session(kind=1)) for _ in range(SLOTS)]
        self.assert_code(tpm.code(start_session(kind=1)) & ~LAYER, SESSION_MEMORY)
        for session in sessions:
            self.assertEqual(self.restart(tpm, session), 0)
        self.assertEqual(tpm.code(flush(sessions[1])), 0)
        self.made(tpm, start_session(kind=1))

    def test_handle_that_is_not_there(self):
        node = self.node()
        session = self.made(node, start_session(kind=1))
        self.assertEqual(node.code(with_handle(READ_PUBLIC, UNMAPPED)), -errno.EINVAL)
        self.assertNotEqual(self.restart(node, session), 0)

        tpm = self.open()
        session = self.made(tpm, start_session(kind=1))
        for code in (READ_PUBLIC, CONTEXT_SAVE):
            self.assert_code(tpm.code(with_handle(code, UNMAPPED)), NOT_HERE)
        self.assert_code(tpm.code(flush(UNMAPPED)), NOT_OWN)
        self.assertEqual(self.restart(tpm, session), 0)

    def test_row_25_lengths(self):
        """What follows a command the kernel drops; what it lacks is taken from the one before."""
        node = self.node()
        self.assertEqual(node.code(get_random(8) + b"more"), 0)

        tpm = self.open()
        session = self.made(tpm, start_session(kind=1))
        two = get_random(8) + get_random(4)
        tpm.send(two)
        self.assertEqual(len(tpm.receive()), 20)
        self.assertEqual(len(tpm.receive()), 16)
        self.assertNotEqual(tpm.code(command(CC_GET_RANDOM, parameters=b"\0\x08more")), 0)
        self.assertNotEqual(tpm.code(command(CC_GET_RANDOM, parameters=b"\0")), 0)
        self.assertEqual(self.restart(tpm, session), 0)


class Others(Threat):
    def test_row_20_sessions(self):
        victim, attacker = self.node(), self.node()
        session = self.made(victim, start_session(kind=1))
        # loaded or saved, each listed with a number and the kind of the list
        self.assertIn(session & 0xFFFFFF, [handle & 0xFFFFFF for kind in (0x02000000, 0x03000000)
                                           for handle in attacker.handles(kind)])
        self.assertEqual(attacker.code(flush(session)), 0)
        self.assertNotEqual(self.restart(victim, session), 0)

        victim, attacker = self.open(user="root"), self.open()
        session = self.made(victim, start_session(kind=1))
        for first in (0x02000000, 0x03000000, 0x80000000):
            self.assertEqual(attacker.handles(first), [])
        for handle in (session, session ^ 0x01000000, session + 1):
            self.assert_code(attacker.code(flush(handle)), NOT_OWN)
        self.assertNotEqual(self.restart(attacker, session), 0)
        self.assertEqual(self.restart(victim, session), 0)

    def test_row_20_objects(self):
        """The kernel numbers everybody's from the same value: no way in, and it costs nothing."""
        victim, attacker = self.open(user="root"), self.open()
        key = self.made(victim, primary())
        session = self.made(attacker, start_session(kind=1))
        for code in (READ_PUBLIC, CONTEXT_SAVE):
            self.assert_code(attacker.code(with_handle(code, key)), NOT_HERE)
        self.assertEqual(self.restart(attacker, session), 0)
        self.assertEqual(victim.code(with_handle(READ_PUBLIC, key)), 0)

    def test_row_21_saved_sessions(self):
        """Saved ones are the TPM's, which has 64, and outlive who saved them."""
        def take(tpm):
            for count in range(2 * SESSIONS_OF_TPM):
                response = tpm.execute(start_session(kind=1))
                if response_code(response):
                    return count, response_code(response) & ~LAYER
                handle = struct.unpack_from(">I", response, 10)[0]
                self.assertEqual(tpm.code(with_handle(CONTEXT_SAVE, handle)), 0)
            raise AssertionError("without end")

        node = self.node()
        count, code = take(node)
        self.assertLessEqual(count, SESSIONS_OF_TPM)
        self.assert_code(code, SESSION_HANDLES)
        node.close()
        other = self.node()
        self.assertNotEqual(other.code(start_session(kind=1)), 0)
        self.flush_all()
        self.made(other, start_session(kind=1))
        self.flush_all()

        # Whose number is used up loses the oldest.
        self.assertRaisesRegex(AssertionError, "without end", take, self.open())
        left = [handle for kind in (0x02000000, 0x03000000)
                for handle in self.node().handles(kind)]
        self.assertLessEqual(len(left), SESSIONS_OF_USER)
        self.made(self.open(user="root"), start_session(kind=1))

    def test_saved_session_by_another(self):
        """A blob is loaded by whoever holds it, as tools do it from process to process."""
        tpm = self.open()
        session = self.made(tpm, start_session(kind=1))
        saved = tpm.execute(with_handle(CONTEXT_SAVE, session))
        tpm.close()
        tpm = self.open()
        self.assertNotEqual(self.restart(tpm, session), 0)
        self.assertEqual(self.made(tpm, command(CONTEXT_LOAD, parameters=saved[10:])), session)
        self.assertEqual(self.restart(tpm, session), 0)


class Gap(Threat):
    """A TPM can tell the ages of saved sessions apart only so far. The kernel saves those of a
    space after every command: once one that somebody keeps is too old, nobody's can be saved."""

    GAP = 65535

    def grow_old(self, keeper, worker):
        """What fails WORKER, which has three sessions, in so many commands that one which KEEPER
        saved before would be too old; 0 when nothing does."""
        session = self.made(keeper, start_session(kind=1))
        self.assertEqual(keeper.code(with_handle(CONTEXT_SAVE, session)), 0)
        for _ in range(SLOTS):
            self.made(worker, start_session(kind=1))
        for _ in range(self.GAP // SLOTS + 64):
            code = worker.code(get_random(8))
            if code:
                return code
        return 0

    def test_row_21_node(self):
        self.assertEqual(self.grow_old(self.node(), self.node()), -errno.EFAULT)
        other = self.node()
        self.assertEqual(other.code(start_session(kind=1)), -errno.EFAULT)

    def test_row_21_sessions(self):
        self.assertEqual(self.grow_old(self.open(user="root"), self.open()), 0)
        other = self.open(user="root")
        session = self.made(other, start_session(kind=1))
        self.assertEqual(other.code(with_handle(CONTEXT_SAVE, session)), 0)


class Long(Threat):
    """A command that the TPM works at for long, which the kernel cannot be told to leave."""

    LONG = primary(template=RSA_STORAGE_TEMPLATE)

    def test_revoked_meanwhile(self):
        tpm, other = self.open(), self.open(user="root")
        tpm.send(self.LONG)
        ask("carol", REVOKE, session=tpm.session)
        self.assertIn(response_code(tpm.receive()), (0, REVOKED))
        self.assert_code(tpm.code(get_random(8)), REVOKED)
        other.random()

    def test_hang_up_meanwhile(self):
        """The session ends, and what it made is not left in the TPM."""
        tpm = self.open()
        tpm.send(self.LONG)
        tpm.close()
        other = self.open()
        other.random()
        self.made(other, primary())
        deadline = time.monotonic() + 30
        while subprocess.check_output(["tpmgate", "sessions"], text=True).count("carol") > 1:
            self.assertLess(time.monotonic(), deadline)
            select.select([], [], [], 0.1)

    def test_row_22_turns(self):
        """One long command of a user at a time: others wait for that one, and no longer."""
        sessions = [self.open() for _ in range(4)]
        for tpm in sessions:
            tpm.send(self.LONG)
        began = time.monotonic()
        self.open(user="root").random()
        waited = time.monotonic() - began
        for tpm in sessions:
            self.assertEqual(response_code(tpm.receive(120)), 0)
        took = time.monotonic() - began
        self.assertLess(waited, took)


if __name__ == "__main__":
    unittest.main(verbosity=2)
