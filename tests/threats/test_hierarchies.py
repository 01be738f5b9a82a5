"""Erasing and taking over the TPM by its hierarchies, whose passwords are empty on most machines.
"""

import struct

from commands import (CLEAR_CONTROL, CLOCK_SET, EVICT_CONTROL, SET_COMMAND_CODE_AUDIT_STATUS,
                      SHUTDOWN, by_owner, change_auth, clear, dictionary_attack_parameters,
                      hierarchy_control, nv_define, nv_write, primary, set_policy)
from scenario import (DISABLE_CLEAR, HOUR, PT_LOCKOUT_INTERVAL, PT_PERMANENT, PT_STARTUP_CLEAR,
                      Machine, Scenario, done, facts, part_changed, persist_storage_root,
                      property_changed, read_clock, without)
from wire import (EMPTY_PASSWORD, ENDORSEMENT, LOCKOUT, OWNER, PLATFORM, REFUSED,
                  command)

MONTH = 30 * 24 * HOUR
EVERYTHING = without()
UNKNOWN_CODE = 0x000B0143
FIRMWARE_PLATFORM, SVN_PLATFORM = 0x40000143, 0x40030000


def owner_data(tpm):
    """A storage root key and an index with something in it."""
    persist_storage_root(tpm)
    done(tpm, nv_define(0x01800001))
    done(tpm, nv_write(0x01800001, bytes(range(32))))


class Hierarchies(Scenario):
    def test_row_01_clear(self):
        self.threat(lambda tpm, _: tpm.code(clear()),
                    lambda before, after: before["persistent"] and not after["persistent"]
                    and before["nv"] and not after["nv"],
                    "command", owner_data)

    def test_row_02_set_primary_policy(self):
        """It stays where somebody sets a password afterwards."""
        digest = bytes(range(32))
        for hierarchy in (OWNER, ENDORSEMENT, LOCKOUT):
            with self.subTest(f"{hierarchy:#x}"):
                self.threat(lambda tpm, _: tpm.code(set_policy(hierarchy, digest)),
                            lambda before, after: digest in after["policies"]
                            and digest not in before["policies"], "command")
        machine = Machine(self)
        done(machine.node, set_policy(OWNER, digest))
        done(machine.node, change_auth(OWNER, b"new password"))
        self.assertIn(digest, facts(machine.node)["policies"])

    def test_row_03_hierarchy_passwords(self):
        for hierarchy in (OWNER, ENDORSEMENT, LOCKOUT):
            with self.subTest(f"{hierarchy:#x}"):
                self.threat(lambda tpm, _: tpm.code(change_auth(hierarchy, b"mine")),
                            property_changed(PT_PERMANENT), "command")

    def test_row_04_dictionary_attack_parameters(self):
        """No time between tries is no protection of passwords by tries."""
        self.threat(lambda tpm, _: tpm.code(dictionary_attack_parameters(1 << 30, 0, 0)),
                    lambda before, after: before["properties"][PT_LOCKOUT_INTERVAL] != 0
                    and after["properties"][PT_LOCKOUT_INTERVAL] == 0, "command")

    def test_row_04_lock_reset(self):
        """`admin` may reset the lockout; less than that may not."""
        attack = command(0x139, [LOCKOUT], EMPTY_PASSWORD)
        self.refuse(lambda tpm, _: tpm.code(attack), "command",
                    strongest=without("owner", "admin"))

    def test_row_16_clock_set(self):
        def attack(tpm, _):
            return tpm.code(by_owner(CLOCK_SET, parameters=struct.pack(">Q", MONTH)))
        machine = Machine(self)
        before = read_clock(machine.node)[0]
        self.assertEqual(attack(machine.node, None), 0)
        self.assertGreater(read_clock(machine.node)[0] - before, MONTH / 2)
        # And there is no way back but Clear.
        self.assertNotEqual(machine.node.code(
            by_owner(CLOCK_SET, parameters=struct.pack(">Q", before))), 0)
        self.refuse(attack, "command")

    def test_row_17_hierarchy_control(self):
        for hierarchy in (OWNER, ENDORSEMENT):
            with self.subTest(f"{hierarchy:#x}"):
                self.threat(
                    lambda tpm, _: tpm.code(hierarchy_control(hierarchy, hierarchy, 0)),
                    property_changed(PT_STARTUP_CLEAR), "command")

    def test_row_17_clear_control(self):
        attack = command(CLEAR_CONTROL, [LOCKOUT], EMPTY_PASSWORD, b"\1")
        self.threat(lambda tpm, _: tpm.code(attack),
                    lambda before, after: after["properties"][PT_PERMANENT] & DISABLE_CLEAR
                    and not before["properties"][PT_PERMANENT] & DISABLE_CLEAR, "command")


class Platform(Scenario):
    """Row 23: firmware that leaves the platform's password empty, as swtpm does."""

    def test_row_23_platform(self):
        """In no profile, however strong: the strongest session of all is asked."""
        attacks = {
            "clear": clear(PLATFORM),
            "change-auth": change_auth(PLATFORM, b"mine"),
            "policy": set_policy(PLATFORM, bytes(32)),
            "hierarchy-off": hierarchy_control(PLATFORM, OWNER, 0),
            "nv": nv_define(0x01400001, attributes=0x42010001 | 1 << 30, by=PLATFORM),
            "persistent": command(EVICT_CONTROL, [PLATFORM, 0x81000001], EMPTY_PASSWORD,
                                  struct.pack(">I", 0x81000001)),
            "allocate": command(0x12B, [PLATFORM], EMPTY_PASSWORD,
                                struct.pack(">IHB", 1, 4, 3) + bytes(3)),
        }
        for name, attack in attacks.items():
            with self.subTest(name):
                machine = Machine(self)
                owner_data(machine.node)
                self.assertEqual(machine.node.code(attack), 0)
        machine = Machine(self)
        owner_data(machine.node)
        before = facts(machine.node)
        for profiles in ("keys", EVERYTHING):
            session = machine.open(profiles)
            for name, attack in attacks.items():
                with self.subTest(name, profiles=profiles):
                    self.assertEqual(f"{session.code(attack):#010x}", f"{REFUSED:#010x}")
            session.close()
        self.assertEqual(len(machine.refusals()), 2 * len(attacks))
        self.assertEqual(facts(machine.node), before)

    def test_row_23_aliases(self):
        """Newer TPMs take these for the platform; a filter by exact values knows none of them."""
        machine = Machine(self)
        before = facts(machine.node)
        for alias in (FIRMWARE_PLATFORM, FIRMWARE_PLATFORM - 3, SVN_PLATFORM, 0x40010000,
                      0x4004FFFF, 0x4000000D, 0x40000010):
            session = machine.open(EVERYTHING)
            for attack in (clear(alias), change_auth(alias, b"mine"),
                           primary(alias), nv_define(0x01800001, by=alias)):
                with self.subTest(f"{alias:#x}"):
                    count = len(machine.refusals())
                    self.assertNotEqual(session.code(attack), 0)
                    # That the relay refused it: the TPM here knows none of these either.
                    self.assertEqual(len(machine.refusals()), count + 1)
            session.close()
        self.assertEqual(facts(machine.node), before)


class NeverThroughTpmgate(Scenario):
    """Row 24: what no profile can name."""

    def test_row_24_audited_commands(self):
        """Who sets what is audited, can make the TPM wear out its NV with every command."""
        attack = by_owner(SET_COMMAND_CODE_AUDIT_STATUS,
                          parameters=struct.pack(">HIII", 0x10, 1, 0x17B, 0))
        self.threat(lambda tpm, _: tpm.code(attack), part_changed("audited"), "command",
                    strongest=without("owner", "admin"))

    def test_row_24_shutdown(self):
        """Nobody is to tell the TPM that the machine goes down, but the kernel."""
        attack = command(SHUTDOWN, parameters=b"\0\0")
        machine = Machine(self)
        self.assertEqual(machine.node.code(attack), 0)
        self.refuse(lambda tpm, _: tpm.code(attack), "never", strongest=EVERYTHING)

    def test_row_24_vendor_firmware_act(self):
        machine = Machine(self)
        before = facts(machine.node)
        session = machine.open(EVERYTHING)
        never = {
            "FieldUpgradeStart": command(0x12F, [PLATFORM, 0x80000000], EMPTY_PASSWORD,
                                         bytes(2) + struct.pack(">HH", 0x10, 0)),
            "FieldUpgradeData": command(0x141, [], None, b"\0\0"),
            "FirmwareRead": command(0x179, [], None, bytes(4)),
            "ACT_SetTimeout": command(0x198, [0x40000110], EMPTY_PASSWORD, bytes(4)),
            "PP_Commands": command(0x12D, [PLATFORM], EMPTY_PASSWORD, bytes(8)),
            "SetAlgorithmSet": command(0x13F, [PLATFORM], EMPTY_PASSWORD, bytes(4)),
            "ChangePPS": command(0x125, [PLATFORM], EMPTY_PASSWORD),
            "ChangeEPS": command(0x124, [PLATFORM], EMPTY_PASSWORD),
        }
        for name, attack in never.items():
            with self.subTest(name):
                self.assertEqual(f"{session.code(attack):#010x}", f"{REFUSED:#010x}")
                self.assertEqual(machine.refusals()[-1][1], "never")
        for code in (0x20000000, 0x20000001, 0x2000017B, 0x00000123, 0x4000017B, 0xFFFFFFFF):
            with self.subTest(f"{code:#x}"):
                self.assertEqual(session.code(command(code)), UNKNOWN_CODE)
        session.random()
        self.assertEqual(facts(machine.node), before)
