"""Sealed data of others that one can read as a file: systemd's credentials, clevis' headers."""

import struct

from commands import (PCR_SELECTION_16, POLICY_GET_DIGEST, POLICY_PCR, UNSEAL, create, created,
                      evict, first_tpm2b, flush, load, password, primary, sealed_template,
                      session_entry)
from scenario import (STORAGE_ROOT, Machine, Scenario, done, facts, made, persist_storage_root,
                      without)
from wire import NULL, REFUSED, command, response_code, start_session, tpm2b

SECRET = b"the disk's key"
POLICY_ONLY = 0x12 | 0x400  # fixedTPM, fixedParent, noDA: no password opens it
NO_UNSEAL = without("unseal", "owner")


def policy_pcr(session):
    return command(POLICY_PCR, [session], None, tpm2b(b"") + PCR_SELECTION_16)


def seal_to_pcr(tpm):
    """What systemd-creds leaves in a file that everybody may read."""
    persist_storage_root(tpm)
    trial = made(tpm, start_session(kind=3))
    done(tpm, policy_pcr(trial))
    digest = first_tpm2b(done(tpm, command(POLICY_GET_DIGEST, [trial])), sessions=False)
    done(tpm, flush(trial))
    return created(done(tpm, create(
        STORAGE_ROOT, sealed_template(digest, POLICY_ONLY), data=SECRET)))


def seal(tpm, parent=STORAGE_ROOT):
    return created(done(tpm, create(parent, sealed_template(), data=SECRET)))


def seal_without_policy(tpm):
    persist_storage_root(tpm)
    return seal(tpm)


def unseal(tpm, blob, by_policy=False, parent=STORAGE_ROOT):
    """The response code of what was refused first; where it is 0, SECRET was in the response."""
    loaded = tpm.execute(load(parent, blob))
    if response_code(loaded):
        return response_code(loaded)
    handles = [struct.unpack_from(">I", loaded, 10)[0]]
    entry = password()
    if by_policy:
        handles.append(made(tpm, start_session(kind=1)))
        done(tpm, policy_pcr(handles[1]))
        entry = session_entry(handles[1])
    response = tpm.execute(command(UNSEAL, [handles[0]], entry))
    for handle in handles:
        done(tpm, flush(handle))
    assert response_code(response) or SECRET in response
    return response_code(response)


class OthersSecrets(Scenario):
    def test_row_32_sealed_to_pcrs(self):
        self.threat(lambda tpm, blob: unseal(tpm, blob, True), None, ("sealed-data", "command"),
                    seal_to_pcr, strongest=NO_UNSEAL)

    def test_row_32_sealed_without_a_policy(self):
        self.threat(unseal, None, ("sealed-data", "command"), seal_without_policy,
                    strongest=NO_UNSEAL)

    def test_row_32_by_a_parent_made_anew(self):
        """Without a persistent one: the same template makes the same storage root key."""
        machine = Machine(self)
        blob = seal_without_policy(machine.node)
        before = facts(machine.node)
        session = machine.open("keys")
        parent = made(session, primary())
        self.assertEqual(unseal(session, blob, parent=parent), REFUSED)
        self.assertEqual(facts(machine.node), before)

    def test_row_32_rewrapped(self):
        """Under a parent of one's own, or none, it would come out of the TPM in the clear."""
        machine = Machine(self)
        blob = seal_without_policy(machine.node)
        session = machine.open(NO_UNSEAL)
        parent = made(session, primary())
        rewrap = command(0x152, [parent, NULL], password(),
                         tpm2b(blob[0]) + tpm2b(bytes(34)) + tpm2b(b""))
        self.assertEqual(session.code(rewrap), REFUSED)
        duplicate = command(0x14B, [made(session, load(parent, blob)), NULL], password(),
                            tpm2b(b"") + struct.pack(">H", 0x10))
        self.assertEqual(session.code(duplicate), REFUSED)
        self.assertIn("sealed-data", [rule for _, rule, _ in machine.refusals()])

    def test_row_32_made_persistent(self):
        """By its handle it could take the place of what is judged, before a command is executed."""
        machine = Machine(self)
        blob = seal_without_policy(machine.node)
        session = machine.open(NO_UNSEAL)
        sealed = made(session, load(made(session, primary()), blob))
        self.assertEqual(session.code(evict(sealed, 0x81000100)), REFUSED)
        self.assertIn("sealed-data", [rule for _, rule, _ in machine.refusals()])
        session.close()
        session = machine.open(NO_UNSEAL)
        parent = made(session, primary())
        own = made(session, load(parent, seal(session, parent)))
        self.assertEqual(session.code(evict(own, 0x81000100)), 0)

    def test_row_32_unseal_has_it(self):
        """The profile that a person is asked about does what is refused above."""
        machine = Machine(self)
        blob = seal_to_pcr(machine.node)
        self.assertEqual(unseal(machine.open("unseal"), blob, True), 0)


class OwnSecrets(Scenario):
    def test_row_32_own(self):
        """What carol has sealed is hers in every session, and not user1's, who reads her files."""
        machine = Machine(self)
        persist_storage_root(machine.node)
        session = machine.open("keys")
        blob = seal(session)
        self.assertEqual(unseal(session, blob), 0)
        session.close()
        self.assertEqual(unseal(machine.open("keys"), blob), 0)
        self.assertEqual(unseal(machine.open("keys", "user1"), blob), REFUSED)

    def test_row_32_own_after_the_broker_was_started_again(self):
        machine = Machine(self)
        persist_storage_root(machine.node)
        session = machine.open("keys")
        blob = seal(session)
        session.close()
        machine.end()
        self.assertEqual(unseal(machine.open("keys"), blob), 0)
        self.assertEqual(unseal(machine.open("keys", "user1"), blob), REFUSED)
