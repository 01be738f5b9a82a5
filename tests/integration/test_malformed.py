"""Malformed commands: the relay answers them itself, with the code that a TPM gives.

Each is sent to a software TPM directly and to a relay in front of the same TPM.
"""

import struct

from harness import Swtpm, TestCase
from relay import Relay
from wire import (CC_CREATE_PRIMARY, CC_FLUSH_CONTEXT, CC_GET_CAPABILITY, CC_GET_RANDOM,
                  CC_START_AUTH_SESSION, EMPTY_PASSWORD, NULL, OWNER, SESSIONS_TAG, Tpm,
                  command, create_primary, get_random, response_code)

UNKNOWN_COMMAND = 0x143
LAYER = 0x000B0000


def entry(handle=0x40000009, nonce=b"", attributes=0, hmac=b""):
    return (struct.pack(">IH", handle, len(nonce)) + nonce +
            struct.pack(">BH", attributes, len(hmac)) + hmac)


def resized(data, size):
    return data[:2] + struct.pack(">I", size) + data[6:]


def longer(data, more):
    """MORE bytes inside the declared size."""
    return resized(data, len(data) + len(more)) + more


def shorter(data, count):
    return resized(data, len(data) - count)[:len(data) - count]


def with_area(area, size=None):
    """CreatePrimary in the NULL hierarchy with these bytes as its authorization area."""
    whole = create_primary(NULL, authorization=area)
    if size is not None:
        whole = whole[:14] + struct.pack(">I", size) + whole[18:]
    return whole


MALFORMED = {
    "unknown tag": command(CC_GET_RANDOM, parameters=b"\0\x08", tag=0x8003),
    "tag 0": command(CC_GET_RANDOM, parameters=b"\0\x08", tag=0),
    "code 0": command(0),
    "code in a hole": command(0x123),
    "code after the last": command(0x1FF),
    "code of a vendor": command(0x20000001),
    "code with a reserved bit": command(0x0001017B, parameters=b"\0\x08"),
    "code with the highest bit": command(0x8000017B, parameters=b"\0\x08"),
    "no parameter": shorter(get_random(8), 2),
    "half a parameter": shorter(get_random(8), 1),
    "trailing byte": longer(get_random(8), b"\0"),
    "trailing command": longer(get_random(8), get_random(8)),
    "trailing byte after parameters with a TPM2B": longer(create_primary(NULL), b"\0"),
    "no handle": command(CC_FLUSH_CONTEXT),
    "half a handle": longer(command(0x173), b"\x80\0"),
    "no second handle": command(CC_START_AUTH_SESSION, [NULL]),
    "handle of no kind": command(0x173, [0x55000000]),
    "hierarchy where an object belongs": command(0x173, [OWNER]),
    "object where a hierarchy belongs": command(CC_CREATE_PRIMARY, [0x80000000], EMPTY_PASSWORD,
                                                b""),
    "PCR where a hierarchy belongs": command(CC_CREATE_PRIMARY, [0x00000000], EMPTY_PASSWORD, b""),
    "missing authorization": command(CC_CREATE_PRIMARY, [NULL], None, create_primary()[27:]),
    "authorization area of size 0": with_area(b""),
    "authorization area of 8 bytes": with_area(EMPTY_PASSWORD[:8]),
    "authorization area larger than the command": with_area(EMPTY_PASSWORD, 4000),
    "authorization area with the highest bit": with_area(EMPTY_PASSWORD, 0x80000009),
    "authorization area that ends in an entry": with_area(entry() + entry(0x02000000)[:5]),
    "authorization of an object": with_area(entry(0x80000000)),
    "authorization of a hierarchy": with_area(entry(OWNER)),
    "two passwords for one handle": with_area(entry() * 2),
    "password with nonce": with_area(entry(nonce=b"12345678")),
    "password with decrypt": with_area(entry(attributes=0x20)),
    "password with encrypt": with_area(entry(attributes=0x40)),
    "password with audit": with_area(entry(attributes=0x80)),
    "reserved attribute bit 3": with_area(entry(attributes=0x08)),
    "reserved attribute bit 4": with_area(entry(attributes=0x10)),
    "password where nothing is authorized": command(CC_GET_RANDOM, (), EMPTY_PASSWORD, b"\0\x08"),
    "FlushContext with sessions": command(CC_FLUSH_CONTEXT, (), EMPTY_PASSWORD,
                                          struct.pack(">I", 0x80000000)),
    "sessions tag and nothing else": command(CC_GET_RANDOM, tag=SESSIONS_TAG),
    "TPM2B longer than the command": command(0x146, parameters=b"\0\x08" + b"entropy"),
    "GetCapability without its last parameter": command(CC_GET_CAPABILITY,
                                                        parameters=struct.pack(">II", 6, 0x100)),
    "PCR selection cut": command(0x17E, parameters=struct.pack(">IHB", 1, 0x0B, 3) + b"\0"),
    "PCR selection with a count too many": command(0x17E, parameters=struct.pack(
        ">IHB", 2, 0x0B, 3) + b"\1\0\0"),
}

# Well-formed to a parser: only the TPM refuses them, because of what a password is.
FOR_THE_TPM = {"password with nonce", "password with decrypt", "password with encrypt",
               "password with audit"}

# What is well formed, so that the list above proves something.
WELL_FORMED = {
    "GetRandom": get_random(8),
    "CreatePrimary": create_primary(NULL),
    "GetCapability": command(CC_GET_CAPABILITY, parameters=struct.pack(">III", 6, 0x100, 1)),
    "PCR_Read": command(0x17E, parameters=struct.pack(">IHB", 1, 0x0B, 3) + b"\1\0\0"),
}
COMMANDS = (0x17B, 0x17A, 0x131, 0x165, 0x176, 0x173, 0x17E, 0x146)


class Malformed(TestCase):
    def setUp(self):
        self.swtpm = self.start(Swtpm)

    def directly(self, table):
        tpm = Tpm.direct(self.swtpm)
        codes = {name: tpm.code(data) for name, data in table.items()}
        for handle in (0x80000000, 0x80000001, 0x80000002):
            tpm.code(command(CC_FLUSH_CONTEXT, parameters=struct.pack(">I", handle)))
        tpm.close()
        return codes

    def through_a_relay(self, table):
        relay = self.start(Relay, self.swtpm, commands=COMMANDS)
        return {name: relay.client.code(data) for name, data in table.items()}

    def test_same_codes(self):
        codes = self.directly(MALFORMED)
        relayed = self.through_a_relay(MALFORMED)
        for name, code in codes.items():
            with self.subTest(name):
                self.assertNotEqual(code, 0, "the list holds a well-formed command")
                if code == UNKNOWN_COMMAND:
                    code |= LAYER  # as the kernel's resource manager says it
                self.assertEqual(f"{relayed[name]:#x}", f"{code:#x}")

    def test_well_formed(self):
        codes = self.directly(WELL_FORMED)
        self.assertEqual(set(codes.values()), {0}, codes)
        self.assertEqual(self.through_a_relay(WELL_FORMED), codes)

    def test_malformed_ones_never_reach_the_tpm(self):
        """With a TPM that the test plays: the first command to arrive is the one after them."""
        relay = self.start(Relay, commands=COMMANDS)
        for name, data in MALFORMED.items():
            if name not in FOR_THE_TPM:
                with self.subTest(name):
                    self.assertNotEqual(relay.client.code(data, timeout=5), 0)
        relay.client.send(get_random(4))
        self.assertEqual(relay.command_arrives(), get_random(4))
        answer = struct.pack(">HIIH", 0x8001, 16, 0, 4) + b"four"
        relay.tpm.send(answer)
        self.assertEqual(relay.client.receive(), answer)

    def test_impossible_sizes(self):
        """Direct TPMs differ here; a stream can only be answered once and emptied."""
        relay = self.start(Relay, self.swtpm, commands=COMMANDS)
        for size in (0, 1, 9, 4097, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            with self.subTest(size):
                relay.client.send(resized(get_random(8), size) + get_random(8))
                self.assertEqual(response_code(relay.client.receive()), 0x142)
                relay.client.random()

    def test_several_commands_in_one_write(self):
        relay = self.start(Relay, self.swtpm, commands=COMMANDS)
        relay.client.send(get_random(8) + get_random(4) + command(0x123))
        data = b""
        while len(data) < 20 + 16 + 10:
            data += relay.client.socket.recv(100)
        self.assertEqual([response_code(data), response_code(data[20:]), response_code(data[36:])],
                         [0, 0, LAYER | UNKNOWN_COMMAND])
