"""Start, crash, restart and end of the broker, with the test in the place of systemd."""

import os
import signal
import socket
import stat
import struct
import time

from harness import (PATIENCE, SOCKET, TPMGATE_USERS, USERS, Broker, Swtpm, TestCase, children,
                     descriptors_of, eventually, finish_orphan, make_run_directory, readable)
from wire import (BUSY, DENIED, NO_SESSION, OK, OPEN, REFUSED, REVOKE, Caller, Tpm, command,
                  create_primary, get_random, request, text)


class Manager:
    """What systemd does for the broker: its socket, its notifications and its descriptor store."""

    def __init__(self, test, tpm):
        self.test = test
        self.tpm = tpm
        self.stored = {}  # name: descriptors
        self.broker = None
        make_run_directory()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(SOCKET)
        os.chmod(SOCKET, 0o666)
        self.socket.listen(128)

    def start(self, more_names=(), arguments=(), wait=True, **options):
        """The next broker, with everything that the store holds."""
        names, descriptors = ["tpmgate.socket"], [self.socket.fileno()]
        for name, fds in self.stored.items():
            names += [name] * len(fds)
            descriptors += fds
        for name, fd in more_names:
            names.append(name)
            descriptors.append(fd)
        self.broker = self.test.start(
            Broker, self.tpm, listen=None, fds={3 + i: fd for i, fd in enumerate(descriptors)},
            environment={"LISTEN_FDS": str(len(descriptors)), "LISTEN_FDNAMES": ":".join(names)},
            arguments=["--no-polkit", *arguments], wait=False, **options)
        if wait:
            self.take_until("READY", "1")
        return self.broker

    def take(self, timeout=PATIENCE):
        """One notification, and what it means for the store."""
        fields, fds = self.broker.notify.receive(timeout)
        if fields.get("FDSTORE") == "1":
            self.stored.setdefault(fields["FDNAME"], []).extend(fds)
        else:
            assert not fds, "descriptors that are not to be stored"
        if fields.get("FDSTOREREMOVE") == "1":
            self.drop(fields["FDNAME"])
        return fields

    def take_until(self, key, value):
        while self.take().get(key) != value:
            pass

    def take_all(self):
        while readable(self.broker.notify.socket, 0):
            self.take()

    def drop(self, name):
        for fd in self.stored.pop(name, []):
            os.close(fd)

    def drop_all(self):
        for name in list(self.stored):
            self.drop(name)

    def stop(self):
        self.drop_all()
        self.socket.close()
        os.unlink(SOCKET)


class Lifecycle(TestCase):
    """On a TPM that one session has to itself, so that what is stored is the session's alone."""

    def spec(self):
        return "unix:" + self.swtpm.socket

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.manager = self.start(Manager, self, self.spec())
        self.carol = self.start(Caller, "carol")

    def open_stored(self):
        """A session, once the store has both its descriptors."""
        tpm = self.start(lambda: self.carol.open())
        eventually(lambda: self.manager.take_all() or len(self.manager.stored) == 2,
                   "the session is stored")
        self.relay = children(self.manager.broker.process.pid)[0]
        return tpm

    def crash(self):
        self.manager.broker.process.stop(signal.SIGKILL)


class Activation(Lifecycle):
    def test_client_that_was_there_first(self):
        self.carol.call("connect")
        self.carol.call("send", request(OPEN, profiles="keys"))
        self.manager.start()
        self.carol.post("receive", PATIENCE)
        reply = self.carol.finish()
        self.assertEqual(reply.status, OK, reply)
        Tpm(reply.fd).close()

    def test_without_a_socket(self):
        broker = self.start(Broker, self.swtpm, listen=None, wait=False)
        self.assertNotEqual(broker.process.wait(), 0)
        self.assertIn("--listen", broker.process.logged())

    def test_idle_exit(self):
        broker = self.manager.start(arguments=["--idle-exit", "1"])
        tpm = self.open_stored()
        # Not while there is a session, however long nothing happens in it.
        self.assertFalse(readable(broker.process.pidfd, 2.5))
        tpm.random()
        tpm.close()
        begin = time.monotonic()
        self.assertEqual(broker.process.wait(), 0)
        self.assertGreater(time.monotonic() - begin, 0.5)
        self.manager.take_all()
        self.assertEqual(self.manager.stored, {})
        # The socket is the manager's: the next client starts the next broker.
        self.assertTrue(stat.S_ISSOCK(os.stat(SOCKET).st_mode))
        self.manager.start()
        self.carol.open().close()

    def test_end_on_request(self):
        broker = self.manager.start()
        self.assertEqual(broker.stop(), 0)
        self.assertTrue(os.path.exists(SOCKET), "the socket is the service manager's")


class Store(Lifecycle):
    def test_session_is_stored_and_dropped(self):
        self.manager.start()
        tpm = self.open_stored()
        for name in self.manager.stored:
            self.assertLessEqual(len(name), 255)
            self.assertNotIn(":", name)
        self.assertEqual({len(fds) for fds in self.manager.stored.values()}, {1})
        tpm.close()
        eventually(lambda: self.manager.take_all() or not self.manager.stored, "dropped")

    def test_crash_and_restart(self):
        self.manager.start()
        tpm = self.open_stored()
        before = self.carol.sessions()
        self.crash()
        # The session does not notice, but for commands that need an account.
        tpm.random()
        self.assertEqual(tpm.code(create_primary()), REFUSED)
        self.manager.start()
        tpm.random()
        self.assertEqual(tpm.code(create_primary()), 0)
        after = self.carol.sessions()
        self.assertEqual(after, before)
        number, started, uid, pid, profiles, device = after[0]
        self.assertEqual(number, tpm.session)
        self.assertLess(abs(time.time() - started), 120)
        self.assertEqual((uid, pid), (USERS["carol"], self.carol.pid))
        self.assertEqual((text(profiles), text(device)), ("keys", "unix"))
        # It is a session like any other: it is the TPM's only one, ...
        root = self.start(Caller, 0)
        self.assertEqual(root.sessions(), after)
        self.assertEqual(root.ask(OPEN, profiles="keys").status, BUSY)
        # ... its number is not used again, and its end is noticed.
        tpm.close()
        finish_orphan(self.relay)
        eventually(lambda: not root.sessions(), "the session is gone")
        eventually(lambda: self.manager.take_all() or not self.manager.stored, "dropped")
        second = self.carol.open()
        self.assertGreater(second.session, number)
        second.close()

    def test_revocation_by_the_next_broker(self):
        self.manager.start()
        tpm = self.open_stored()
        self.crash()
        self.manager.start()
        # Somebody else cannot, and cannot learn that it is there.
        bob = self.start(Caller, "bob", [TPMGATE_USERS])
        self.assertEqual(bob.sessions(), [])
        there = bob.ask(REVOKE, session=tpm.session)
        absent = bob.ask(REVOKE, session=tpm.session + 1)
        self.assertIn(there.status, (DENIED, NO_SESSION))
        self.assertEqual(there._replace(message="", session=0),
                         absent._replace(message="", session=0))
        tpm.random()
        self.assertEqual(self.carol.ask(REVOKE, session=tpm.session).status, OK)
        for _ in range(3):
            self.assertEqual(tpm.code(get_random(8)), REFUSED)
        # Never the end: the relay stays until its client goes.
        self.assertFalse(readable(tpm.socket, 0))
        self.assertEqual(self.carol.sessions(), [])
        tpm.close()
        finish_orphan(self.relay)

    def test_session_that_ends_while_no_broker_is_there(self):
        self.manager.start()
        tpm = self.open_stored()
        self.crash()
        tpm.close()
        finish_orphan(self.relay)
        self.manager.start()
        eventually(lambda: self.carol.sessions() == [], "the session is forgotten")
        eventually(lambda: self.manager.take_all() or not self.manager.stored, "dropped")
        self.carol.open().close()

    def test_service_that_is_stopped(self):
        """systemd ends the broker, then drops the store: with it the session ends."""
        broker = self.manager.start()
        tpm = self.open_stored()
        self.assertEqual(broker.process.stop(), 0)
        tpm.random()
        self.manager.drop_all()
        eventually(lambda: 4 not in descriptors_of(self.relay), "the TPM is released")
        self.assertNotEqual(tpm.code(get_random(8)), 0)
        self.assertFalse(readable(tpm.socket, 0))

    def test_descriptors_that_mean_nothing(self):
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open("/dev/null", os.O_RDWR)
        names = ["", "stored", "tpmgate-a", "tpmgate-a,1,1,1,1,unix", "tpmgate-a,zz,1,1,1,unix,keys",
                 "tpmgate-p,5,1,1,1,unix,keys", "tpmgate-a,6,1,fa03,1,unix,keys"]
        broker = self.manager.start([(name, null) for name in names])
        self.assertEqual(self.start(Caller, 0).sessions(), [])
        self.carol.open().close()
        leaked = [fd for fd, target in descriptors_of(broker.process.pid).items()
                  if fd > 2 and target == "/dev/null"]
        self.assertEqual(leaked, [])
        for end in pair:
            end.close()
        os.close(null)


class ManagerStore(Lifecycle):
    """The resource manager, like sessions, outlives a broker that crashes."""

    def spec(self):
        return "rm:unix:" + self.swtpm.socket

    def open_stored(self):
        tpm = self.start(lambda: self.carol.open())
        eventually(lambda: self.manager.take_all() or len(self.manager.stored) == 4,
                   "session and resource manager are stored")
        return tpm

    def is_served_and_dropped(self):
        self.open_stored().close()
        eventually(lambda: self.manager.take_all() or not self.manager.stored, "dropped")

    def test_crash_and_restart(self):
        broker = self.manager.start()
        tpm = self.open_stored()
        key = struct.unpack_from(">I", tpm.execute(create_primary()), 10)[0]
        rm = broker.managers()[0]
        relay = broker.relays()[0]
        self.crash()
        tpm.random()
        broker = self.manager.start()
        self.assertIn("taken over", broker.process.logged())
        # The next session is another one of the same manager, and the first still has its key.
        second = self.start(lambda: self.carol.open())
        self.assertEqual(broker.managers(), [])
        second.random()
        self.assertEqual(tpm.code(command(0x173, [key])), 0)
        self.assertEqual(second.capability(1, 0x80000000), struct.pack(">II", 1, 0))
        tpm.close()
        self.assertEqual(finish_orphan(relay), 0)
        second.random()
        second.close()
        self.assertEqual(finish_orphan(rm), 0)
        eventually(lambda: self.manager.take_all() or not self.manager.stored, "dropped")
        self.is_served_and_dropped()

    def test_sessions_that_end_while_no_broker_is_there(self):
        broker = self.manager.start()
        tpm = self.open_stored()
        orphans = children(broker.process.pid)
        self.crash()
        tpm.close()
        self.manager.start()
        eventually(lambda: self.manager.take_all() or not self.manager.stored, "dropped")
        for pid in orphans:
            self.assertEqual(finish_orphan(pid), 0)
        self.is_served_and_dropped()

    def test_descriptors_that_mean_nothing(self):
        null = os.open("/dev/null", os.O_RDWR)
        names = ["tpmgate-m,20,10", "tpmgate-q,20,10", "tpmgate-m,0,10", "tpmgate-m,020,10",
                 "tpmgate-q,20,10,1", "tpmgate-m,41,10"]
        broker = self.manager.start([(name, null) for name in names])
        self.is_served_and_dropped()
        leaked = [fd for fd, target in descriptors_of(broker.process.pid).items()
                  if fd > 2 and target == "/dev/null"]
        self.assertEqual(leaked, [])
        os.close(null)


class Revocation(TestCase):
    """While one broker lives, and without a service manager."""

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.broker = self.start(Broker, self.swtpm, arguments=["--no-polkit"])
        self.carol = self.start(Caller, "carol")

    def test_own_session(self):
        tpm = self.start(lambda: self.carol.open())
        self.assertEqual(len(self.carol.sessions()), 1)
        self.assertIn(self.carol.ask(REVOKE, session=tpm.session + 1).status,
                      (DENIED, NO_SESSION))
        tpm.random()
        self.assertEqual(self.carol.ask(REVOKE, session=tpm.session).status, OK)
        self.assertEqual(tpm.code(get_random(8)), REFUSED)
        self.assertFalse(readable(tpm.socket, 0))
        self.assertEqual(self.carol.sessions(), [])
        # The TPM is free although the client holds on to its descriptor.
        self.carol.open().close()

    def test_session_of_somebody_else(self):
        tpm = self.start(lambda: self.carol.open())
        bob, root = self.start(Caller, "bob", [TPMGATE_USERS]), self.start(Caller, 0)
        self.assertIn(bob.ask(REVOKE, session=tpm.session).status, (DENIED, NO_SESSION))
        tpm.random()
        self.assertEqual(root.ask(REVOKE, session=tpm.session).status, OK)
        self.assertEqual(tpm.code(get_random(8)), REFUSED)

    def test_relay_that_does_not_acknowledge(self):
        """It is killed: a stopped relay must not keep the TPM."""
        tpm = self.start(lambda: self.carol.open())
        relay = self.broker.relays()[0]
        os.kill(relay, signal.SIGSTOP)
        self.assertEqual(self.carol.ask(REVOKE, session=tpm.session).status, OK)
        eventually(lambda: not self.broker.relays(), "the relay is killed")
        self.carol.open().close()

    def test_broker_that_dies(self):
        """Nobody keeps its descriptors: its sessions end, and say so command by command."""
        tpm = self.start(lambda: self.carol.open())
        relay = self.broker.relays()[0]
        self.broker.process.stop(signal.SIGKILL)
        eventually(lambda: 4 not in descriptors_of(relay), "the TPM is released")
        for _ in range(3):
            self.assertNotEqual(tpm.code(get_random(8)), 0)
        tpm.close()
        self.assertEqual(finish_orphan(relay), 0)
        # The socket file of the dead one does not keep the next from starting.
        self.start(Broker, self.swtpm, arguments=["--no-polkit"])
        self.carol.open().close()

    def test_second_broker_on_the_same_socket(self):
        second = self.start(Broker, self.swtpm, arguments=["--no-polkit"], wait=False)
        self.assertNotEqual(second.process.wait(), 0)
        self.carol.open().close()
