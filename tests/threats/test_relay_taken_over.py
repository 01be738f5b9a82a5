"""Row 31: what a relay that its client has taken over says to the broker costs its own uid only.

Its messages are sent by the test; the victims' relays, and the TPM, are real.
"""

import signal

from commands import (CONTEXT_LOAD, CONTEXT_SAVE, SIGN_PROTECTED, primary, sign, with_handle)
from harness import eventually, readable
from hostile import (CLAIM, CONFIRM, DA_BEGIN, DA_END, FLUSH_BEGIN, GONE, LIMIT, NO, PROFILE, RATE,
                     SESSION_BEGIN, SESSION_END, TURN_END, Hostile, install)
from relay import CLOSED, REVOKED, SAVES, YES
from scenario import Machine, Scenario, done, made
from wire import KIND_NV, KIND_PERSISTENT, NULL, command, start_session

POLICY_RESTART = 0x180
NV_OWN, NV_CERTIFICATE, STORAGE_ROOT = 0x01800001, 0x01C00002, 0x81000001
FAILED, COUNTED = 40, 1
SAVES_MAX = 65535 // 16 + 4096  # of one message, where no TPM's gap is known
WRITES_PER_HOUR = 10


class TakenOver(Scenario):
    def setUp(self):
        self.machine = Machine(self)
        self.machine.serve(relay=install())

    def hostile(self, user="carol"):
        return Hostile(self.machine.open(PROFILE, user))

    def victim(self):
        return self.machine.open("keys", "user1")

    def account(self, user):
        return self.machine.callers[user].account()

    def assert_ended(self, hostile, because):
        self.assertTrue(hostile.ended(), "the session goes on")
        self.machine.broker.process.wait_for_log(because)


class Sessions(TakenOver):
    """TPM sessions of others, by their numbers."""

    def test_row_31_loaded_session(self):
        """Claimed as the relay's own: the victim's relay is not called a liar for it."""
        victim, hostile = self.victim(), self.hostile()
        session = made(victim, start_session(kind=1))
        self.assertEqual(hostile.ask(SESSION_BEGIN), YES)
        hostile.tell(SESSION_END, handle=session)
        hostile.tell(GONE, handle=session)
        self.assertEqual(hostile.ask(FLUSH_BEGIN, handle=session), NO)
        self.assertEqual(self.account("user1")["tpm_sessions"], 1)
        self.assertEqual(self.account("carol")["tpm_sessions"], 0)
        saved = done(victim, with_handle(CONTEXT_SAVE, session))[10:]
        victim.random()
        done(victim, command(CONTEXT_LOAD, parameters=saved))
        self.assertEqual(self.account("user1")["tpm_sessions"], 1)

    def test_row_31_saved_session(self):
        """Claimed while it is saved, as whoever has the context may: whoever has it indeed is
        called no liar for what becomes of it."""
        victim, hostile = self.victim(), self.hostile()
        session = made(victim, start_session(kind=1))
        saved = done(victim, with_handle(CONTEXT_SAVE, session))[10:]
        self.assertEqual(hostile.ask(SESSION_BEGIN, handle=session), YES)
        hostile.tell(SESSION_END, handle=session)
        self.assertEqual(hostile.ask(FLUSH_BEGIN, handle=session), NO)
        done(victim, command(CONTEXT_LOAD, parameters=saved))
        done(victim, with_handle(CONTEXT_SAVE, session))
        victim.random()

    def test_row_31_saves(self):
        """Told of enough of them, be it little by little, the broker would have everybody's
        sessions flushed. tpmgate-rm counts itself: an honest relay tells of none."""
        victim = self.victim()
        loaded, saved = (made(victim, start_session(kind=1)) for _ in range(2))
        done(victim, with_handle(CONTEXT_SAVE, saved))
        for saves, gap in ((1, 0), (140, 255), (SAVES_MAX, 65535), (0xFFFFFFFF, 0)):
            with self.subTest(f"{saves}"):
                hostile = self.hostile()
                hostile.tell(SAVES, argument=saves, values=(gap, 0, 0))
                self.assert_ended(hostile, "it counted saves, as tpmgate-rm does")
        victim.random()  # an order would be carried out before this
        self.assertEqual(victim.code(command(POLICY_RESTART, [loaded])), 0)
        self.assertEqual(self.account("user1")["tpm_sessions"], 2)

    def test_row_31_orders_that_are_not_obeyed(self):
        """Each makes room for one more: who does not carry them out gets no more by it."""
        honest = self.machine.open("keys")
        for _ in range(12):
            done(honest, with_handle(CONTEXT_SAVE, made(honest, start_session())))
        answers = [self.hostile().ask(SESSION_BEGIN) for _ in range(5)]
        self.assertEqual(answers, [YES] * 2 + [LIMIT] * 3)


class Token(TakenOver):
    def test_row_31_comes_back(self):
        """Kept by a session until it ends: that is counted as its uid's failure, and the next who
        waits has the token."""
        victim, hostile = self.victim(), self.hostile()
        key = made(victim, primary(NULL, SIGN_PROTECTED, b"right"))
        self.assertEqual(hostile.ask(DA_BEGIN), YES)
        victim.send(sign(key, b"right"))
        self.assertFalse(readable(victim.socket, 0.2), "nobody waits for the token")
        hostile.socket.close()
        self.assertEqual(victim.receive()[6:10], bytes(4))
        self.assertEqual(self.account("carol")["charge"], 1)
        self.assertEqual(self.account("user1")["charge"], 0)

    def test_row_31_is_kept_while_its_command_is_on_its_way(self):
        """Revoked amid its command: whoever had the token at once would read a counter that the
        command is yet to raise."""
        session = self.machine.open(PROFILE)
        victim, hostile = self.victim(), Hostile(session)
        key = made(victim, primary(NULL, SIGN_PROTECTED, b"right"))
        self.assertEqual(hostile.ask(DA_BEGIN), YES)
        victim.send(sign(key, b"right"))
        hostile.tell(REVOKED)
        hostile.tell(SESSION_BEGIN, serial=2)
        self.assertFalse(readable(victim.socket, 0.5), "it was given to the next")
        self.assertFalse(readable(hostile.socket, 0), "it is answered, and has no TPM")
        hostile.tell(CLOSED)
        self.assertEqual(victim.receive()[6:10], bytes(4))
        self.assertEqual(self.account("carol")["charge"], 1)

    def test_row_31_what_is_told_last(self):
        """At the end of its session: what a broker that is busy has not read by then counts."""
        session = self.machine.open(PROFILE)
        hostile = Hostile(session)
        relay, = self.machine.broker.relays()
        broker = self.machine.broker.process
        broker.send_signal(signal.SIGSTOP)
        hostile.tell(DA_BEGIN, serial=1)
        hostile.tell(DA_END)  # withdrawn, as by a client that leaves
        for _ in range(20):
            hostile.tell(FAILED, argument=COUNTED)
        hostile.socket.close()
        eventually(lambda: relay not in self.machine.broker.relays(), "the relay's exit")
        broker.send_signal(signal.SIGCONT)
        eventually(lambda: self.account("carol")["charge"] == 20, "the end of what was told")
        self.assertNotIn("relay killed", broker.logged())

    def test_row_31_failures_are_ones_own(self):
        victim, hostile = self.victim(), self.hostile()
        key = made(victim, primary(NULL, SIGN_PROTECTED, b"right"))
        for _ in range(100):
            hostile.tell(FAILED, argument=COUNTED)
        # Nor does a counter that it makes up count for others.
        self.assertEqual(hostile.ask(DA_BEGIN), YES)
        hostile.tell(DA_END, argument=1, values=(31, 32, 1))
        done(victim, sign(key, b"right"))
        self.assertEqual(self.account("user1")["charge"], 0)

    def test_row_31_what_it_does_not_have(self):
        for kind in (DA_END, TURN_END):
            with self.subTest(f"{kind}"):
                hostile = self.hostile()
                hostile.tell(kind)
                self.assert_ended(hostile, "it gave back what it did not have")


class Claims(TakenOver):
    """Of handles that nobody may make, and of so many that the registry's disk is busy."""

    def records(self):
        return self.machine.callers["carol"].records()[0]

    def test_row_31_handles_of_others(self):
        for kind, handle in ((KIND_NV, NV_CERTIFICATE), (KIND_NV, NV_OWN | 0x00400000),
                             (KIND_PERSISTENT, STORAGE_ROOT), (KIND_PERSISTENT, 0x81010001)):
            with self.subTest(f"{handle:#x}"):
                hostile = self.hostile()
                hostile.tell(CLAIM, what=kind, handle=handle, data=bytes(34), serial=1)
                self.assertTrue(hostile.ended())
                self.assertEqual(self.records(), [])

    def test_row_31_claims_are_nv_writes(self):
        hostile = self.hostile()
        answers = []
        for _ in range(3 * WRITES_PER_HOUR):
            answers.append(hostile.ask(CLAIM, what=KIND_NV, handle=NV_OWN, data=bytes(14)))
            if answers[-1] == YES:
                hostile.ask(CONFIRM, what=KIND_NV, handle=NV_OWN)
        self.assertEqual(answers, [YES] * WRITES_PER_HOUR + [RATE] * 2 * WRITES_PER_HOUR)
        # In another session, too; not for another user.
        self.assertEqual(self.hostile().ask(
            CLAIM, what=KIND_NV, handle=NV_OWN, data=bytes(14)), RATE)
        self.assertEqual(self.hostile("user1").ask(
            CLAIM, what=KIND_NV, handle=NV_OWN, data=bytes(14)), YES)
