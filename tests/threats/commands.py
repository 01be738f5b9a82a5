"""The TPM commands that attacks are made of, as bytes."""

import struct

from wire import (ECC_STORAGE_TEMPLATE, EMPTY_PASSWORD, NULL, OWNER, LOCKOUT, command, tpm2b)

CLEAR, CLEAR_CONTROL, CLOCK_SET, HIERARCHY_CHANGE_AUTH = 0x126, 0x127, 0x128, 0x129
EVICT_CONTROL, HIERARCHY_CONTROL, NV_UNDEFINE_SPACE = 0x120, 0x121, 0x122
NV_DEFINE_SPACE, SET_PRIMARY_POLICY, NV_GLOBAL_WRITE_LOCK = 0x12A, 0x12E, 0x132
NV_INCREMENT, NV_EXTEND, NV_WRITE, NV_WRITE_LOCK = 0x134, 0x136, 0x137, 0x138
DICTIONARY_ATTACK_LOCK_RESET, DICTIONARY_ATTACK_PARAMETERS = 0x139, 0x13A
PCR_EVENT, PCR_RESET, SET_COMMAND_CODE_AUDIT_STATUS = 0x13C, 0x13D, 0x140
SELF_TEST, SHUTDOWN, POLICY_NV, NV_READ, NV_READ_LOCK = 0x143, 0x145, 0x149, 0x14E, 0x14F
POLICY_SECRET, CREATE, LOAD, QUOTE, UNSEAL = 0x151, 0x153, 0x157, 0x158, 0x15E
CONTEXT_LOAD, CONTEXT_SAVE, FLUSH_CONTEXT, NV_READ_PUBLIC = 0x161, 0x162, 0x165, 0x169
READ_PUBLIC, POLICY_PCR, READ_CLOCK, PCR_EXTEND = 0x173, 0x17F, 0x181, 0x182
EVENT_SEQUENCE_COMPLETE, HASH_SEQUENCE_START, POLICY_GET_DIGEST = 0x185, 0x186, 0x189
POLICY_AUTHORIZE_NV, SIGN = 0x192, 0x15D

SHA256 = 0x0B
ALG_NULL = 0x10

# TPMA_NV. An index that the owner authorization opens, one that its own password does, a counter,
# and one that its own authorization fails on with a count.
NV_OWNER_WRITE, NV_AUTH_WRITE, NV_OWNER_READ, NV_AUTH_READ, NV_NO_DA = (
    1 << 1, 1 << 2, 1 << 17, 1 << 18, 1 << 25)
NV_WRITE_STCLEAR, NV_READ_STCLEAR, NV_GLOBAL_LOCK = 1 << 14, 1 << 31, 1 << 15
NV_COUNTER, NV_EXTEND_TYPE = 1 << 4, 4 << 4
NV_ORDINARY = NV_OWNER_WRITE | NV_AUTH_WRITE | NV_OWNER_READ | NV_AUTH_READ
NV_LOCKABLE = NV_ORDINARY | NV_WRITE_STCLEAR | NV_READ_STCLEAR | NV_GLOBAL_LOCK | NV_NO_DA

# Attributes of objects
NO_DA, USER_WITH_AUTH = 0x400, 0x40
# Signing keys of whichever hierarchy; the second signs what the TPM itself made, such as quotes.
SIGN_TEMPLATE = struct.pack(
    ">HHIHHHHHHHH", 0x23, SHA256, 0x00040472, 0, ALG_NULL, 0x18, SHA256, 3, ALG_NULL, 0, 0)
SIGN_PROTECTED = SIGN_TEMPLATE[:4] + struct.pack(">I", 0x00040072) + SIGN_TEMPLATE[8:]  # no noDA
QUOTE_TEMPLATE = struct.pack(
    ">HHIHHHHHHHH", 0x23, SHA256, 0x00050472, 0, ALG_NULL, 0x18, SHA256, 3, ALG_NULL, 0, 0)
RSA_STORAGE_TEMPLATE = struct.pack(
    ">HHIHHHHHHIH", 0x01, SHA256, 0x00030472, 0, 6, 128, 0x43, ALG_NULL, 2048, 0, 0)
# The TCG's endorsement key for P-256: authorized by the endorsement authorization.
ENDORSEMENT_TEMPLATE = struct.pack(">HHIH", 0x23, SHA256, 0x000300B2, 32) + bytes.fromhex(
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa") + struct.pack(
        ">HHHHHH", 6, 128, 0x43, ALG_NULL, 3, ALG_NULL) + tpm2b(bytes(32)) * 2
PROTECTED_TEMPLATE = ECC_STORAGE_TEMPLATE[:4] + struct.pack(
    ">I", 0x00030472 & ~NO_DA) + ECC_STORAGE_TEMPLATE[8:]

PCR_SELECTION_16 = struct.pack(">IHB", 1, SHA256, 3) + bytes((0, 0, 1))


def password(value=b""):
    """An entry of the authorization area."""
    return struct.pack(">IHB", 0x40000009, 0, 0) + tpm2b(value)


def session_entry(session, hmac=b"", attributes=1):
    return struct.pack(">IHB", session, 0, attributes) + tpm2b(hmac)


def by_owner(code, *handles, parameters=b"", authorization=EMPTY_PASSWORD):
    return command(code, [OWNER, *handles], authorization, parameters)


def clear(handle=LOCKOUT):
    return command(CLEAR, [handle], EMPTY_PASSWORD)


def change_auth(hierarchy, value, old=b""):
    return command(HIERARCHY_CHANGE_AUTH, [hierarchy], password(old), tpm2b(value))


def set_policy(hierarchy, digest):
    return command(SET_PRIMARY_POLICY, [hierarchy], EMPTY_PASSWORD,
                   tpm2b(digest) + struct.pack(">H", SHA256))


def hierarchy_control(authorized_by, hierarchy, on):
    return command(HIERARCHY_CONTROL, [authorized_by], EMPTY_PASSWORD,
                   struct.pack(">IB", hierarchy, on))


def dictionary_attack_parameters(tries, recovery, lockout_recovery):
    return command(DICTIONARY_ATTACK_PARAMETERS, [LOCKOUT], EMPTY_PASSWORD,
                   struct.pack(">III", tries, recovery, lockout_recovery))


def nv_define(index, size=32, attributes=NV_ORDINARY | NV_NO_DA, auth=b"", by=OWNER):
    public = struct.pack(">IHIHH", index, SHA256, attributes, 0, size)
    return command(NV_DEFINE_SPACE, [by], EMPTY_PASSWORD, tpm2b(auth) + tpm2b(public))


def nv_write(index, data, by=OWNER, auth=b""):
    return command(NV_WRITE, [by, index], password(auth), tpm2b(data) + b"\0\0")


def nv_read(index, size, by=OWNER, auth=b""):
    return command(NV_READ, [by, index], password(auth), struct.pack(">HH", size, 0))


def nv(code, index, by=OWNER, parameters=b"", auth=b""):
    return command(code, [by, index], password(auth), parameters)


def evict(handle, persistent):
    return by_owner(EVICT_CONTROL, handle, parameters=struct.pack(">I", persistent))


def primary(hierarchy=OWNER, template=ECC_STORAGE_TEMPLATE, auth=b"", authorization=EMPTY_PASSWORD):
    parameters = tpm2b(tpm2b(auth) + tpm2b(b"")) + tpm2b(template) + tpm2b(b"") + bytes(4)
    return command(0x131, [hierarchy], authorization, parameters)


def create(parent, template, auth=b"", data=b"", parent_auth=b""):
    parameters = tpm2b(tpm2b(auth) + tpm2b(data)) + tpm2b(template) + tpm2b(b"") + bytes(4)
    return command(CREATE, [parent], password(parent_auth), parameters)


def sealed_template(policy=b"", attributes=0x52 | NO_DA):
    """TPMT_PUBLIC of sealed data."""
    return struct.pack(">HHI", 8, SHA256, attributes) + tpm2b(policy) + struct.pack(
        ">HH", ALG_NULL, 0)


def load(parent, blob):
    """BLOB: what created() returned."""
    private, public = blob
    return command(LOAD, [parent], EMPTY_PASSWORD, tpm2b(private) + tpm2b(public))


def sign(key, auth=b""):
    """Of a digest, which any key but a restricted one signs."""
    ticket = struct.pack(">HIH", 0x8024, NULL, 0)
    return command(SIGN, [key], password(auth),
                   tpm2b(bytes(32)) + struct.pack(">H", ALG_NULL) + ticket)


def policy_secret(entity, session, auth=b""):
    return command(POLICY_SECRET, [entity, session], password(auth), tpm2b(b"") * 3 + bytes(4))


def policy_nv(index, session, operand, by=None, auth=b"", offset=0):
    return command(POLICY_NV, [index if by is None else by, index, session], password(auth),
                   tpm2b(operand) + struct.pack(">HH", offset, 0))


def extend(pcr):
    return command(PCR_EXTEND, [pcr], EMPTY_PASSWORD,
                   struct.pack(">IH", 1, SHA256) + bytes(range(32)))


def flush(handle):
    return command(FLUSH_CONTEXT, parameters=struct.pack(">I", handle))


def with_handle(code, handle):
    """ReadPublic, ContextSave, NV_ReadPublic."""
    return command(code, [handle])


# ---- responses ---------------------------------------------------------------------------------

def take_tpm2b(data, offset):
    size = struct.unpack_from(">H", data, offset)[0]
    return data[offset + 2:offset + 2 + size], offset + 2 + size


def created(response):
    """The private and the public part in a response of Create."""
    private, offset = take_tpm2b(response, 14)
    return private, take_tpm2b(response, offset)[0]


def first_tpm2b(response, sessions=True):
    """The first parameter of a response without handles."""
    return take_tpm2b(response, 14 if sessions else 10)[0]
