"""The relay's confinement and its behaviour at the ends of its life."""

import os
import random
import signal
import socket
import struct

from harness import (BUILD, USERS, Broker, Process, Swtpm, TestCase, children, descriptors_of,
                     eventually, status_of)
from relay import REASON_DEVICE_GONE, Relay
from wire import (REFUSED, Caller, command, create_primary, get_random, response_code,
                  start_session)

ATTEMPT = BUILD + "/helper/relay/tpmgate-relay-attempt"
GONE = 0x000B0101
ANSWER = struct.pack(">HIIH", 0x8001, 20, 0, 8) + b"randomly"


class Confinement(TestCase):
    def is_confined(self, pid, allowed):
        status = status_of(pid)
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Uid"].split()[0], str(USERS["tpmgate"]))
        self.assertEqual(status["Threads"], "1")
        # Not dumpable: its files in /proc are root's, so nobody of its uid can trace it.
        self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)
        self.assertLessEqual(set(descriptors_of(pid)), allowed)
        with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
            limits = {line[:26].strip(): line[26:].split()[:2] for line in file}
        self.assertEqual(limits["Max core file size"], ["0", "0"])

    def test_as_the_broker_starts_it(self):
        swtpm = self.start(Swtpm)
        broker = self.start(Broker, swtpm, arguments=["--no-polkit"])
        carol = self.start(Caller, "carol")
        tpm = carol.open()
        relays = broker.relays()
        self.assertEqual(len(relays), 1)
        self.is_confined(relays[0], {2, 3, 4, 6, 7})
        tpm.random()
        self.is_confined(relays[0], {2, 3, 4, 6, 7})
        tpm.close()
        eventually(lambda: not children(broker.process.pid), "relay and manager end with the client")

    def test_manager(self):
        swtpm = self.start(Swtpm)
        broker = self.start(Broker, swtpm, arguments=["--no-polkit"])
        carol = self.start(Caller, "carol")
        tpms = [carol.open(), carol.open()]
        managers = broker.managers()
        self.assertEqual(len(managers), 1)
        # /dev/null, standard error, the control socket, the TPM, and two sessions.
        for tpm in tpms:
            self.is_confined(managers[0], set(range(7)))
            tpm.random()
        os.kill(managers[0], signal.SIGSTOP)
        os.kill(managers[0], signal.SIGCONT)
        for tpm in tpms:
            tpm.random()
            tpm.close()
        eventually(lambda: not children(broker.process.pid), "the manager ends with the last")

    def test_descriptors_that_nobody_promised(self):
        null = os.open("/dev/null", os.O_RDWR)
        relay = self.start(Relay, more_fds={8: null, 20: null, 300: null})
        os.close(null)
        self.is_confined(relay.process.pid, {2, 3, 4, 6})

    def test_attempts(self):
        """What a relay that its client has taken over would try: each try ends it."""
        listing = Relay(program=ATTEMPT, environment={"TPMGATE_ATTEMPT": "list"})
        self.assertEqual(listing.stop(), 0, listing.process.logged())
        names = listing.process.logged().split()
        for name in ("open", "socket", "connect", "execve", "fork", "ptrace", "kill", "mmap-exec"):
            self.assertIn(name, names)
        for name in names:
            with self.subTest(name):
                relay = Relay(program=ATTEMPT, environment={"TPMGATE_ATTEMPT": name})
                status = relay.process.wait()
                relay.stop()
                self.assertEqual(status, -signal.SIGSYS, relay.process.logged())

    def test_attempt_program_is_otherwise_a_relay(self):
        """So that the test above cannot pass because the program dies anyway."""
        swtpm = self.start(Swtpm)
        relay = self.start(Relay, swtpm, program=ATTEMPT)
        relay.client.random()

    def test_without_its_descriptors(self):
        process = Process([BUILD + "/helper/relay/tpmgate-relay"], user="tpmgate")
        self.assertNotEqual(process.wait(), 0)
        self.assertIn("broker", process.logged())


class Stopping(TestCase):
    """SIGSTOP and SIGCONT, as suspend and job control send them, at every state of the relay."""

    def stop_and_continue(self, relay):
        pid = relay.process.pid
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status), f"status {status:#x}")
        os.kill(pid, signal.SIGCONT)
        _, status = os.waitpid(pid, os.WCONTINUED)
        self.assertTrue(os.WIFCONTINUED(status), f"status {status:#x}")

    def test_in_every_state(self):
        relay = self.start(Relay)
        for _ in range(50):
            self.stop_and_continue(relay)  # idle
            relay.client.send(get_random(8)[:5])
            self.stop_and_continue(relay)  # half a command
            relay.client.send(get_random(8)[5:])
            self.assertEqual(relay.command_arrives(), get_random(8))
            self.stop_and_continue(relay)  # the TPM works
            relay.tpm.send(ANSWER)
            self.assertEqual(relay.client.receive(), ANSWER)

    def test_while_the_client_does_not_read(self):
        relay = self.start(Relay)
        # Answers until neither the client's buffer nor the relay takes more.
        sent = 0
        relay.client.socket.setblocking(False)
        try:
            while True:
                sent += relay.client.socket.send(command(0x17F))
        except BlockingIOError:
            pass
        for _ in range(20):
            self.stop_and_continue(relay)
        relay.client.socket.setblocking(True)
        # It goes on: answers come until the last whole command is answered.
        relay.client.socket.settimeout(1)
        received = 0
        while received < sent // 10 * 10:
            received += len(relay.client.socket.recv(65536))

    def test_at_random_moments(self):
        swtpm = self.start(Swtpm)
        relay = self.start(Relay, swtpm)
        worker = Process([self.ask_for_random, relay.client], fds={3: relay.client.socket},
                         name="worker")
        generator = random.Random(1)
        for _ in range(1000):
            for _ in range(generator.randrange(200)):
                pass
            self.stop_and_continue(relay)
        worker.stop(signal.SIGKILL)
        relay.client.socket.settimeout(1)
        try:
            relay.client.socket.recv(65536)  # what the worker did not live to read
        except TimeoutError:
            pass
        relay.client.socket.settimeout(None)
        relay.client.random()

    @staticmethod
    def ask_for_random(_):
        from wire import Tpm
        tpm = Tpm(3)
        while True:
            tpm.random()


class Ends(TestCase):
    def test_revocation(self):
        swtpm = self.start(Swtpm)
        relay = self.start(Relay, swtpm)
        relay.client.random()
        relay.revoke()
        eventually(lambda: 4 not in descriptors_of(relay.process.pid), "the TPM is released")
        for _ in range(3):
            self.assertEqual(relay.client.code(get_random(8)), REFUSED)
            self.assertEqual(relay.client.code(create_primary()), REFUSED)
        self.assertTrue(relay.process.running(), "the relay closed first")

    def test_removed_device(self):
        relay = self.start(Relay)
        relay.revoke(REASON_DEVICE_GONE)
        self.assertEqual(relay.client.code(get_random(8)), GONE)
        self.assertTrue(relay.process.running())

    def test_end_of_the_account_socket(self):
        relay = self.start(Relay)
        relay.account.shutdown(socket.SHUT_RDWR)
        eventually(lambda: 4 not in descriptors_of(relay.process.pid), "the TPM is released")
        self.assertNotEqual(relay.client.code(get_random(8)), 0)
        self.assertTrue(relay.process.running())

    def test_revocation_in_the_middle_of_a_command(self):
        relay = self.start(Relay)
        relay.client.send(get_random(8))
        relay.command_arrives()
        relay.revoke()
        self.assertEqual(response_code(relay.client.receive()), REFUSED)
        self.assertEqual(relay.client.code(get_random(8)), REFUSED)

    def test_revocation_while_the_client_does_not_read(self):
        relay = self.start(Relay)
        relay.client.socket.setblocking(False)
        try:
            while True:
                relay.client.socket.send(command(0x17F))
        except BlockingIOError:
            pass
        relay.revoke()
        self.assertTrue(relay.process.running())

    def test_tpm_that_ends(self):
        relay = self.start(Relay)
        relay.tpm.close()
        relay.tpm = None
        for _ in range(3):
            self.assertEqual(relay.client.code(get_random(8)), GONE)
        self.assertTrue(relay.process.running())

    def test_client_that_leaves(self):
        relay = self.start(Relay)
        relay.client.close()
        self.assertEqual(relay.process.wait(), 0)

    def test_client_that_leaves_in_the_middle_of_a_command(self):
        relay = self.start(Relay)
        relay.client.send(get_random(8))
        relay.command_arrives()
        relay.client.close()
        relay.tpm.send(ANSWER)
        self.assertEqual(relay.process.wait(), 0)

    def test_leftovers_of_a_stream(self):
        """A stream has no resource manager: what one session leaves, the next must not meet."""
        swtpm = self.start(Swtpm)
        relay = Relay(swtpm)
        self.assertEqual(relay.client.code(create_primary()), 0)
        self.assertEqual(relay.client.code(start_session()), 0)
        relay.process.stop(signal.SIGKILL)
        relay.stop()
        relay = self.start(Relay, swtpm)
        self.assertEqual(relay.client.capability(1, 0x80000000), struct.pack(">II", 1, 0))
        for _ in range(3):
            self.assertEqual(relay.client.code(create_primary()), 0)
        self.assertEqual(relay.client.code(create_primary()), 0x000B0902)

    def test_idle_time(self):
        relay = self.start(Relay, idle=1)
        eventually(lambda: 4 not in descriptors_of(relay.process.pid), "the TPM is released")
        self.assertEqual(relay.client.code(get_random(8)), REFUSED)
        self.assertTrue(relay.process.running())

    def test_half_a_command(self):
        relay = self.start(Relay)
        relay.client.send(get_random(8)[:11])
        self.assertEqual(response_code(relay.client.receive()), 0x142)
        relay.client.send(get_random(8))
        relay.command_arrives()
        relay.tpm.send(ANSWER)
        self.assertEqual(relay.client.receive(), ANSWER)


class HostileTpm(TestCase):
    """Answers that no TPM gives."""

    def answered(self, answer):
        relay = Relay()
        relay.client.send(get_random(8))
        relay.command_arrives()
        relay.tpm.send(answer)
        response = relay.client.receive()
        running = relay.process.running()
        relay.stop()
        self.assertTrue(running)
        return response

    def test_proper_answer(self):
        self.assertEqual(self.answered(ANSWER), ANSWER)

    def test_improper_answers(self):
        for name, answer in (
                ("short header", ANSWER[:9]),
                ("cut", ANSWER[:-1]),
                ("longer than its size", ANSWER + b"x"),
                ("huge size", struct.pack(">HII", 0x8001, 0xFFFFFFFF, 0)),
                ("size of nothing", struct.pack(">HII", 0x8001, 0, 0)),
                ("unknown tag", struct.pack(">HII", 0x1234, 20, 0) + ANSWER[10:]),
                ("error with a body", struct.pack(">HII", 0x8001, 20, 0x101) + ANSWER[10:]),
                ("sessions without a command's", struct.pack(">HII", 0x8002, 20, 0) +
                 ANSWER[10:])):
            with self.subTest(name):
                self.assertEqual(self.answered(answer), struct.pack(">HII", 0x8001, 10, GONE))

    def test_handle_of_the_wrong_kind(self):
        relay = self.start(Relay)
        relay.client.send(start_session())
        relay.command_arrives()
        relay.tpm.send(struct.pack(">HIIIH", 0x8001, 32, 0, 0x81000001, 16) + bytes(16))
        self.assertEqual(response_code(relay.client.receive()), GONE)
