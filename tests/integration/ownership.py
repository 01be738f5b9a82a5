"""Who owns what: what a session and a user may have, without a TPM and without a filter.

A model of the promise, not of the code: objects and TPM sessions belong to the descriptor that made
or loaded them, NV indices, persistent keys and sealed data to the user who made them. The model
says what a command must come to: success, or a refusal by a rule, or an answer of the TPM's own.
"""

import collections

# What must come of a command: `rule` is None for success.
Verdict = collections.namedtuple("Verdict", "code rule")

LAYER = 0x000B0000
REFUSED = LAYER | 0x120
SUCCESS = Verdict(0, None)

NV_PER_USER, PERSISTENT_PER_USER = 3, 2

STORAGE, SIGNING, SEALED, SEQUENCE = "storage", "signing", "sealed", "sequence"


class Object:
    """A key, sealed data or a sequence. OWNER: of sealed data, the user whose it is."""

    def __init__(self, kind, owner=None, secret=b""):
        self.kind = kind
        self.owner = owner
        self.secret = secret


class Index:
    def __init__(self, owner):
        self.owner = owner
        self.data = None  # not written yet


class Session:
    """What one descriptor has."""

    def __init__(self, user, tpm, number):
        self.user = user
        self.tpm = tpm
        self.number = number
        self.objects = {}      # handle -> Object
        self.tpm_sessions = {}  # handle -> 0 for HMAC, 1 for policy
        self.refused = []      # (command, rule, code) of each refusal, in their order

    def of_kind(self, *kinds):
        return [handle for handle, thing in self.objects.items() if thing.kind in kinds]


def refusal(rule, code=0x120):
    return Verdict(LAYER | code, rule)


def not_own(where=0x910):
    return refusal("not-own", where)


class Ownership:
    """What is there for everybody: NV indices and persistent keys, by handle."""

    def __init__(self):
        self.indices = {}
        self.persistent = {}  # handle -> (owner, Object)
        self.left = {}  # handle -> who had it last: for a while nobody else gets it

    def count(self, table, user):
        owners = [thing.owner if isinstance(thing, Index) else thing[0]
                  for thing in table.values()]
        return owners.count(user)

    # Each says what must come of it; nothing changes yet.

    def use_object(self, session, handle):
        """As key or parent, or its public area: transient objects of the descriptor."""
        if handle >> 24 == 0x81:
            owner = self.persistent.get(handle, (None, None))[0]
            return SUCCESS if owner == session.user else refusal("persistent-handle")
        return SUCCESS if handle in session.objects else not_own()

    def use_session(self, session, handle):
        return SUCCESS if handle in session.tpm_sessions else not_own()

    def flush(self, session, handle):
        own = handle in session.objects or handle in session.tpm_sessions
        return SUCCESS if own else not_own(0x1CB)

    def unseal(self, session, handle):
        verdict = self.use_object(session, handle)
        if verdict == SUCCESS and session.objects[handle].owner != session.user:
            return refusal("sealed-data")
        return verdict

    def kept(self, session, handle):
        return self.left.get(handle, session.user) != session.user

    def nv_define(self, session, index):
        if index in self.indices or self.kept(session, index):
            return refusal("handle-taken", 0x14C)
        if self.count(self.indices, session.user) >= NV_PER_USER:
            return refusal("nv-quota", 0x14B)
        return SUCCESS

    def nv_use(self, session, index, where):
        """WHERE: which of the command's handles it is, from 1; a TPM tells of one that is not."""
        if index not in self.indices:
            return refusal("nv-index", 0x8B | where << 8)
        return SUCCESS if self.indices[index].owner == session.user else refusal("nv-index")

    def persist(self, session, handle, persistent):
        verdict = self.use_object(session, handle)
        if verdict != SUCCESS:
            return verdict
        if persistent in self.persistent or self.kept(session, persistent):
            return refusal("handle-taken", 0x14C)
        if self.count(self.persistent, session.user) >= PERSISTENT_PER_USER:
            return refusal("persistent-quota", 0x14B)
        return SUCCESS

    def own_indices(self, user):
        return sorted(index for index, thing in self.indices.items() if thing.owner == user)

    def own_persistent(self, user):
        return sorted(handle for handle, thing in self.persistent.items() if thing[0] == user)
