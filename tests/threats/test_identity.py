"""The endorsement key: an identity that outlives Clear, and is asked for before it is shown."""

import struct

from commands import (CONTEXT_LOAD, CONTEXT_SAVE, ENDORSEMENT_TEMPLATE, PCR_SELECTION_16, QUOTE,
                      QUOTE_TEMPLATE, READ_PUBLIC, clear, evict, flush, nv_define, nv_read,
                      nv_write, password, primary, take_tpm2b, with_handle)
from scenario import Machine, Scenario, done, facts, made, without
from wire import ENDORSEMENT, OWNER, REFUSED, command, response_code, tpm2b

EVERYTHING_ELSE = without("attest")
CERTIFICATE, PERSISTENT_KEY = 0x01C0000A, 0x81010001


def quote(key):
    return command(QUOTE, [key], password(), tpm2b(b"nonce") + b"\0\x10" + PCR_SELECTION_16)


def code_and_flush(tpm, data):
    """The code of a command that makes an object, which does not stay."""
    response = tpm.execute(data)
    if response_code(response) == 0:
        done(tpm, flush(struct.unpack_from(">I", response, 10)[0]))
    return response_code(response)


class Endorsement(Scenario):
    def test_row_19_key(self):
        """After Clear it is the same one: whoever has seen it knows the machine for ever."""
        def public(tpm):
            response = done(tpm, primary(ENDORSEMENT, ENDORSEMENT_TEMPLATE))
            done(tpm, flush(struct.unpack_from(">I", response, 10)[0]))
            return take_tpm2b(response, 18)[0]

        machine = Machine(self)
        before = public(machine.node)
        done(machine.node, clear())
        self.assertEqual(public(machine.node), before)
        self.threat(
            lambda tpm, _: code_and_flush(tpm, primary(ENDORSEMENT, ENDORSEMENT_TEMPLATE)), None,
            "hierarchy", strongest=EVERYTHING_ELSE)

    def test_row_19_any_key_of_the_hierarchy(self):
        """Its storage keys tell machines apart as well, by their public parts."""
        self.threat(lambda tpm, _: code_and_flush(tpm, primary(ENDORSEMENT)), None, "hierarchy",
                    strongest=EVERYTHING_ELSE)

    def test_row_19_create_loaded(self):
        attack = command(0x191, [ENDORSEMENT], password(), tpm2b(bytes(4)) + tpm2b(QUOTE_TEMPLATE))
        self.threat(lambda tpm, _: code_and_flush(tpm, attack), None, ("hierarchy", "command"),
                    strongest=EVERYTHING_ELSE)

    def test_row_19_certificate(self):
        def prepare(tpm):
            done(tpm, nv_define(CERTIFICATE))
            done(tpm, nv_write(CERTIFICATE, b"certificate"))
        for by in (OWNER, CERTIFICATE):
            with self.subTest(f"{by:#x}"):
                self.threat(lambda tpm, _: tpm.code(nv_read(CERTIFICATE, 11, by)), None,
                            ("command", "nv-index"), prepare, strongest=EVERYTHING_ELSE)

    def test_row_19_persistent_key(self):
        def prepare(tpm):
            key = made(tpm, primary(ENDORSEMENT, ENDORSEMENT_TEMPLATE))
            done(tpm, evict(key, PERSISTENT_KEY))
            done(tpm, flush(key))
        self.threat(lambda tpm, _: tpm.code(with_handle(READ_PUBLIC, PERSISTENT_KEY)), None,
                    "persistent-handle", prepare, strongest=without("attest"))

    def test_row_19_saved_context(self):
        """Where tpm2_createek has left one in a file: the blob tells its hierarchy, and the TPM
        checks what it tells."""
        def prepare(tpm):
            key = made(tpm, primary(ENDORSEMENT, ENDORSEMENT_TEMPLATE))
            saved = done(tpm, with_handle(CONTEXT_SAVE, key))[10:]
            done(tpm, flush(key))
            return saved

        def attack(tpm, saved):
            return code_and_flush(tpm, command(CONTEXT_LOAD, parameters=saved))
        self.threat(attack, None, ("hierarchy", "context"), prepare, strongest=EVERYTHING_ELSE)
        machine = Machine(self)
        saved = bytearray(prepare(machine.node))
        struct.pack_into(">I", saved, 12, OWNER)
        self.assertNotEqual(machine.open("keys").code(command(
            CONTEXT_LOAD, parameters=bytes(saved))), 0)


class Quotes(Scenario):
    def test_row_19_quote(self):
        def attack(tpm, _):
            response = tpm.execute(primary(ENDORSEMENT, QUOTE_TEMPLATE))
            if response_code(response):
                return response_code(response)
            key = struct.unpack_from(">I", response, 10)[0]
            code = tpm.code(quote(key))
            done(tpm, flush(key))
            return code
        self.threat(attack, None, "hierarchy", strongest=EVERYTHING_ELSE)

    def test_row_19_quote_by_a_key_of_ones_own(self):
        """It says of this machine what the machine's owner was not asked about."""
        machine = Machine(self)
        before = facts(machine.node)
        for profiles in ("keys", EVERYTHING_ELSE):
            session = machine.open(profiles)
            key = made(session, primary(OWNER, QUOTE_TEMPLATE))
            self.assertEqual(session.code(quote(key)), REFUSED)
            self.assertEqual(machine.refusals()[-1][:2], ("Quote", "command"))
            session.close()
        self.assertEqual(facts(machine.node), before)

    def test_row_19_attest_has_it(self):
        """So that the refusals above are not about something else."""
        session = Machine(self).open("attest")
        key = made(session, primary(ENDORSEMENT, QUOTE_TEMPLATE))
        self.assertEqual(session.code(quote(key)), 0)
