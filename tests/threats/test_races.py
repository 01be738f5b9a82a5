"""What becomes of a command while it waits, and of a session while the TPM works for it.

Somebody else's command may take effect in between, or the broker have something to say.
"""

import struct

from commands import (ALG_NULL, CONTEXT_SAVE, NV_DEFINE_SPACE, NV_READ_PUBLIC,
                      PROTECTED_TEMPLATE, READ_PUBLIC, SHA256, evict, flush, nv_define, nv_read,
                      primary, session_entry, with_handle)
from harness import TPMGATE_USERS, Broker, Swtpm, TestCase, eventually
from hostile import DA_BEGIN, DA_END, PROFILE, TURN_BEGIN, TURN_END, Hostile, install
from relay import YES, Relay
from scenario import (PT_LOCKOUT_COUNTER, SHIPPED, Machine, Scenario, done, made, open_to_members,
                      properties)
from tap import Tap
from wire import (CC_FLUSH_CONTEXT, CC_GET_RANDOM, CC_START_AUTH_SESSION, EMPTY_PASSWORD, NULL, OK,
                  REVOKE, Caller, allow_failures, command, get_random, response_code,
                  start_session, tpm2b)

KEY, INDEX = 0x81000100, 0x01800001
RSA_ENCRYPT, RSA_DECRYPT, OAEP, RSAES = 0x174, 0x159, 0x17, 0x15
CLAIMED, DOUBTFUL = 1, 4  # of a record
CHARGE_MAX = 3  # failures of one user, where the TPM bears 32
TAKEN = 0x000B014C
SECRET = b"meant for one of them"


def rsa_key(unique):
    """A decryption key, slow to use, whose wrong passwords are not counted."""
    return struct.pack(">HHIHHHHI", 1, SHA256, 0x00020472, 0, ALG_NULL, ALG_NULL, 2048, 0) + tpm2b(
        unique.ljust(256, b"\1"))


def encrypt(key, data, scheme, label=b""):
    return command(RSA_ENCRYPT, [key], None, tpm2b(data) + scheme + tpm2b(label))


class WaitingForTurns(TestCase):
    """Row 40: a persistent key is judged, then the command that names it waits for its turn
    or the token, and meanwhile there is another key at the handle.

    Who holds the turn is a relay that was taken over: so it is held for as long as need be.
    """

    def setUp(self):
        swtpm = self.start(Swtpm)
        allow_failures(swtpm, 32)
        self.tap = self.start(Tap, swtpm)
        self.start(Broker, "rm:unix:" + self.tap.socket, arguments=["--no-polkit"],
                   profiles=open_to_members(*SHIPPED), relay=install())
        self.carol = self.start(Caller, "carol")
        self.bob = self.start(Caller, "bob", [TPMGATE_USERS])

    def open(self, caller, profiles="keys+persist"):
        return self.start(lambda: caller.open(profiles))

    def hold(self, caller, question):
        holder = Hostile(self.open(caller, PROFILE))
        self.assertEqual(holder.ask(question), YES)
        return holder

    def send_and_wait(self, session, data):
        """Sends what is judged by a persistent key, and has to wait then."""
        start = len(self.tap.codes())
        session.send(data)
        eventually(lambda: READ_PUBLIC in self.tap.codes(start), "the key is looked at")

    def keep(self, session, template, handle, auth=b""):
        key = made(session, primary(template=template, auth=auth))
        done(session, evict(key, handle))
        done(session, flush(key))

    def test_row_40_bound_to_what_it_was_not(self):
        """By one user: each use of the session tries a password, and the TPM counts it."""
        waiting, other = self.open(self.carol), self.open(self.carol)
        self.keep(other, rsa_key(b"uncounted"), KEY)
        counted = made(other, primary(template=PROTECTED_TEMPLATE, auth=b"unknown"))
        salting = made(waiting, primary(NULL, rsa_key(b"salt")))
        salt = done(waiting, encrypt(
            salting, bytes(32), struct.pack(">HH", OAEP, SHA256), b"SECRET\0"))[12:]
        holder = self.hold(self.carol, TURN_BEGIN)
        self.send_and_wait(waiting, command(
            CC_START_AUTH_SESSION, [salting, KEY], None,
            tpm2b(bytes(16)) + tpm2b(salt) + struct.pack(">BHH", 0, ALG_NULL, SHA256)))
        done(other, evict(KEY, KEY))
        done(other, evict(counted, KEY))
        holder.tell(TURN_END)
        response = waiting.receive()
        if response_code(response) == 0:
            use = command(CC_GET_RANDOM, [], session_entry(
                struct.unpack_from(">I", response, 10)[0], bytes(32), 0x81), b"\0\x08")
            for _ in range(40):
                self.assertNotEqual(waiting.code(use), 0)
        self.assertLessEqual(properties(other)[PT_LOCKOUT_COUNTER], CHARGE_MAX)

    def test_row_40_another_users_key(self):
        """The handle was the waiting user's when it was judged."""
        waiting, other, victim = self.open(self.bob), self.open(self.bob), self.open(self.carol)
        theirs = made(victim, primary(template=rsa_key(b"carol")))
        secret = done(victim, encrypt(theirs, SECRET, struct.pack(">H", RSAES)))[12:]
        scheme = struct.pack(">H", RSAES) + tpm2b(b"")
        for handle, begin, end in ((KEY, TURN_BEGIN, TURN_END), (KEY + 1, DA_BEGIN, DA_END)):
            with self.subTest(f"{begin}"):
                self.keep(other, rsa_key(b"bob"), handle)
                holder = self.hold(self.bob if begin == TURN_BEGIN else self.carol, begin)
                self.send_and_wait(waiting, command(
                    RSA_DECRYPT, [handle], EMPTY_PASSWORD, tpm2b(secret) + scheme))
                done(other, evict(handle, handle))
                # Not so soon by way of tpmgate; but there are others who use the TPM.
                self.assertEqual(f"{victim.code(evict(theirs, handle)):#x}", f"{TAKEN:#x}")
                self.keep(self.tap, rsa_key(b"carol"), handle)
                holder.tell(end)
                response = waiting.receive()
                self.assertNotIn(SECRET, response)
                self.assertNotEqual(response_code(response), 0)


class WaitingToBeMade(TestCase):
    """Row 11: a session is revoked while its NV_DefineSpace waits for the TPM, and before that is
    carried out, another session of the same user looks at the index, and sees nothing."""

    def test_row_11_absent_for_now(self):
        swtpm = self.start(Swtpm)
        tap = self.start(Tap, swtpm)
        self.start(Broker, "rm:unix:" + tap.socket, arguments=["--no-polkit"],
                   profiles=open_to_members(*SHIPPED))
        carol = self.start(Caller, "carol", [TPMGATE_USERS])
        # They have their turns in this order.
        busy, looking, defining = (self.start(lambda: carol.open("keys+persist"))
                                   for _ in range(3))
        looking.random()
        defining.random()
        tap.hold(NV_READ_PUBLIC)
        defining.send(nv_define(INDEX, 512))
        tap.wait_held()
        busy.send(get_random(8))
        tap.hold(CC_GET_RANDOM)
        tap.release()
        tap.wait_held()
        eventually(lambda: self.states(carol) == {INDEX: CLAIMED}, "the claim is recorded")
        self.assertEqual(carol.ask(REVOKE, session=defining.session).status, OK)
        eventually(lambda: self.states(carol) == {INDEX: DOUBTFUL}, "nobody tells what became of it")
        start = len(tap.codes())
        looking.send(nv_read(INDEX, 1))
        tap.hold(None)
        tap.release()
        looking.receive()
        # tpmgate-rm carries it out no more; of a kernel nobody knows, so it is not free for that
        self.assertNotIn(NV_DEFINE_SPACE, tap.codes(start))
        self.assertEqual(self.states(carol), {INDEX: DOUBTFUL})

    @staticmethod
    def states(caller):
        return {handle: state for _, _, handle, _, state, _ in caller.records()[0]}


class WhileTheTpmWorks(Scenario):
    """Rows 21 and 36: what the broker says meanwhile costs no session its TPM, and has no command
    of the relay's own between a command and its response."""

    def test_row_21_thirteenth_session(self):
        """It is made, and the first of them flushed for it."""
        machine = Machine(self)
        session = machine.open()
        for _ in range(16):
            made_now = made(session, start_session())
            done(session, with_handle(CONTEXT_SAVE, made_now))
        session.random()
        self.assertEqual(machine.refusals(), [])
        self.assertLessEqual(len(machine.node.handles(0x03000000)), 13)

    def begin(self):
        """A relay with a command that the TPM has, and has not answered."""
        relay = self.start(Relay)
        relay.client.send(get_random(8))
        relay.command_arrives()
        return relay

    def answer(self, relay):
        relay.tpm.send(struct.pack(">HIIH", 0x8001, 20, 0, 8) + bytes(8))
        self.assertEqual(response_code(relay.client.receive()), 0)

    def test_row_36_new_broker_amid_a_command(self):
        relay = self.begin()
        relay.resume()
        self.answer(relay)

    def test_row_21_order_amid_a_command(self):
        relay = self.begin()
        relay.order_flush(0x03000005)
        relay.resume()  # answered after the order was heard
        self.answer(relay)
        relay.client.send(get_random(8))
        self.assertEqual(relay.command_arrives(), command(
            CC_FLUSH_CONTEXT, parameters=struct.pack(">I", 0x03000005)))
        relay.tpm.send(struct.pack(">HII", 0x8001, 10, 0))
        self.assertEqual(relay.command_arrives(), get_random(8))
        self.answer(relay)
