"""Valid commands made wrong: in their sizes, counts, areas, handles and bits.

Sizes in the header always fit: what a stream does otherwise is test_malformed.py's.
"""

import struct

from wire import SESSIONS_TAG


def resized(data):
    return data[:2] + struct.pack(">I", len(data)) + data[6:]


class Mutator:
    """Makes mutants of COMMANDS, by the numbers of RANDOM; COUNTS are the handles of each code."""

    def __init__(self, random, counts, handles):
        self.random = random
        self.counts = counts
        self.handles = handles  # worth putting where a handle is
        self.ways = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("way_")]

    def mutate(self, data, others):
        """DATA with one to three things wrong; OTHERS are commands to take parts of."""
        names = []
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            way = self.random.choice(self.ways)
            mutant = way(data, self.random.choice(others))
            if mutant is not None and 10 <= len(mutant) <= 4096:
                data = resized(mutant)
                names.append(way.__name__[4:])
        return data, names

    def handle_count(self, data):
        return self.counts.get(struct.unpack_from(">I", data, 6)[0], 0)

    def area(self, data):
        """Where the authorization area begins and ends; None where there is none."""
        start = 14 + 4 * self.handle_count(data)
        if struct.unpack_from(">H", data)[0] != SESSIONS_TAG or len(data) < start:
            return None
        return start, min(len(data), start + struct.unpack_from(">I", data, start - 4)[0])

    def with_area(self, data, entries, size=None):
        area = self.area(data)
        if area is None:
            return None
        size = len(entries) if size is None else size
        return data[:area[0] - 4] + struct.pack(">I", size & 0xFFFFFFFF) + entries + data[area[1]:]

    def way_tag(self, data, _):
        return struct.pack(">H", self.random.choice((0x8001, 0x8002, 0, 0x00C4, 0x8003))) + data[2:]

    def way_trailing(self, data, other):
        return data + self.random.choice((b"\0", bytes(4), self.random.randbytes(3), other))

    def way_cut(self, data, _):
        return data[:len(data) - self.random.randint(1, max(1, min(8, len(data) - 10)))]

    def way_code(self, data, other):
        code = struct.unpack_from(">I", data, 6)[0]
        code = self.random.choice((code ^ 1 << self.random.randrange(32), code + 1, 0x20000001,
                                   struct.unpack_from(">I", other, 6)[0]))
        return data[:6] + struct.pack(">I", code & 0xFFFFFFFF) + data[10:]

    def way_handle(self, data, _):
        count = self.handle_count(data)
        if count == 0:
            return None
        at = 10 + 4 * self.random.randrange(count)
        return data[:at] + struct.pack(">I", self.random.choice(self.handles)) + data[at + 4:]

    def way_swap_handles(self, data, _):
        if self.handle_count(data) < 2:
            return None
        return data[:10] + data[14:18] + data[10:14] + data[18:]

    def way_more_handles(self, data, _):
        at = 10 + 4 * self.random.randrange(4)
        return data[:at] + struct.pack(">I", self.random.choice(self.handles)) + data[at:]

    def way_fewer_handles(self, data, _):
        return data[:10] + data[14:] if self.handle_count(data) else None

    def way_area_size(self, data, _):
        area = self.area(data)
        if area is None:
            return None
        size = area[1] - area[0]
        size = self.random.choice((0, 8, 9, size - 1, size + 1, size + 4, len(data) - area[0],
                                   0x80000000 | size, 0xFFFFFFFF))
        return self.with_area(data, data[area[0]:area[1]], size)

    def way_more_entries(self, data, _):
        area = self.area(data)
        if area is None:
            return None
        entries = data[area[0]:area[1]]
        return self.with_area(data, entries + self.random.choice((
            entries, entries * 3, self.entry(self.random.choice(self.handles)), b"\0")))

    def way_no_entries(self, data, _):
        return self.with_area(data, b"")

    def way_entry_handle(self, data, _):
        return self.with_area(data, self.entry(self.random.choice(self.handles)))

    def way_entry_attributes(self, data, _):
        area = self.area(data)
        if area is None or area[1] - area[0] < 9:
            return None
        entries = bytearray(data[area[0]:area[1]])
        entries[6] ^= 1 << self.random.randrange(8)
        return self.with_area(data, bytes(entries))

    def entry(self, handle):
        return struct.pack(">IH", handle, 0) + struct.pack(
            ">BH", self.random.choice((0, 1, 0x80, 0x20, 0x18)), 0)

    def way_parameter_handle(self, data, _):
        """Whatever is at the end of the command."""
        return data[:-4] + struct.pack(">I", self.random.choice(self.handles))

    def way_size_inside(self, data, _):
        """Two bytes somewhere, which may be a size, become a little more, less, or much."""
        if len(data) < 14:
            return None
        at = self.random.randrange(10, len(data) - 2)
        value = struct.unpack_from(">H", data, at)[0]
        value = self.random.choice((value + 1, value - 1, 0xFFFF, len(data)))
        return data[:at] + struct.pack(">H", value & 0xFFFF) + data[at + 2:]

    def way_flip(self, data, _):
        mutant = bytearray(data)
        mutant[self.random.randrange(6, len(data))] ^= 1 << self.random.randrange(8)
        return bytes(mutant)
