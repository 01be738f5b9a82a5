"""The relay's parser beside the TPM's: mutants of valid commands, thousands of them.

The relay stands before a software TPM, and this test between the two, where it sees every command
that the TPM gets. Each must be the client's as it is, or one of the relay's own questions; a parser
by the specification (spec_parser.py) must find a code and handles in it that this session may name.
What the relay calls malformed is sent to a second TPM of the same state, which must refuse it as
well, with the same code where nothing else about it is wrong.
"""

import collections
import os
import random
import shutil
import struct
import time

from harness import PATIENCE, SANITIZED, SOURCE, Swtpm, TestCase, readable
from mutations import Mutator, resized
from relay import Relay
from spec_parser import Malformed, Parser
from tap import receive_message
from tpm_commands import (SEALED_TEMPLATE, SHA256, SIGN_TEMPLATE, context_save, create, created,
                          evict, flush, hash_data, hash_sequence_start, load, made_handle,
                          nv_define, nv_read, nv_read_public, nv_write, policy_get_digest,
                          policy_pcr, policy_restart, policy_secret, read_public, session_entry,
                          sign, unseal)
from wire import (CC_GET_RANDOM, CC_PCR_READ, EMPTY_PASSWORD, NULL, OWNER, Tpm, allow_failures,
                  command, create_primary, get_capability, get_random, response_code,
                  start_session)

SEED = os.environ.get("TPMGATE_SEED")
SEEDS = [int(SEED)] if SEED else [1, 2]
MUTANTS = 20000 if SEED else 500 if SANITIZED else 4000
SECONDS = 600 if SEED else 20  # for a seed; fewer mutants where the machine is busy
ROUND = 50  # mutants until everything is made anew, and the relay has counted no guesses yet

LAYER, UNKNOWN_COMMAND = 0x000B0000, 0x143
PROFILES = ("keys", "persist", "attest", "admin")
INDEX = 0x01800001
ENDORSEMENT, LOCKOUT, PLATFORM = 0x4000000B, 0x4000000A, 0x4000000C
FOREIGN_OBJECT, FOREIGN_SESSION = 0x80000000, 0x02000000  # made past the relay, before all others
# Never in a command of this session: no profile gives them, or they are not its own.
NEVER = {PLATFORM, 0x4000000D, 0x40000010, 0x40000110, 0x40000140, 0x40000143, 0x40010000,
         FOREIGN_OBJECT, FOREIGN_SESSION, 0x80000007, 0x02000033, 0x03000033, 0x90000000,
         0x11800001}
# These name the hierarchy that they are about, and their profile gives it.
OF_LOCKOUT, OF_ENDORSEMENT = {0x139}, {0x133, 0x14C, 0x14D}
# What the relay asks by itself: GetCapability, ReadPublic, NV_ReadPublic, FlushContext.
OWN_QUESTIONS = {0x17A, 0x173, 0x169, 0x165}
# What comes of these depends on the TPM's time, or on contexts and tickets of its own:
# ContextLoad, PolicyTicket, PolicySecret and PolicySigned that expire, PolicyCounterTimer.
OF_ONE_TPM = {0x161, 0x172, 0x151, 0x160, 0x16D}
# Of a tag that is none of a command; the second where it is that of another structure.
BAD_TAG = 0x84, 0x1E
RESERVED_BITS_OF_SESSION = 0x8A1  # without the number; to be refused before


def command_table():
    """The relay's table of commands: code, name, alias, parameters."""
    with open(SOURCE + "/helper/relay/tpm-commands.csv", encoding="utf-8") as file:
        rows = [line.split(",") for line in file if line.startswith("0x")]
    return [(int(row[0], 16), row[1], row[2], row[7]) for row in rows]


def profile_codes():
    """The codes of all commands of PROFILES."""
    names = set()
    for profile in PROFILES:
        with open(f"{SOURCE}/packaging/profiles.d/{profile}.profile", encoding="utf-8") as file:
            for line in file:
                if line.startswith("Commands="):
                    names |= set(line.strip().split("=")[1].split(";"))
    return {code for code, name, alias, _ in command_table() if names & {name, alias}}


def corpus():
    """One well-formed command of every code, as the fuzzer begins with."""
    directory = SOURCE + "/tests/fuzz/corpus/tpm-command"
    commands = []
    for name in sorted(os.listdir(directory)):
        with open(f"{directory}/{name}", "rb") as file:
            commands.append(file.read())
    return commands


def make_twins():
    """Two software TPMs with the same seeds."""
    twins = Swtpm(), Swtpm()
    allow_failures(twins[0])  # so that there is a file: nothing is written before it must be
    for twin in twins:
        twin.process.stop()
    state = "tpm2-00.permall"
    shutil.copy(f"{twins[0].directory}/{state}", f"{twins[1].directory}/{state}")
    for twin in twins:
        if not os.path.exists(twin.pid_file):  # it may go with the process
            os.mkfifo(twin.pid_file)
        twin.launch()
    return twins


class Comparison:
    """A relay before one TPM, and another TPM that gets the same."""

    def __init__(self, test, seed):
        self.test = test
        self.random = random.Random(seed)
        first, second = make_twins()
        for twin in (first, second):
            test.addCleanup(twin.stop)
        self.tpm, self.twin = Tpm.direct(first), Tpm.direct(second)
        self.parser = Parser(self.tpm)
        self.allowed = profile_codes()
        # those that end in structures which only a TPM takes apart
        self.open_ended = {code for code, _, _, layout in command_table() if "*" in layout}
        self.codes = {code for code in self.allowed if code in self.parser.counts}
        self.corpus = [data for data in corpus()
                       if struct.unpack_from(">I", data, 6)[0] in self.codes]
        self.relay = None
        self.bases = []
        self.arrived = []
        self.seen = collections.Counter()
        self.last = ""

    # ---- one command through the relay, and what the TPM gets of it ----

    def ask(self, data):
        """The relay's response; `arrived` has what reached the TPM."""
        self.arrived = []
        client, tpm = self.relay.client.socket, self.relay.tpm
        client.sendall(data)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if readable(tpm, 0):
                sent = tpm.recv(4096)
                self.arrived.append(sent)
                tpm.send(self.tpm.execute(sent))
            elif readable(client, 0.001):
                return receive_message(client)
        raise AssertionError(f"no answer to {data.hex()}")

    def must(self, data):
        """A command that must succeed, for both TPMs."""
        response = self.ask(data)
        assert response_code(response) == 0, f"{data.hex()}: {response.hex()}"
        self.twin.execute(data)
        return response

    # ---- what there is to name ----

    def both(self, data):
        for tpm in (self.tpm, self.twin):
            response = tpm.execute(data)
        return response

    def empty(self):
        """Past the relay: what it left, and all that was made, in both."""
        for tpm in (self.tpm, self.twin):
            for first in (0x80000000, 0x02000000, 0x03000000):
                for handle in tpm.handles(first):
                    tpm.execute(flush(handle))
            for first in (0x01800000, 0x81000000):
                for handle in tpm.handles(first):
                    code = 0x122 if first >> 24 == 1 else 0x120
                    parameters = b"" if code == 0x122 else struct.pack(">I", handle)
                    tpm.execute(command(code, [OWNER, handle], EMPTY_PASSWORD, parameters))

    def new_relay(self):
        if self.relay:
            self.relay.stop()
        self.empty()
        foreign = made_handle(self.both(create_primary(OWNER)))
        session = made_handle(self.both(start_session(0)))
        assert (foreign, session) == (FOREIGN_OBJECT, FOREIGN_SESSION), (foreign, session)
        self.relay = Relay(commands=self.allowed, secrets=1, pcrs=1 << 16)

    def make_all(self):
        """What the session owns, and valid commands about it."""
        storage = made_handle(self.must(create_primary(OWNER)))
        private, public = created(self.must(create(storage, SIGN_TEMPLATE)))
        sealed = created(self.must(create(storage, SEALED_TEMPLATE, b"a secret")))
        key = made_handle(self.must(load(storage, private, public)))
        hmac = made_handle(self.must(start_session(0)))
        policy = made_handle(self.must(start_session(1)))
        self.must(nv_define(INDEX))
        self.must(nv_write(INDEX, b"12345678"))
        valid = [
            get_random(8), get_capability(6, 0x100, 8), get_capability(1, 0x80000000, 8),
            create_primary(OWNER), create_primary(NULL), create(storage, SIGN_TEMPLATE),
            create(storage, SEALED_TEMPLATE, b"x"), load(storage, private, public),
            load(storage, *sealed), sign(key), read_public(key), unseal(key), flush(key),
            flush(policy), context_save(key), context_save(hmac), start_session(1),
            start_session(0, storage, storage), policy_pcr(policy), policy_get_digest(policy),
            policy_restart(policy), policy_secret(INDEX, policy), policy_secret(OWNER, policy),
            command(CC_GET_RANDOM, (), session_entry(hmac, 0x81), b"\0\x08"),
            hash_data(b"data"), hash_sequence_start(), nv_read(INDEX), nv_read_public(INDEX),
            nv_write(INDEX, b"87654321"), nv_define(INDEX + 1), evict(key, 0x81000100),
            command(CC_PCR_READ, parameters=struct.pack(">IHB", 1, SHA256, 3) + b"\1\0\0"),
        ]
        own = {0x80: [storage, key], 0x02: [hmac], 0x03: [policy], 0x01: [INDEX]}
        for data in valid:  # of what is valid otherwise, a TPM says the same
            self.compare(resized(data + b"\0"), ["one thing"])
            self.compare(resized(data[:-1]), ["one thing"])
        self.bases = valid * 2 + [self.with_own(data, own) for data in self.corpus]
        handles = sorted(NEVER) + [storage, key, hmac, policy, INDEX, INDEX + 1, OWNER, NULL,
                                   LOCKOUT, ENDORSEMENT, 0x40000009, 0, 16, 0x81000001,
                                   0x81010001, 0x81000100]
        return Mutator(self.random, self.parser.counts, handles)

    def with_own(self, data, own):
        """DATA, whose handles are this session's as far as there are any of their kind."""
        for i in range(self.parser.counts[struct.unpack_from(">I", data, 6)[0]]):
            kind = data[10 + 4 * i]
            if kind in own:
                handle = struct.pack(">I", self.random.choice(own[kind]))
                data = data[:10 + 4 * i] + handle + data[14 + 4 * i:]
        return data

    # ---- what must hold ----

    def check_arrived(self, data):
        """What the TPM got. Returns whether the command itself was among it."""
        forwarded = False
        for sent in self.arrived:
            try:
                parsed = self.parser.parse(sent)
            except Malformed as problem:
                self.test.fail(f"{problem} in {sent.hex()} of {self.last}")
            if sent != data:
                self.test.assertIn(parsed.code, OWN_QUESTIONS, self.last)
                self.test.assertEqual(sent[:2], b"\x80\x01", self.last)
                continue
            forwarded = True
            self.test.assertIn(parsed.code, self.allowed, self.last)
            named = {*parsed.handles, *parsed.named,
                     *(handle for handle, _ in parsed.authorizations)}
            self.test.assertFalse(named & NEVER, self.last)
            if parsed.code not in OF_LOCKOUT:
                self.test.assertNotIn(LOCKOUT, named, self.last)
            if parsed.code not in OF_ENDORSEMENT:
                self.test.assertNotIn(ENDORSEMENT, named, self.last)
        return forwarded

    def compare_refusal(self, code, direct, names):
        """What the relay calls malformed by CODE is refused by the TPM too."""
        self.test.assertNotEqual(direct, 0, f"malformed to the relay only: {self.last}")
        same = code & ~LAYER == direct
        self.seen["same code" if same else "another code"] += 1
        if code == LAYER | UNKNOWN_COMMAND or names == ["one thing"]:
            self.test.assertTrue(same, f"{code:#x} and {direct:#x}: {self.last}")
        if names == ["tag"] and code == BAD_TAG[0]:
            self.test.assertIn(direct, BAD_TAG, self.last)

    def compare(self, data, names):
        self.last = f"{'+'.join(names)}: {data.hex()}"
        code = response_code(self.ask(data))
        forwarded = self.check_arrived(data)
        if forwarded:
            if names == ["one thing"]:
                self.test.assertIn(self.parser.parse(data).code, self.open_ended, self.last)
            self.seen["forwarded"] += 1
            direct = response_code(self.twin.execute(data))
            self.test.assertNotEqual(direct & 0x8BF, RESERVED_BITS_OF_SESSION, self.last)
            if self.parser.parse(data).code not in OF_ONE_TPM:
                self.test.assertEqual(
                    code == 0, direct == 0, f"{code:#x} and {direct:#x}: {self.last}")
        elif code == 0:  # answered by the relay: handles that it may see
            self.test.assertEqual(self.parser.parse(data).code, 0x17A, self.last)
            self.seen["answered"] += 1
        elif code & LAYER and code & ~LAYER != UNKNOWN_COMMAND:
            self.seen["refused by policy"] += 1
        else:
            self.seen["malformed"] += 1
            self.compare_refusal(code, response_code(self.twin.execute(data)), names)

    def run(self):
        end = time.monotonic() + SECONDS
        for _ in range(0, MUTANTS, ROUND):
            if time.monotonic() > end:
                break
            self.new_relay()
            mutator = self.make_all()
            for _ in range(ROUND):
                data, names = mutator.mutate(self.random.choice(self.bases), self.bases)
                self.compare(data, names)
        self.relay.stop()


class Differential(TestCase):
    def test_mutants(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                comparison = Comparison(self, seed)
                try:
                    comparison.run()
                finally:
                    print(f"seed {seed}: {dict(comparison.seen)}")
                # the others are wrong in several ways, and looked at in another order
                self.assertGreater(comparison.seen["same code"],
                                   3 * comparison.seen["another code"])
                self.assertGreater(comparison.seen["forwarded"], 100)
