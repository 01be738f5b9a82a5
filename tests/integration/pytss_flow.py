#!/usr/bin/python3 -B
"""One step of a program on tpm2-pytss: pytss_flow.py TCTI STEP, in a directory of its own."""

import hashlib
import sys

from tpm2_pytss import (ESAPI, ESYS_TR, TPM2_ALG, TPM2_CAP, TPM2_RC, TPM2_RH, TPM2_SE, TPM2_ST,
                        TPM2B_PRIVATE, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPMA_SESSION,
                        TPMS_CONTEXT, TPMS_SENSITIVE_CREATE, TPMT_RSA_DECRYPT, TPMT_SIG_SCHEME,
                        TPMT_SYM_DEF, TPMT_TK_HASHCHECK, TPMU_SYM_KEY_BITS, TPMU_SYM_MODE,
                        TSS2_Exception)

SECRET = b"what is sealed"
PCRS = "sha256:7"
REFUSED = 0x000B0120
NO_DA = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"


def primary(tpm):
    """The default: a storage key that is not exempt from dictionary attack protection."""
    return tpm.create_primary(None, "ecc")[0]


def key(tpm, kind, attributes):
    parent = primary(tpm)
    public = TPM2B_PUBLIC.parse(kind, objectAttributes=attributes)
    private, public, *_ = tpm.create(parent, None, public)
    loaded = tpm.load(parent, private, public)
    tpm.flush_context(parent)
    return loaded


def not_from_the_tpm():
    return TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)


def random(tpm):
    assert len(tpm.get_random(16)) == 16
    assert bytes(tpm.get_random(16)) != bytes(tpm.get_random(16))
    digest, _ = tpm.hash(b"abc", TPM2_ALG.SHA256)
    assert bytes(digest) == hashlib.sha256(b"abc").digest()
    _, capabilities = tpm.get_capability(TPM2_CAP.TPM_PROPERTIES, 0x100, 8)
    assert capabilities.data.tpmProperties.count == 8
    tpm.pcr_read(PCRS)


def sign(tpm):
    for kind, scheme in (("ecc:ecdsa", TPM2_ALG.ECDSA), ("rsa2048:rsassa", TPM2_ALG.RSASSA)):
        signing = key(tpm, kind, "sign|" + NO_DA)
        wanted = TPMT_SIG_SCHEME(scheme=scheme)
        wanted.details.any.hashAlg = TPM2_ALG.SHA256
        digest = hashlib.sha256(b"message").digest()
        signature = tpm.sign(signing, digest, wanted, not_from_the_tpm())
        tpm.verify_signature(signing, digest, signature)
        try:
            tpm.verify_signature(signing, hashlib.sha256(b"other").digest(), signature)
        except TSS2_Exception as problem:
            assert problem.error == TPM2_RC.SIGNATURE, problem
        else:
            raise AssertionError("a signature of something else")
        tpm.flush_context(signing)


def decrypt(tpm):
    decrypting = key(tpm, "rsa2048", "decrypt|" + NO_DA)
    scheme = TPMT_RSA_DECRYPT(scheme=TPM2_ALG.RSAES)
    encrypted = tpm.rsa_encrypt(decrypting, SECRET, scheme)
    assert bytes(tpm.rsa_decrypt(decrypting, encrypted, scheme)) == SECRET


def encrypting_session(tpm, salt):
    session = tpm.start_auth_session(
        salt, ESYS_TR.NONE, TPM2_SE.HMAC,
        TPMT_SYM_DEF(algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(sym=128),
                     mode=TPMU_SYM_MODE(sym=TPM2_ALG.CFB)), TPM2_ALG.SHA256)
    both = TPMA_SESSION.ENCRYPT | TPMA_SESSION.DECRYPT
    tpm.trsess_set_attributes(session, both | TPMA_SESSION.CONTINUESESSION)
    return session


def seal(tpm):
    parent = primary(tpm)
    session = encrypting_session(tpm, parent)
    sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=b"password", data=SECRET))
    public = TPM2B_PUBLIC.parse("keyedhash", objectAttributes="fixedtpm|fixedparent|userwithauth")
    private, public, *_ = tpm.create(parent, sensitive, public, session1=session)
    for name, part in (("public", public), ("private", private)):
        with open(name, "wb") as file:
            file.write(part.marshal())


def unseal(tpm):
    parent = primary(tpm)
    session = encrypting_session(tpm, parent)
    with open("public", "rb") as file:
        public, _ = TPM2B_PUBLIC.unmarshal(file.read())
    with open("private", "rb") as file:
        private, _ = TPM2B_PRIVATE.unmarshal(file.read())
    sealed = tpm.load(parent, private, public, session1=session)
    tpm.tr_set_auth(sealed, b"password")
    assert bytes(tpm.unseal(sealed, session1=session)) == SECRET


def save(tpm):
    """A policy session that goes to another process as it is."""
    session = tpm.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.POLICY,
                                     TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL), TPM2_ALG.SHA256)
    tpm.policy_pcr(session, b"", PCRS)
    with open("digest", "wb") as file:
        file.write(bytes(tpm.policy_get_digest(session)))
    with open("session", "wb") as file:
        file.write(tpm.context_save(session).marshal())


def load(tpm):
    with open("session", "rb") as file:
        context, _ = TPMS_CONTEXT.unmarshal(file.read())
    session = tpm.context_load(context)
    with open("digest", "rb") as file:
        assert bytes(tpm.policy_get_digest(session)) == file.read()
    tpm.flush_context(session)


def hmac(tpm):
    keyed = key(tpm, "hmac", "sign|" + NO_DA)
    codes = {bytes(tpm.hmac(keyed, b"message", TPM2_ALG.SHA256)) for _ in range(2)}
    assert len(codes) == 1 and len(codes.pop()) == 32


def refused(tpm):
    attempts = (lambda: tpm.clear(ESYS_TR.LOCKOUT),
                lambda: tpm.create_primary(None, "ecc", ESYS_TR.ENDORSEMENT),
                lambda: tpm.pcr_reset(ESYS_TR.PCR16),
                lambda: tpm.evict_control(ESYS_TR.OWNER, primary(tpm), 0x81000100))
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except TSS2_Exception as problem:
            assert problem.rc == REFUSED, f"{number}: {problem.rc:#x}"
        else:
            raise AssertionError(f"attempt {number} went through")


def main():
    steps = (random, sign, decrypt, seal, unseal, save, load, hmac, refused)
    with ESAPI(sys.argv[1]) as tpm:
        {step.__name__: step for step in steps}[sys.argv[2]](tpm)


main()
