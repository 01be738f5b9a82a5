"""More TPM commands as bytes, for tests that make many of every kind, and what comes back."""

import struct

from wire import CC_FLUSH_CONTEXT, EMPTY_PASSWORD, NULL, OWNER, command, tpm2b

(CC_EVICT_CONTROL, CC_NV_UNDEFINE_SPACE, CC_NV_DEFINE_SPACE, CC_NV_WRITE, CC_SEQUENCE_COMPLETE,
 CC_NV_READ, CC_CREATE, CC_LOAD, CC_SIGN, CC_UNSEAL, CC_SEQUENCE_UPDATE, CC_CONTEXT_LOAD,
 CC_CONTEXT_SAVE, CC_NV_READ_PUBLIC, CC_READ_PUBLIC, CC_HASH_SEQUENCE_START, CC_HASH,
 CC_POLICY_PCR, CC_POLICY_RESTART, CC_READ_CLOCK, CC_POLICY_GET_DIGEST, CC_LOAD_EXTERNAL,
 CC_NV_INCREMENT, CC_POLICY_SECRET, CC_QUOTE, CC_STIR_RANDOM, CC_TEST_PARMS) = (
     0x120, 0x122, 0x12A, 0x137, 0x13E, 0x14E, 0x153, 0x157, 0x15D, 0x15E, 0x15C, 0x161, 0x162,
     0x169, 0x173, 0x186, 0x17D, 0x17F, 0x180, 0x181, 0x189, 0x167, 0x134, 0x151, 0x158, 0x146,
     0x18A)

SHA256, ALG_NULL, NO_DA = 0x0B, 0x10, 0x400
NV_ORDINARY = 0x00060006  # written and read by the owner or its own authorization
NV_NO_DA = 1 << 25

SIGN_TEMPLATE = struct.pack(
    ">HHIHHHHHHHH", 0x23, SHA256, 0x00040472, 0, ALG_NULL, 0x18, SHA256, 3, ALG_NULL, 0, 0)
SEALED_TEMPLATE = struct.pack(">HHIHHH", 8, SHA256, 0x52 | NO_DA, 0, ALG_NULL, 0)


def password(value=b""):
    """An entry of the authorization area."""
    return struct.pack(">IHB", 0x40000009, 0, 0) + tpm2b(value)


def session_entry(session, attributes=1):
    """An HMAC session that proves an empty authorization needs no HMAC to be well formed."""
    return struct.pack(">IHBH", session, 0, attributes, 0)


def create(parent, template, data=b""):
    sensitive = tpm2b(tpm2b(b"") + tpm2b(data))
    return command(CC_CREATE, [parent], EMPTY_PASSWORD,
                   sensitive + tpm2b(template) + tpm2b(b"") + bytes(4))


def load(parent, private, public):
    return command(CC_LOAD, [parent], EMPTY_PASSWORD, tpm2b(private) + tpm2b(public))


def sign(key):
    """Of a digest; the ticket is none."""
    return command(CC_SIGN, [key], EMPTY_PASSWORD,
                   tpm2b(bytes(32)) + struct.pack(">HHIH", ALG_NULL, 0x8024, NULL, 0))


def unseal(handle):
    return command(CC_UNSEAL, [handle], EMPTY_PASSWORD)


def flush(handle):
    return command(CC_FLUSH_CONTEXT, parameters=struct.pack(">I", handle))


def context_save(handle):
    return command(CC_CONTEXT_SAVE, [handle])


def context_load(context):
    """CONTEXT: the parameters of ContextSave's response."""
    return command(CC_CONTEXT_LOAD, parameters=context)


def read_public(handle):
    return command(CC_READ_PUBLIC, [handle])


def nv_define(index, size=8, attributes=NV_ORDINARY | NV_NO_DA):
    public = struct.pack(">IHIHH", index, SHA256, attributes, 0, size)
    return command(CC_NV_DEFINE_SPACE, [OWNER], EMPTY_PASSWORD, tpm2b(b"") + tpm2b(public))


def nv_undefine(index):
    return command(CC_NV_UNDEFINE_SPACE, [OWNER, index], EMPTY_PASSWORD)


def nv_write(index, data):
    return command(CC_NV_WRITE, [index, index], EMPTY_PASSWORD, tpm2b(data) + bytes(2))


def nv_read(index, size=8):
    return command(CC_NV_READ, [index, index], EMPTY_PASSWORD, struct.pack(">HH", size, 0))


def nv_read_public(index):
    return command(CC_NV_READ_PUBLIC, [index])


def evict(handle, persistent):
    return command(CC_EVICT_CONTROL, [OWNER, handle], EMPTY_PASSWORD,
                   struct.pack(">I", persistent))


def policy_secret(entity, session):
    return command(CC_POLICY_SECRET, [entity, session], EMPTY_PASSWORD, tpm2b(b"") * 3 + bytes(4))


def policy_pcr(session):
    return command(CC_POLICY_PCR, [session], None,
                   tpm2b(b"") + struct.pack(">IHB", 1, SHA256, 3) + bytes((1, 0, 0)))


def policy_get_digest(session):
    return command(CC_POLICY_GET_DIGEST, [session])


def policy_restart(session):
    return command(CC_POLICY_RESTART, [session])


def hash_data(data, hierarchy=NULL):
    return command(CC_HASH, parameters=tpm2b(data) + struct.pack(">HI", SHA256, hierarchy))


def hash_sequence_start():
    return command(CC_HASH_SEQUENCE_START, parameters=tpm2b(b"") + struct.pack(">H", SHA256))


def sequence_update(handle, data):
    return command(CC_SEQUENCE_UPDATE, [handle], EMPTY_PASSWORD, tpm2b(data))


def sequence_complete(handle):
    return command(CC_SEQUENCE_COMPLETE, [handle], EMPTY_PASSWORD,
                   tpm2b(b"") + struct.pack(">I", NULL))


def load_external(public, hierarchy=NULL):
    return command(CC_LOAD_EXTERNAL, parameters=tpm2b(b"") + tpm2b(public) + struct.pack(
        ">I", hierarchy))


# ---- responses -------------------------------------------------------------------------------

def made_handle(response):
    return struct.unpack_from(">I", response, 10)[0]


def take_tpm2b(data, offset):
    """The TPM2B at OFFSET, and where it ends."""
    end = offset + 2 + struct.unpack_from(">H", data, offset)[0]
    return data[offset + 2:end], end


def created(response):
    """The private and the public part in a response of Create."""
    private, offset = take_tpm2b(response, 14)
    return private, take_tpm2b(response, offset)[0]
