"""Row 27: sessions for ever, by the thousand, clients that do not read; and prompts (row 30)."""

import os
import time

from commands import READ_CLOCK
from harness import PATIENCE, Broker, Bus, Swtpm, TestCase
from scenario import Machine, Scenario, done
from wire import (INTERACTIVE, LIMIT, OK, OPEN, Caller, command, get_random, request,
                  response_code)

GONE = 0x000B0120


class Sessions(Scenario):
    def test_row_27_for_ever(self):
        """Only where an administrator wants an end to it: the TPM is taken, and the program is
        told at its next command."""
        machine = Machine(self)
        machine.serve(config="[Session]\nIdleTimeoutSec=1\n")
        session = machine.open()
        session.random()
        machine.broker.process.wait_for_log("its time limit is over")
        self.assertEqual(f"{session.code(get_random(8)):#x}", f"{GONE:#x}")
        machine.open().random()

        machine.end()
        machine.serve(config="[Session]\nMaxLifetimeSec=1\n")
        session = machine.open()
        end = time.monotonic() + PATIENCE
        while session.code(get_random(8)) == 0 and time.monotonic() < end:
            pass  # as busy as it can be
        self.assertEqual(f"{session.code(get_random(8)):#x}", f"{GONE:#x}")

    def test_row_27_thousands(self):
        machine = Machine(self)
        machine.serve(config="[Broker]\nMaxSessionsPerUser=16\nMaxSessions=20\n")
        carol = self.start(Caller, "carol")
        replies = [carol.ask(OPEN, profiles="keys") for _ in range(100)]
        for reply in replies:
            if reply.fd >= 0:
                self.addCleanup(os.close, reply.fd)
        self.assertEqual([reply.status for reply in replies], [OK] * 16 + [LIMIT] * 84)
        self.assertEqual(len(machine.broker.relays()), 16)
        # It is the limit of one, and there is another of all.
        machine.open("keys", "user1").random()
        others = [machine.open("keys", f"user{user}") for user in (2, 3, 4)]
        self.assertEqual(len(others), 3)
        user = self.start(Caller, "user5", groups=machine.groups)
        self.assertEqual(user.ask(OPEN, profiles="keys").status, LIMIT)

    def test_row_27_never_reads(self):
        """It waits for itself; whoever else uses the TPM does not."""
        machine = Machine(self)
        for _ in range(4):
            session = machine.open()
            session.socket.setblocking(False)
            try:
                while True:
                    session.socket.send(get_random(64))
            except BlockingIOError:
                pass
        other = machine.open("keys", "user1")
        for _ in range(100):
            done(other, command(READ_CLOCK))

    def test_row_27_half_a_command(self):
        """Nobody's turn is kept waiting for the other half."""
        machine = Machine(self)
        session = machine.open()
        session.send(get_random(8)[:11])
        machine.open("keys", "user1").random()
        # After two seconds it is answered as what it is.
        self.assertEqual(response_code(session.receive()), 0x142)
        session.random()


class Prompts(TestCase):
    def test_row_30_one_prompt_at_a_time(self):
        """Whoever is asked all the time says yes in the end."""
        self.start(Bus)
        self.start(Broker, self.start(Swtpm))
        callers = [self.start(Caller, "user1") for _ in range(8)]
        for caller in callers:
            caller.call("connect")
            caller.call("send", request(OPEN, profiles="keys", flags=INTERACTIVE))
            caller.post("receive", PATIENCE)
        # There is no agent here to show any, so that each is answered in the end, and no session.
        for caller in callers:
            self.assertNotIn(caller.finish().status, (OK,))
