"""Random sessions of three users beside a model of who owns what (ownership.py).

Every command is valid; many name what is another's. What the model says is own must work, all else
must be refused with the code that the model has, and be in the log with its rule. The seeds are
fixed; world.py --seed N runs one of one's choice, for longer.
"""

import os
import random
import re
import struct
import time

from harness import SANITIZED, SOURCE, TPMGATE_USERS, Broker, Swtpm, TestCase
from ownership import (LAYER, SEALED, SEQUENCE, SIGNING, STORAGE, SUCCESS, Index, Object,
                       Ownership, Session, not_own)
from tpm_commands import (SEALED_TEMPLATE, SIGN_TEMPLATE, context_load, context_save, create,
                          created, evict, flush, hash_sequence_start, load, made_handle, nv_define,
                          nv_read, nv_read_public, nv_undefine, nv_write, policy_get_digest,
                          policy_pcr, policy_secret, read_public, sequence_complete,
                          sequence_update, session_entry, sign, take_tpm2b, unseal)
from wire import (CC_GET_RANDOM, OWNER, Caller, command, create_primary, response_code,
                  start_session)

SEED = os.environ.get("TPMGATE_SEED")
SEEDS = [int(SEED)] if SEED else [1, 2, 3, 4]
STEPS = 20000 if SEED else 500 if SANITIZED else 5000
SECONDS = 600 if SEED else 20  # for a seed; fewer steps where the machine is busy
USERS = ("alice", "bob", "carol")
SESSIONS_PER_USER = 3
OBJECTS_MAX = 8       # of one session; the resource manager has room for more
TPM_SESSIONS_MAX = 12  # of all, saved ones included: no quota is reached
INDICES = range(0x01800000, 0x0180000C)
PERSISTENT = range(0x81000100, 0x81000106)
NV_SIZE = 8

CONFIG = """[Account]
NvWritesPerHour=1000000
NvIndicesPerUser=3
PersistentKeysPerUser=2
TpmSessionsPerUser=32
"""
LINE = re.compile(
    r"tpmgate-relay: session (\d+) \(uid \d+, pid \d+\): (.*?)(?: \((\d+) earlier lines were "
    r"dropped\))?$")
REFUSAL = re.compile(r"refused (\S+) by rule (\S+) with 0x([0-9a-f]{8})$")


def command_names():
    """From codes to the names that the log has."""
    with open(SOURCE + "/helper/relay/tpm-commands.csv", encoding="utf-8") as file:
        rows = [line.split(",") for line in file if line.startswith("0x")]
    return {int(row[0], 16): row[1] for row in rows}


class Walk:
    """One random sequence."""

    def __init__(self, test, seed):
        self.test = test
        self.random = random.Random(seed)
        self.names = command_names()
        self.swtpm = Swtpm()
        test.addCleanup(self.swtpm.stop)
        self.broker = None
        self.model = Ownership()
        self.callers = {}
        self.sessions = []
        self.ended = []        # sessions, whose refusals are to be found in the log
        self.blobs = []        # (private, public, kind, owner, secret)
        self.contexts = []     # (context, Object): load wherever and as often as one likes
        self.saved = []        # (context, handle, kind) of TPM sessions: load once
        self.stale = []        # the same, loaded already
        self.steps = self.refusals = 0
        self.last = ""
        self.start_broker()

    # ---- broker and sessions ----

    def start_broker(self):
        state = self.broker.state if self.broker else None
        self.broker = Broker(self.swtpm, config=CONFIG, arguments=["--no-polkit"], state=state)
        self.callers = {user: Caller(user, groups=[TPMGATE_USERS]) for user in USERS}

    def stop_broker(self):
        for session in list(self.sessions):
            self.close(session)
        for caller in self.callers.values():
            caller.stop()
        self.broker.stop()
        self.check_log()

    def stop(self):
        """Wherever it is."""
        for session in self.sessions:
            session.tpm.close()
        if self.broker.process.status is None:
            self.broker.stop()

    def restart(self):
        """What is in the TPM and on disk stays, and saved sessions with whoever has the context."""
        self.stop_broker()
        self.model.left.clear()  # kept in memory only
        self.start_broker()

    def open(self, user):
        tpm = self.callers[user].open("keys+persist")
        self.sessions.append(Session(user, tpm, tpm.session))

    def close(self, session):
        session.tpm.close()
        self.sessions.remove(session)
        self.ended.append(session)

    def check_log(self):
        """Each refusal is in the log, but for those that it says it has left out."""
        log = self.broker.process.logged()
        told = {}
        for line in log.splitlines():
            match = LINE.match(line)
            if match:
                told.setdefault(int(match[1]), []).append((match[2], int(match[3] or 0)))
        for session in self.ended:
            at = 0
            for text, dropped in told.get(session.number, []):
                at += dropped
                match = REFUSAL.match(text)
                self.test.assertTrue(match, f"in the log of {session.number}: {text}")
                said = (match[1], match[2], int(match[3], 16))
                self.test.assertLess(at, len(session.refused), f"never refused: {said}")
                self.test.assertEqual(said, session.refused[at])
                at += 1
            self.test.assertTrue(at > 0 or not session.refused, "nothing is in the log")
        self.ended = []

    # ---- one command ----

    def execute(self, session, data, verdict):
        """The response to DATA, which must be as VERDICT says."""
        response = session.tpm.execute(data)
        code = response_code(response)
        name = self.names[struct.unpack_from(">I", data, 6)[0]]
        self.last = f"{session.user}'s session {session.number}: {name} {data.hex()} -> {code:#x}"
        self.test.assertEqual(f"{code:#x}", f"{verdict.code:#x}", f"{verdict.rule}: {self.last}")
        if verdict.rule:
            session.refused.append((name, verdict.rule, code))
            self.refusals += 1
        return response if code == 0 else None

    def add_object(self, session, response, thing):
        handle = made_handle(response)
        self.test.assertNotIn(handle, session.objects)
        session.objects[handle] = thing

    # ---- what a step may do; each returns False where there is nothing to do it with ----

    def step_primary(self, session):
        if len(session.objects) >= OBJECTS_MAX:
            return False
        response = self.execute(session, create_primary(OWNER), SUCCESS)
        self.add_object(session, response, Object(STORAGE))
        return True

    def parent(self, session):
        """A storage key, somebody else's perhaps."""
        handles = session.of_kind(STORAGE) + list(PERSISTENT) * (self.random.random() < 0.3)
        handles = [handle for handle in handles if handle not in self.model.persistent or
                   self.model.persistent[handle][1].kind == STORAGE]
        return self.random.choice(handles) if handles else None

    def step_create(self, session):
        parent = self.parent(session)
        if parent is None:
            return False
        secret = self.random.randbytes(12)
        kind = self.random.choice((SIGNING, SEALED))
        data = create(parent, SIGN_TEMPLATE) if kind == SIGNING else create(
            parent, SEALED_TEMPLATE, secret)
        response = self.execute(session, data, self.model.use_object(session, parent))
        if response:
            self.blobs.append((*created(response), kind, session.user, secret))
            del self.blobs[:-30]
        return True

    def step_load(self, session):
        parent = self.parent(session)
        if parent is None or not self.blobs or len(session.objects) >= OBJECTS_MAX:
            return False
        private, public, kind, owner, secret = self.random.choice(self.blobs)
        response = self.execute(session, load(parent, private, public),
                                self.model.use_object(session, parent))
        if response:
            self.add_object(session, response, Object(kind, owner, secret))
        return True

    def step_sequence(self, session):
        handles = session.of_kind(SEQUENCE)
        if not handles:
            if len(session.objects) >= OBJECTS_MAX:
                return False
            response = self.execute(session, hash_sequence_start(), SUCCESS)
            self.add_object(session, response, Object(SEQUENCE))
            return True
        handle = self.random.choice(handles)
        if self.random.random() < 0.5:
            self.execute(session, sequence_update(handle, b"some bytes"), SUCCESS)
        else:
            self.execute(session, sequence_complete(handle), SUCCESS)
            del session.objects[handle]
        return True

    def step_sign(self, session):
        handles = session.of_kind(SIGNING) + [
            handle for handle, (_, thing) in self.model.persistent.items()
            if thing.kind == SIGNING]
        if not handles:
            return False
        handle = self.random.choice(handles)
        self.execute(session, sign(handle), self.model.use_object(session, handle))
        return True

    def step_unseal(self, session):
        handles = session.of_kind(SEALED)
        if not handles:
            return False
        handle = self.random.choice(handles)
        response = self.execute(session, unseal(handle), self.model.unseal(session, handle))
        if response:
            self.test.assertEqual(take_tpm2b(response, 14)[0], session.objects[handle].secret)
        return True

    def step_flush(self, session):
        handles = list(session.objects) + list(session.tpm_sessions)
        if not handles:
            return False
        handle = self.random.choice(handles)
        self.execute(session, flush(handle), SUCCESS)
        session.objects.pop(handle, None)
        session.tpm_sessions.pop(handle, None)
        return True

    def step_save(self, session):
        handles = [handle for handle, thing in session.objects.items()
                   if thing.kind in (STORAGE, SIGNING, SEALED)]
        if not handles:
            return False
        handle = self.random.choice(handles)
        response = self.execute(session, context_save(handle), SUCCESS)
        self.contexts.append((response[10:], session.objects[handle]))
        del self.contexts[:-20]
        return True

    def step_load_context(self, session):
        if not self.contexts or len(session.objects) >= OBJECTS_MAX:
            return False
        context, thing = self.random.choice(self.contexts)
        response = self.execute(session, context_load(context), SUCCESS)
        self.add_object(session, response, Object(thing.kind, thing.owner, thing.secret))
        return True

    # ---- TPM sessions ----

    def step_start_session(self, session):
        count = len(self.saved) + sum(len(each.tpm_sessions) for each in self.sessions)
        if count >= TPM_SESSIONS_MAX:
            return False
        kind = self.random.randrange(2)
        handle = made_handle(self.execute(session, start_session(kind), SUCCESS))
        session.tpm_sessions[handle] = kind
        return True

    def step_use_session(self, session):
        """An own one, or one that is loaded in another descriptor."""
        known = [(handle, kind) for each in self.sessions
                 for handle, kind in each.tpm_sessions.items()]
        if not known:
            return False
        handle, kind = self.random.choice(known)
        verdict = self.model.use_session(session, handle)
        if kind == 1:
            data = self.random.choice((policy_pcr, policy_get_digest))(handle)
        else:
            data = command(CC_GET_RANDOM, (), session_entry(handle, 0x81), b"\0\x08")
            if verdict != SUCCESS:
                verdict = not_own(0x918)
        self.execute(session, data, verdict)
        return True

    def step_save_session(self, session):
        if not session.tpm_sessions:
            return False
        handle = self.random.choice(list(session.tpm_sessions))
        response = self.execute(session, context_save(handle), SUCCESS)
        self.saved.append((response[10:], handle, session.tpm_sessions.pop(handle)))
        return True

    def step_load_session(self, session):
        """Whoever has the context has the session, once."""
        if not self.saved:
            return False
        context, handle, kind = self.saved.pop(self.random.randrange(len(self.saved)))
        response = self.execute(session, context_load(context), SUCCESS)
        self.test.assertEqual(made_handle(response), handle)
        session.tpm_sessions[handle] = kind
        self.stale.append(context)
        del self.stale[:-5]
        return True

    def step_load_session_again(self, session):
        """The TPM's own word: a context of a session is good for one load."""
        if not self.stale:
            return False
        code = response_code(session.tpm.execute(context_load(self.random.choice(self.stale))))
        self.test.assertNotEqual(code, 0)
        if code & LAYER == LAYER:
            self.test.fail(f"the TPM was not asked: {code:#x}")
        return True

    # ---- others' objects and TPM sessions ----

    def step_foreign_object(self, session):
        known = {handle for each in self.sessions for handle in each.objects}
        foreign = sorted(known - set(session.objects)) or [0x80FFFFF0]
        handle = self.random.choice(foreign)
        data = self.random.choice((sign, unseal, read_public, context_save, flush))(handle)
        verdict = not_own(0x1CB) if data == flush(handle) else not_own()
        self.execute(session, data, verdict)
        return True

    def step_foreign_session(self, session):
        known = {handle for each in self.sessions for handle in each.tpm_sessions}
        known |= {handle for _, handle, _ in self.saved}
        foreign = sorted(known - set(session.tpm_sessions))
        if not foreign:
            return False
        handle = self.random.choice(foreign)
        if self.random.random() < 0.5:
            self.execute(session, flush(handle), self.model.flush(session, handle))
        else:
            self.execute(session, context_save(handle), not_own())
        return True

    # ---- NV and persistent keys ----

    def step_nv_define(self, session):
        index = self.random.choice(INDICES)
        verdict = self.model.nv_define(session, index)
        if self.execute(session, nv_define(index, NV_SIZE), verdict):
            self.model.indices[index] = Index(session.user)
        return True

    def step_nv_write(self, session):
        index = self.random.choice(INDICES)
        data = self.random.randbytes(NV_SIZE)
        if self.execute(session, nv_write(index, data), self.model.nv_use(session, index, 2)):
            self.model.indices[index].data = data
        return True

    def step_nv_read(self, session):
        index = self.random.choice(INDICES)
        verdict = self.model.nv_use(session, index, 2)
        if verdict == SUCCESS and self.model.indices[index].data is None:
            verdict = SUCCESS._replace(code=0x14A)  # the TPM's own: not written yet
        response = self.execute(session, nv_read(index, NV_SIZE), verdict)
        if response:
            self.test.assertEqual(take_tpm2b(response, 14)[0], self.model.indices[index].data)
        return True

    def step_nv_undefine(self, session):
        index = self.random.choice(INDICES)
        verdict = self.model.nv_use(session, index, 2)
        if self.execute(session, nv_undefine(index), verdict):
            del self.model.indices[index]
            self.model.left[index] = session.user
        return True

    def step_nv_read_public(self, session):
        """Metadata, which is everybody's."""
        index = self.random.choice(INDICES)
        verdict = SUCCESS if index in self.model.indices else SUCCESS._replace(code=0x18B)
        self.execute(session, nv_read_public(index), verdict)
        return True

    def step_policy_secret(self, session):
        sessions = [handle for handle, kind in session.tpm_sessions.items() if kind == 1]
        if not sessions:
            return False
        index = self.random.choice(INDICES)
        self.execute(session, policy_secret(index, sessions[0]),
                     self.model.nv_use(session, index, 1))
        return True

    def step_persist(self, session):
        handles = session.of_kind(STORAGE, SIGNING)
        if not handles:
            return False
        handle, persistent = self.random.choice(handles), self.random.choice(PERSISTENT)
        verdict = self.model.persist(session, handle, persistent)
        if self.execute(session, evict(handle, persistent), verdict):
            self.model.persistent[persistent] = (session.user, session.objects[handle])
        return True

    def step_unpersist(self, session):
        persistent = self.random.choice(PERSISTENT)
        verdict = self.model.use_object(session, persistent)
        if self.execute(session, evict(persistent, persistent), verdict):
            del self.model.persistent[persistent]
            self.model.left[persistent] = session.user
        return True

    def step_read_persistent(self, session):
        persistent = self.random.choice(PERSISTENT)
        self.execute(session, read_public(persistent), self.model.use_object(session, persistent))
        return True

    # ---- what is shown ----

    def step_handles(self, session):
        shown = {
            0x80000000: sorted(session.objects),
            0x02000000: sorted(session.tpm_sessions),
            0x01000000: self.model.own_indices(session.user),
            0x81000000: self.model.own_persistent(session.user),
        }
        first = self.random.choice(list(shown))
        self.test.assertEqual([hex(handle) for handle in sorted(session.tpm.handles(first))],
                              [hex(handle) for handle in shown[first]])
        return True

    # ---- all of it ----

    def run(self):
        steps = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("step_")]
        end = time.monotonic() + SECONDS
        while self.steps < STEPS and time.monotonic() < end:
            chance = self.random.random()
            if chance < 0.002:
                self.restart()
            elif chance < 0.03 and self.sessions:
                self.close(self.random.choice(self.sessions))
            elif chance < 0.07 or not self.sessions:
                user = self.random.choice(USERS)
                if sum(each.user == user for each in self.sessions) < SESSIONS_PER_USER:
                    self.open(user)
            else:
                session = self.random.choice(self.sessions)
                self.steps += self.random.choice(steps)(session)
        self.stop_broker()


class Model(TestCase):
    def test_ownership(self):
        for seed in SEEDS:
            walk = Walk(self, seed)
            with self.subTest(seed=seed):
                try:
                    walk.run()
                except BaseException:
                    print(f"seed {seed}, step {walk.steps}: {walk.last}")
                    raise
                finally:
                    walk.stop()
                print(f"seed {seed}: {walk.steps} steps, {walk.refusals} refusals")
                self.assertGreater(walk.refusals, walk.steps // 10)
