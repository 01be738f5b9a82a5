"""A parser of TPM commands by the library specification, Part 1 section 18, apart from the relay's.

How many handles a command has is not in a table here: the TPM says so (TPMA_CC, Part 2, 8.9).
"""

import collections
import struct

from wire import SESSIONS_TAG, get_capability

CAP_COMMANDS = 2
CC_FLUSH_CONTEXT, CC_EVICT_CONTROL, CC_CONTEXT_LOAD = 0x165, 0x120, 0x161

# authorizations: (session handle, attributes) of each entry; named: handles among the parameters
Parsed = collections.namedtuple("Parsed", "code handles authorizations named parameters")


class Malformed(Exception):
    pass


class Parser:
    def __init__(self, tpm):
        """TPM: a connection to the one that says what commands it has."""
        self.counts = {}
        listed = tpm.execute(get_capability(CAP_COMMANDS, 0x11F, 254))
        count = struct.unpack_from(">I", listed, 15)[0]
        for attributes in struct.unpack_from(f">{count}I", listed, 19):
            self.counts[attributes & 0xFFFF] = attributes >> 25 & 7

    def parse(self, data):
        """A Parsed; Malformed where the bytes do not add up."""
        try:
            return self._parse(data)
        except struct.error as problem:
            raise Malformed(str(problem)) from problem

    def _parse(self, data):
        tag, size, code = struct.unpack_from(">HII", data)
        if size != len(data) or code not in self.counts or tag not in (0x8001, SESSIONS_TAG):
            raise Malformed("header")
        handles = struct.unpack_from(f">{self.counts[code]}I", data, 10)
        at = 10 + 4 * len(handles)
        entries = ()
        if tag == SESSIONS_TAG:
            area = struct.unpack_from(">I", data, at)[0]
            at += 4 + area
            if at > len(data):
                raise Malformed("authorization area")
            entries = self._entries(data[at - area:at])
        return Parsed(code, handles, entries, self._named(code, data[at:]), data[at:])

    @staticmethod
    def _entries(area):
        entries = []
        while area:
            handle, nonce = struct.unpack_from(">IH", area)
            attributes, proof = struct.unpack_from(">BH", area, 6 + nonce)
            entries.append((handle, attributes))
            if len(area) < 9 + nonce + proof:
                raise Malformed("entry")
            area = area[9 + nonce + proof:]
        if not 1 <= len(entries) <= 3:
            raise Malformed("number of entries")
        return tuple(entries)

    @staticmethod
    def _named(code, parameters):
        if code in (CC_FLUSH_CONTEXT, CC_EVICT_CONTROL):
            return struct.unpack_from(">I", parameters)
        if code == CC_CONTEXT_LOAD:  # sequence, savedHandle
            return struct.unpack_from(">I", parameters, 8)
        return ()
