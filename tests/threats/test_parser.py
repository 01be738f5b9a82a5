"""Row 25: commands inside commands, and counts that lie about what follows them.

Something destructive is hidden where a reader that looks only at the beginning takes it for
harmless. What a TPM makes of each of them is not the question: none of it may reach one.
"""

import struct

from commands import EVICT_CONTROL, clear, evict, nv_define, nv_write, password
from scenario import STORAGE_ROOT, Machine, Scenario, done, facts, persist_storage_root
from wire import CC_GET_RANDOM, LOCKOUT, OWNER, command, get_random, response_code

CLEAR = clear()


def resized(data, size):
    return data[:2] + struct.pack(">I", size) + data[6:]


def lying(data):
    """The size that is declared is that of all of it."""
    return resized(data, len(data))


def area(code, handles, entries, size, parameters=b""):
    """A command whose authorization area says that it has SIZE bytes."""
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    body += struct.pack(">I", size) + entries + parameters
    return struct.pack(">HII", 0x8002, 10 + len(body), code) + body


# All of these are one write, and one command by the size in its header.
HIDDEN = {
    "a command behind another's parameters": lying(get_random(8) + CLEAR),
    "an area that ends in the parameters": area(EVICT_CONTROL, [OWNER, STORAGE_ROOT], password(), 5,
                                                struct.pack(">I", STORAGE_ROOT)),
    "an area that has swallowed the parameters": area(
        EVICT_CONTROL, [OWNER, STORAGE_ROOT], password(), 13, struct.pack(">I", STORAGE_ROOT)),
    "an area longer than the command": area(0x126, [LOCKOUT], password(), 0xFFFFFFF0),
    "an area of nothing": area(0x126, [LOCKOUT], password(), 0),
    "four entries": area(0x126, [LOCKOUT], password() * 4, 36),
    "two entries for one handle": area(0x126, [LOCKOUT], password() * 2, 18),
    "an entry whose length lies": area(
        0x126, [LOCKOUT], struct.pack(">IHBH", 0x40000009, 0xFFFF, 0, 0), 9),
    "an area without the tag for it": struct.pack(">H", 0x8001) + CLEAR[2:],
    "a tag for an area without one": lying(struct.pack(">HIII", 0x8002, 14, 0x126, LOCKOUT)),
    "a handle that is the area's": lying(struct.pack(">HII", 0x8002, 0, 0x120) + struct.pack(
        ">I", OWNER) + struct.pack(">I", 9) + password() + struct.pack(">I", STORAGE_ROOT)),
    "one handle more": lying(struct.pack(">HIIII", 0x8002, 0, 0x126, LOCKOUT, LOCKOUT) +
                             struct.pack(">I", 9) + password()),
    "reserved bits of the code": lying(struct.pack(">HII", 0x8002, 0, 0x10000126) + CLEAR[10:]),
    "the vendor's bit of the code": lying(
        struct.pack(">HII", 0x8002, 0, 0x20000126) + CLEAR[10:]),
    "reserved bits of an entry": area(
        0x126, [LOCKOUT], struct.pack(">IHBH", 0x40000009, 0, 0x18, 0), 9),
    "an unknown tag": struct.pack(">H", 0x00C4) + CLEAR[2:],
    "half of it": lying(CLEAR[:-1]),
    "the header only": struct.pack(">HII", 0x8002, 10, 0x126),
}


def victim(tpm):
    persist_storage_root(tpm)
    done(tpm, nv_define(0x01800001))
    done(tpm, nv_write(0x01800001, bytes(8)))


class Parser(Scenario):
    def setUp(self):
        self.machine = Machine(self)
        victim(self.machine.node)
        self.before = facts(self.machine.node)

    def test_row_25_hidden_commands(self):
        for profiles in ("keys", "basic+keys+unseal+attest+persist"):
            for name, attack in HIDDEN.items():
                with self.subTest(name, profiles=profiles):
                    session = self.machine.open(profiles)
                    self.assertNotEqual(session.code(attack), 0)
                    session.random()
                    self.assertEqual(facts(self.machine.node), self.before)
                    session.close()

    def test_row_25_bytes_after_the_declared_size(self):
        """The kernel drops them; here they are the next command, and judged as one."""
        session = self.machine.open()
        session.send(get_random(8) + CLEAR + get_random(8))
        responses = session.socket.recv(4096)
        while len(responses) < 2 * 20 + 10:
            responses += session.socket.recv(4096)
        self.assertEqual(responses[20:30].hex(), "80010000000a000b0120")
        self.assertEqual(facts(self.machine.node), self.before)

    def test_row_25_impossible_sizes(self):
        """A header that says less than itself, or more than any command: nothing of it is read."""
        for size in (0, 6, 9, 4097, 0x7FFFFFFF, 0xFFFFFFFF):
            with self.subTest(size):
                session = self.machine.open()
                self.assertNotEqual(session.code(resized(CLEAR, size)), 0)
                session.random()
                self.assertEqual(facts(self.machine.node), self.before)
                session.close()

    def test_row_25_short_command_after_a_long_one(self):
        """The kernel's buffer still has the command before: what is missing may come from there."""
        session = self.machine.open()
        session.send(CLEAR[:2] + struct.pack(">I", len(CLEAR)) + struct.pack(">I", CC_GET_RANDOM) +
                     CLEAR[10:])
        self.assertNotEqual(response_code(session.receive()), 0)
        self.assertNotEqual(session.code(struct.pack(">HII", 0x8002, 14, 0x126) +
                                         struct.pack(">I", LOCKOUT)), 0)
        session.random()
        self.assertEqual(facts(self.machine.node), self.before)

    def test_row_25_what_is_hidden_would_work(self):
        """So that the above is not refused because it means nothing: this is what is in it."""
        self.assertEqual(self.machine.node.code(evict(STORAGE_ROOT, STORAGE_ROOT)), 0)
        self.assertEqual(self.machine.node.code(CLEAR), 0)
        self.assertEqual(self.machine.node.code(command(0x126, [LOCKOUT], password())), 0)
