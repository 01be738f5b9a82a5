"""Callers that disappear, whose number is another's by then, or that wait at password prompts."""

import os
import signal
import socket
import time
import unicodedata
import unittest

from agent import Agent
from harness import (BROKER, BROKER_NO_PEERPIDFD, NUMBERED, PATIENCE, Broker, Bus, Process, Swtpm,
                     TestCase, write_rule)
from wire import (DENIED, INTERACTIVE, LIMIT, NONCE_PACKET, OK, OPEN, REPLY, Caller, Tpm,
                  decode_reply, receive_packet, request)

RULE = """
polkit.addRule(function(action, subject) {
    if (subject.user == "alice" && action.id == "io.github.tpmgate.keys")
        return polkit.Result.YES;
    return polkit.Result.NOT_HANDLED;
});
"""
SO_PEERPIDFD = 77


def kernel_vouches_for_pids():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    try:
        os.close(ours.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
        return True
    except OSError:
        return False
    finally:
        ours.close()
        theirs.close()


class Peers(TestCase):
    program = BROKER

    def setUp(self):
        write_rule("40-test", RULE)
        self.swtpm = self.start(Swtpm)
        self.bus = self.start(Bus)
        self.broker = self.start(Broker, self.swtpm, program=self.program,
                                 config="[Broker]\nRequestTimeoutSec=2\n")
        self.root = self.start(Caller, 0)

    def no_session(self):
        self.assertEqual(self.root.sessions(), [])
        self.assertEqual(self.broker.relays(), [])

    def is_let_in(self, caller):
        tpm = caller.open()
        tpm.random()
        tpm.close()


class Prompts(Peers):
    def ask(self, user="user1"):
        """A caller who waits at a prompt, and the prompt."""
        caller = self.start(Caller, user)
        agent = self.start(Agent, caller)
        caller.send_request(OPEN, profiles="keys", flags=INTERACTIVE)
        return caller, agent, agent.prompt()

    def test_answered(self):
        caller, agent, prompt = self.ask()
        self.assertEqual(prompt.action, "io.github.tpmgate.keys")
        agent.yes(prompt)
        reply = caller.finish()
        self.assertEqual(reply.status, OK, reply)
        tpm = Tpm(reply.fd)
        tpm.random()
        tpm.close()

    def test_dismissed(self):
        caller, agent, prompt = self.ask()
        agent.no(prompt)
        self.assertEqual(caller.finish().status, DENIED)
        self.no_session()

    def test_no_prompt_unasked(self):
        caller = self.start(Caller, "user1")
        agent = self.start(Agent, caller)
        self.assertNotEqual(caller.ask(OPEN, profiles="keys").status, OK)
        # Whatever polkit would show comes before the answer to a later request that may prompt.
        caller.send_request(OPEN, profiles="owner", flags=INTERACTIVE)
        reply = caller.finish()
        self.assertNotEqual(reply.status, OK)
        self.assertIsNone(agent.next_line(0))

    def test_caller_that_disappears(self):
        caller, agent, prompt = self.ask()
        caller.process.stop(signal.SIGKILL)
        agent.cancelled(prompt.cookie)
        self.no_session()

    def test_caller_that_hangs_up(self):
        caller = self.start(Caller, "user1")
        agent = self.start(Agent, caller)
        caller.call("connect")
        caller.call("send", request(OPEN, profiles="keys", flags=INTERACTIVE))
        if self.program != BROKER:
            caller.call("send", caller.call("receive_raw", PATIENCE)[0])
        prompt = agent.prompt()
        caller.call("close")
        agent.cancelled(prompt.cookie)
        self.no_session()

    def test_caller_that_leaves_its_socket_behind(self):
        """Polkit's yes is about a process that is no more; its socket is in other hands."""
        caller = self.start(Caller, "user1")
        agent = self.start(Agent, caller)
        caller.call("connect")
        _, (fd,) = caller.call("give_socket")
        caller.call("send", request(OPEN, profiles="keys", flags=INTERACTIVE))
        caller.post("receive", PATIENCE)
        prompt = agent.prompt()
        caller.process.stop(signal.SIGKILL)
        agent.yes(prompt)
        with socket.socket(fileno=fd) as sock:
            data, fds = receive_packet(sock, PATIENCE)
            if data:
                self.assertEqual(decode_reply(data, fds).status, DENIED)
            self.assertFalse(fds)
        self.no_session()

    def test_program_name_that_lies(self):
        """A process chooses its name: it must not paint over the prompt's own words."""
        caller = self.start(Caller, "user1")
        agent = self.start(Agent, caller)
        caller.call("rename", "\x1b[2Jx\u202e\n\tno".encode())
        caller.send_request(OPEN, profiles="keys", flags=INTERACTIVE)
        message = agent.prompt().message
        for character in message:
            self.assertNotIn(unicodedata.category(character), ("Cc", "Cf", "Co", "Cn", "Zl", "Zp"),
                             ascii(message))
        self.assertIn("TPM", message)

    def test_hundred_callers_at_prompts(self):
        callers = [self.start(Caller, user) for user in NUMBERED]
        alice, carol = self.start(Caller, "alice"), self.start(Caller, "carol")
        second = self.start(Caller, NUMBERED[0])
        agent = self.start(Agent, second, *callers)
        prompts = {}
        for caller in callers:
            # One after the other: before its prompt a connection counts against MaxUndecided=.
            caller.send_request(OPEN, profiles="keys", flags=INTERACTIVE)
            prompts[caller.pid] = agent.prompt()
            self.assertEqual(int(prompts[caller.pid].pid), caller.pid)
        # Nobody who needs no prompt waits behind them.
        begin = time.monotonic()
        self.is_let_in(carol)
        self.is_let_in(alice)
        self.assertLess(time.monotonic() - begin, 5)
        # And each uid has one prompt at a time.
        reply = second.ask(OPEN, profiles="keys", flags=INTERACTIVE)
        self.assertEqual(reply.status, LIMIT, reply)
        self.assertIsNone(agent.next_line(0))
        # The last one's is answered, the others' are taken back.
        agent.yes(prompts.pop(callers[-1].pid))
        reply = callers[-1].finish()
        self.assertEqual(reply.status, OK, reply)
        Tpm(reply.fd).close()
        self.assertTrue(agent.next_line().startswith("done "))
        for caller in callers:
            caller.process.stop(signal.SIGKILL)
        agent.cancelled(*(prompt.cookie for prompt in prompts.values()))
        # The slot is free again.
        second.send_request(OPEN, profiles="keys", flags=INTERACTIVE)
        self.assertEqual(int(agent.prompt().pid), second.pid)


class ReusedPid(Peers):
    """The broker is stopped while alice connects, ends, and her number goes to another process."""

    def take_pid(self, pid):
        """A process of alice's with the number PID."""
        for _ in range(50):
            with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
                file.write(str(pid - 1))
            process = Process([signal.pause], user="alice", name="successor")
            if process.pid == pid:
                self.addCleanup(process.stop, signal.SIGKILL)
                return process
            process.stop(signal.SIGKILL)
        raise AssertionError(f"pid {pid} was not to be had")

    def connect(self, ends, reused):
        """Alice's connection, made while the broker could not look."""
        broker = self.broker.process
        alice = self.start(Caller, "alice")
        broker.send_signal(signal.SIGSTOP)
        os.waitpid(broker.pid, os.WUNTRACED)
        alice.call("connect")
        _, (fd,) = alice.call("give_socket")
        if ends:
            alice.process.stop(signal.SIGKILL)
        if reused:
            self.take_pid(alice.pid)
        broker.send_signal(signal.SIGCONT)
        sock = socket.socket(fileno=fd)
        self.addCleanup(sock.close)
        return sock, alice

    def reply(self, sock):
        """The reply; a nonce is sent back by this process, which is not alice's."""
        data, fds = receive_packet(sock, PATIENCE)
        if data and len(data) == NONCE_PACKET.size:
            sock.send(data)
            data, fds = receive_packet(sock, PATIENCE)
        return decode_reply(data, fds) if data else None

    def is_refused(self, sock):
        try:
            sock.send(request(OPEN, profiles="keys"))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it asked; the reply is there to be read
        reply = self.reply(sock)
        if reply:
            self.assertEqual(reply.status, DENIED, reply)
        self.no_session()

    def test_caller_that_stays(self):
        _, alice = self.connect(ends=False, reused=False)
        alice.call("send", request(OPEN, profiles="keys"))
        data, fds = alice.call("receive", PATIENCE)
        reply = decode_reply(data, fds)
        self.assertEqual(reply.status, OK, reply)
        Tpm(reply.fd).close()

    def test_caller_that_ended(self):
        self.is_refused(self.connect(ends=True, reused=False)[0])

    def test_number_that_is_anothers(self):
        self.is_refused(self.connect(ends=True, reused=True)[0])

    def test_number_that_is_anothers_before_the_request(self):
        """Here the broker has seen the process that connected; it ends before it asks."""
        alice = self.start(Caller, "alice")
        alice.call("connect")
        _, (fd,) = alice.call("give_socket")
        self.root.profiles()  # a full round: the broker has accepted what came before
        alice.process.stop(signal.SIGKILL)
        self.take_pid(alice.pid)
        with socket.socket(fileno=fd) as sock:
            self.is_refused(sock)


class PromptsWithNonce(Prompts):
    program = BROKER_NO_PEERPIDFD


class ReusedPidWithNonce(ReusedPid):
    """As on a kernel before 6.5, where the broker must ask the caller to prove itself."""

    program = BROKER_NO_PEERPIDFD


class Nonce(Peers):
    program = BROKER_NO_PEERPIDFD

    def asked(self, user="alice"):
        """A caller who has been asked to send a nonce back, and the nonce packet."""
        caller = self.start(Caller, user)
        caller.call("connect")
        caller.call("send", request(OPEN, profiles="keys"))
        data, _ = caller.call("receive_raw", PATIENCE)
        self.assertEqual(len(data), NONCE_PACKET.size)
        return caller, data

    def reply(self, caller):
        data, fds = caller.call("receive_raw", PATIENCE)
        return decode_reply(data, fds) if data else None

    def is_refused(self, reply):
        self.assertTrue(reply is None or reply.status == DENIED, reply)
        self.no_session()

    def test_honest_caller(self):
        caller, nonce = self.asked()
        caller.call("send", nonce)
        reply = self.reply(caller)
        self.assertEqual(reply.status, OK, reply)
        Tpm(reply.fd).close()

    def test_every_nonce_is_another(self):
        self.assertNotEqual(self.asked()[1], self.asked()[1])

    def test_wrong_nonce(self):
        caller, nonce = self.asked()
        caller.call("send", nonce[:-1] + bytes([nonce[-1] ^ 1]))
        self.is_refused(self.reply(caller))

    def test_malformed_nonce(self):
        caller, nonce = self.asked()
        caller.call("send", nonce[:-1])
        self.is_refused(self.reply(caller))

    def test_request_instead(self):
        caller, _ = self.asked()
        caller.call("send", request(OPEN, profiles="keys"))
        self.is_refused(self.reply(caller))

    def test_another_process_of_the_same_user(self):
        caller, nonce = self.asked()
        _, (fd,) = caller.call("give_socket")
        accomplice = self.start(Caller, "alice", sock=fd)
        os.close(fd)
        accomplice.call("send", nonce)
        self.is_refused(self.reply(caller))

    def test_child_of_the_caller(self):
        """Root may name any pid in its credentials; the broker asks for the uid too."""
        caller, nonce = self.asked()
        _, (fd,) = caller.call("give_socket")
        with socket.socket(fileno=fd) as sock:
            sock.send(nonce)
        self.is_refused(self.reply(caller))

    def test_no_answer(self):
        caller, _ = self.asked()
        self.is_refused(self.reply(caller))

    def test_members_of_the_group_are_not_asked(self):
        caller = self.start(Caller, "carol")
        caller.call("connect")
        caller.call("send", request(OPEN, profiles="keys"))
        data, fds = caller.call("receive_raw", PATIENCE)
        self.assertGreaterEqual(len(data), REPLY.size)
        reply = decode_reply(data, fds)
        self.assertEqual(reply.status, OK)
        Tpm(reply.fd).close()


class NoNonce(Peers):
    @unittest.skipUnless(kernel_vouches_for_pids(), "this kernel has no SO_PEERPIDFD (before 6.5)")
    def test_where_the_kernel_vouches(self):
        caller = self.start(Caller, "alice")
        caller.call("connect")
        caller.call("send", request(OPEN, profiles="keys"))
        data, fds = caller.call("receive_raw", PATIENCE)
        reply = decode_reply(data, fds)
        self.assertEqual(reply.status, OK)
        Tpm(reply.fd).close()
