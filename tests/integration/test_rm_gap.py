"""A TPM session that was saved long ago blocks everybody (TPM_RC_CONTEXT_GAP), unless it is renewed.

The TPM counts saved sessions, and the context of the oldest must not be more than 65,535 counts
old: then neither can another be saved nor, with little room left, be started or loaded.
"""

import struct

from harness import Broker, Swtpm, TestCase
from wire import Caller, NULL, Tpm, command, response_code, start_session

CC_CONTEXT_SAVE, CC_CONTEXT_LOAD, CC_POLICY_GET_DIGEST = 0x162, 0x161, 0x189
CONTEXT_GAP = 0x901
COUNTS = 0xFFFF  # TPM_PT_CONTEXT_GAP_MAX of the software TPM

PROFILE = """[Profile]
Summary=TPM sessions that travel
Groups=tpmgate-users

[Allow]
Commands=GetRandom;StartAuthSession;ContextSave;ContextLoad;FlushContext;PolicyGetDigest;GetCapability
Capabilities=TPM_PROPERTIES
Hierarchies=NULL
"""


def started(tpm):
    """A policy session: its handle."""
    response = tpm.execute(start_session(kind=1))
    assert response_code(response) == 0, response.hex()
    return struct.unpack_from(">I", response, 10)[0]


def save(tpm, session):
    """The response to ContextSave, and what it saved."""
    response = tpm.execute(command(CC_CONTEXT_SAVE, [session]))
    return response_code(response), response[10:]


def load(tpm, context):
    return tpm.code(command(CC_CONTEXT_LOAD, parameters=context))


def age(tpm, session, counts):
    """Saves and loads SESSION over and over. Returns the first response code that is not 0."""
    for _ in range(counts):
        code, context = save(tpm, session)
        if code != 0:
            return code
        code = load(tpm, context)
        if code != 0:
            return code
    return 0


class Gap(TestCase):
    def setUp(self):
        self.swtpm = self.start(Swtpm)

    def open(self):
        self.broker = self.start(Broker, self.swtpm, arguments=["--no-polkit"],
                                 profiles={"travel": PROFILE})
        self.carol = self.start(Caller, "carol")
        return [self.start(lambda: self.carol.open("travel")) for _ in range(2)]

    def is_alive(self, tpm, session):
        self.assertEqual(tpm.code(command(CC_POLICY_GET_DIGEST, [session])), 0)

    def test_sessions_are_renewed(self):
        """One that somebody carries away, and those that the manager itself has saved."""
        busy, idle = self.open()
        carried = started(idle)
        code, context = save(idle, carried)
        self.assertEqual(code, 0)
        kept = [started(idle) for _ in range(5)]  # more than the TPM has room for
        self.assertEqual(age(busy, started(busy), COUNTS + 100), 0)
        for session in kept:
            self.is_alive(idle, session)
        # The context that was given away is the old one, and brings the session back.
        self.assertEqual(load(idle, context), 0)
        self.is_alive(idle, carried)
        # Once only, as with any.
        self.assertNotEqual(load(busy, context), 0)

    def test_session_of_nobody_known(self):
        """Saved before the manager was there, it cannot be renewed: it is flushed."""
        tpm = Tpm.direct(self.swtpm)
        code, context = save(tpm, started(tpm))
        self.assertEqual(code, 0)
        self.assertEqual(age(tpm, started(tpm), COUNTS + 100), CONTEXT_GAP)
        tpm.close()
        busy, other = self.open()
        self.assertEqual(age(busy, started(busy), 10), 0)
        kept = [started(busy) for _ in range(5)]
        for session in kept:
            self.is_alive(busy, session)
        self.assertNotEqual(load(other, context), 0)
        self.assertEqual(other.code(command(0x165, parameters=struct.pack(">I", NULL))) & 0xFFF, 0x1CB)
