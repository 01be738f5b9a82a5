"""Who a caller is: processes that have ended, uids of others, and users that were removed.

What needs a person at a password prompt is in tests/integration: see docs/threat-model.md.
"""

import os
import signal
import socket

from commands import NV_UNDEFINE_SPACE, nv, nv_define, nv_read, nv_write
from harness import CLI, TPMGATE_USERS, USERS, Broker, Swtpm, TestCase, run_as, user_environment
from scenario import Machine, Scenario, done, facts
from wire import DENIED, OK, OPEN, Caller, decode_reply, receive_packet, request

INDEX = 0x01800001


class Callers(TestCase):
    def setUp(self):
        self.broker = self.start(Broker, self.start(Swtpm), arguments=["--no-polkit"])

    def test_row_28_caller_that_has_ended(self):
        """Its connection lives on in another process, and its pid may be anybody's by then."""
        carol = Caller("carol")
        carol.call("connect")
        _, (fd,) = carol.call("give_socket")
        carol.process.stop(signal.SIGKILL)
        with socket.socket(fileno=fd) as connection:
            connection.send(request(OPEN, profiles="keys"))
            data, fds = receive_packet(connection, 30)
        reply = decode_reply(data, fds)
        self.assertEqual(reply.status, DENIED, reply)
        self.assertEqual(self.broker.relays(), [])
        # Alive, she is let in.
        carol = self.start(Caller, "carol")
        carol.open().random()

    def test_row_34_subordinate_uids(self):
        """65,536 users who are one, with as many quotas."""
        for uid in (200000, 200001, 265535):
            reply = self.start(Caller, uid, [TPMGATE_USERS]).ask(OPEN, profiles="keys")
            self.assertEqual(reply.status, DENIED)
            self.assertIn("subordinate", reply.message)
        for uid in (199999, 265536):
            reply = self.start(Caller, uid, [TPMGATE_USERS]).ask(OPEN, profiles="keys")
            self.assertEqual(reply.status, OK, reply)
            os.close(reply.fd)


class RemovedUsers(Scenario):
    """Row 35: the uid of somebody who was removed is given to somebody else."""

    def setUp(self):
        self.machine = Machine(self)
        session = self.machine.open("persist", "user1")
        done(session, nv_define(INDEX))
        done(session, nv_write(INDEX, b"mine", INDEX))
        session.close()

    def tpmgate(self, user, *arguments):
        env = user_environment("alice")
        return run_as(user, [CLI, *arguments], env=env, cwd="/", groups=[])

    def test_row_35_inherits(self):
        """Nothing tells the next user of the uid from the one before."""
        self.assertEqual(self.machine.open("persist", "user1").code(nv_read(INDEX, 4, INDEX)), 0)

    def test_row_35_forgotten(self):
        uid = USERS["user1"]
        done(self.machine.open("persist", "user2"), nv_define(INDEX + 1))
        # Not by somebody else, nor by oneself: a quota would be as often as one likes.
        for user in ("user2", "user1"):
            self.assertNotEqual(self.tpmgate(user, "forget", str(uid)).returncode, 0)
        result = self.tpmgate(0, "forget", str(uid))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn(f"{INDEX:08x}", result.stdout.lower())  # what is still in the TPM
        before = facts(self.machine.node)
        session = self.machine.open("persist", "user1")
        for attack in (nv_read(INDEX, 4, INDEX), nv_write(INDEX, b"read", INDEX),
                       nv(NV_UNDEFINE_SPACE, INDEX)):
            self.assertEqual(session.code(attack) >> 16, 0x000B)
        self.assertEqual(facts(self.machine.node), before)
        # Others' records are where they were.
        self.assertEqual(self.machine.open("persist", "user2").code(
            nv_write(INDEX + 1, b"x", INDEX + 1)), 0)
