"""What the machine has measured: extended once more it is wrong until the next boot."""

import struct

from commands import (EVENT_SEQUENCE_COMPLETE, HASH_SEQUENCE_START, PCR_EVENT, PCR_RESET, extend,
                      password)
from scenario import Machine, Scenario, done, facts, made, part_changed
from wire import EMPTY_PASSWORD, REFUSED, command, tpm2b

RULES = ("command", "pcr")


def event(pcr):
    return command(PCR_EVENT, [pcr], EMPTY_PASSWORD, tpm2b(b"not measured"))


def reset(pcr):
    return command(PCR_RESET, [pcr], EMPTY_PASSWORD)


def complete_sequence(pcr):
    """The same as an event, by a sequence, which is an object like any other before."""
    def attack(tpm, _):
        sequence = made(tpm, command(HASH_SEQUENCE_START, parameters=tpm2b(b"") + b"\0\x10"))
        code = tpm.code(command(EVENT_SEQUENCE_COMPLETE, [pcr, sequence], password() * 2,
                                tpm2b(b"not measured")))
        if code:
            done(tpm, command(0x165, parameters=struct.pack(">I", sequence)))
        return code
    return attack


class Pcrs(Scenario):
    def test_row_14_extend(self):
        for pcr in (0, 7, 11):
            with self.subTest(pcr):
                self.threat(lambda tpm, _: tpm.code(extend(pcr)), part_changed("pcrs"), RULES)

    def test_row_14_event(self):
        self.threat(lambda tpm, _: tpm.code(event(7)), part_changed("pcrs"), RULES)

    def test_row_14_event_sequence(self):
        self.threat(complete_sequence(7), part_changed("pcrs"), RULES)

    def test_row_15_reset(self):
        def prepare(tpm):
            done(tpm, extend(16))
            done(tpm, extend(23))
        for pcr in (16, 23):
            with self.subTest(pcr):
                self.threat(lambda tpm, _: tpm.code(reset(pcr)), part_changed("pcrs"), RULES,
                            prepare)

    def test_row_15_mask(self):
        """An administrator gives away one PCR; `admin` then has that and no other."""
        machine = Machine(self)
        done(machine.node, extend(16))
        machine.serve(config="[Session]\nPCRs=23\n")
        session = machine.open("admin")
        before = facts(machine.node)
        for attack in (extend(16), event(16), reset(16), extend(22), extend(0), extend(24)):
            self.assertNotEqual(session.code(attack), 0)
        self.assertEqual(session.code(reset(16)), REFUSED)
        self.assertEqual(facts(machine.node), before)
        self.assertEqual(session.code(extend(23)), 0)
        self.assertNotEqual(facts(machine.node)["pcrs"], before["pcrs"])
        self.assertEqual(session.code(reset(23)), 0)
        self.assertEqual(facts(machine.node)["pcrs"], before["pcrs"])
        session.close()
        # Not for `keys`, which does not have the command.
        self.assertEqual(machine.open("keys").code(extend(23)), REFUSED)
