"""One threat: what it does over the raw node, and what becomes of the same bytes in a session.

A scenario has up to four parts: prepare(tpm) makes what others have on a fresh TPM, attack(tpm,
victim) sends the bytes and returns the response code that decides, damage(before, after) tells what
the raw node's attack has done, and refuse() repeats it in sessions on another fresh TPM, where
nothing may have changed but time. Facts are read from the TPM itself, past the broker.
"""

import re
import struct

from commands import (NV_OWNER_READ, NV_READ_PUBLIC, READ_CLOCK, READ_PUBLIC, evict, nv_read,
                      primary, take_tpm2b, with_handle)
from harness import SOURCE, TPMGATE_USERS, Broker, Swtpm, TestCase
from switch import Switch
from wire import CC_PCR_READ, REFUSED, Caller, command, get_capability, response_code

SHIPPED = ("basic", "keys", "unseal", "attest", "persist", "admin", "owner")
STORAGE_ROOT = 0x81000001
HOUR = 3600 * 1000  # of the TPM's clock

PT_PERMANENT, PT_STARTUP_CLEAR = 0x200, 0x201
LOCKOUT_AUTH_SET, DISABLE_CLEAR, IN_LOCKOUT = 1 << 2, 1 << 8, 1 << 9
PT_NV_COUNTERS, PT_LOCKOUT_COUNTER, PT_MAX_AUTH_FAIL = 0x20A, 0x20E, 0x20F
PT_LOCKOUT_INTERVAL, PT_LOCKOUT_RECOVERY = 0x210, 0x211
# Of the whole TPM and not of a moment: slots that are free now are left out.
LASTING = (PT_PERMANENT, PT_STARTUP_CLEAR, 0x202, 0x208, 0x209, PT_NV_COUNTERS, 0x20B, 0x20C,
           PT_LOCKOUT_COUNTER, PT_MAX_AUTH_FAIL, PT_LOCKOUT_INTERVAL, PT_LOCKOUT_RECOVERY, 0x212,
           0x213, 0x214)


def without(*names):
    """The strongest session that does not have the profiles NAMES."""
    return "+".join(name for name in SHIPPED if name not in names)


def made(tpm, data):
    """The handle that a command returns, which must succeed."""
    response = tpm.execute(data)
    assert response_code(response) == 0, f"{data[:16].hex()}...: {response.hex()}"
    return struct.unpack_from(">I", response, 10)[0]


def done(tpm, data):
    """The response of a command that must succeed."""
    response = tpm.execute(data)
    assert response_code(response) == 0, f"{data[:16].hex()}...: {response.hex()}"
    return response


def properties(tpm):
    listed = tpm.capability(6, 0x200)
    count = struct.unpack_from(">I", listed, 4)[0]
    return dict(struct.unpack_from(">II", listed, 8 + 8 * i) for i in range(count))


def read_clock(tpm):
    """Milliseconds, and how often the TPM was reset and restarted."""
    response = done(tpm, command(READ_CLOCK))
    return struct.unpack_from(">QII", response, 18)


def read_nv(tpm, index):
    """The public area of an index, and what is in it where the owner may read."""
    public = take_tpm2b(done(tpm, with_handle(NV_READ_PUBLIC, index)), 10)[0]
    attributes = struct.unpack_from(">I", public, 6)[0]
    content = None
    if attributes & NV_OWNER_READ:
        size = struct.unpack_from(">H", public, len(public) - 2)[0]
        response = tpm.execute(nv_read(index, size))
        content = response[10:] or response
    return public, content


def facts(tpm):
    """What an attack could change for others, as the TPM itself tells it."""
    table = properties(tpm)
    return {
        "properties": {number: table[number] for number in LASTING},
        "persistent": {handle: done(tpm, with_handle(READ_PUBLIC, handle))
                       for handle in tpm.handles(0x81000000)},
        "nv": {index: read_nv(tpm, index) for index in tpm.handles(0x01000000)},
        "policies": tpm.execute(get_capability(9, 0x40000000, 16)),
        "audited": tpm.execute(get_capability(4, 0, 254)),
        "pcrs": [tpm.execute(command(CC_PCR_READ, parameters=struct.pack(
            ">IHB", 1, bank, 3) + bytes(mask)))[14:] for bank in (4, 0x0B) for mask in (
                (0xFF, 0, 0), (0, 0xFF, 0), (0, 0, 0xFF))],
        "restarts": read_clock(tpm)[1:],
    }


def persist_storage_root(tpm, template=None):
    """What most machines have at 0x81000001; returns its handle."""
    key = made(tpm, primary() if template is None else primary(template=template))
    done(tpm, evict(key, STORAGE_ROOT))
    done(tpm, command(0x165, parameters=struct.pack(">I", key)))
    return STORAGE_ROOT


def open_to_members(*names):
    """The shipped profiles NAMES, but for the group that they are given without a prompt."""
    profiles = {}
    for name in names:
        with open(f"{SOURCE}/packaging/profiles.d/{name}.profile", encoding="utf-8") as file:
            text = file.read()
        if "\nGroups=" not in text:
            text = text.replace("[Profile]\n", "[Profile]\nGroups=tpmgate-users\n", 1)
        profiles[name] = text
    return profiles


class Machine:
    """A fresh software TPM, the raw node beside it, and a broker where one is started."""

    groups = [TPMGATE_USERS]

    def __init__(self, test):
        self.test = test
        self.swtpm = test.start(Swtpm)
        self.switch = test.start(Switch, self.swtpm)
        self.node = test.start(self.switch.direct)
        self.broker = None
        self.callers = {}
        self.sessions = []
        self.state = None  # what the broker before this one has recorded

    def serve(self, config="", spec="rm:unix:", **options):
        """Starts the broker on it, with every shipped profile open to carol's group."""
        self.broker = self.test.start(
            Broker, spec + self.switch.socket, arguments=["--no-polkit"], config=config,
            profiles=open_to_members(*SHIPPED), state=self.state, **options)
        self.state = self.broker.state
        return self.broker

    def open(self, profiles="keys", user="carol"):
        """A session of USER, who is in tpmgate-users."""
        if not self.broker:
            self.serve()
        if user not in self.callers:
            self.callers[user] = self.test.start(Caller, user, groups=self.groups)
        self.sessions.append(self.test.start(lambda: self.callers[user].open(profiles)))
        return self.sessions[-1]

    def end(self):
        """Stops the broker and its sessions: the next one, of this machine or another, has its
        socket."""
        for session in self.sessions:
            session.close()
        if self.broker:
            self.broker.stop()
        self.broker, self.sessions = None, []

    def refusals(self):
        """(command, rule, code) of what the log says was refused."""
        return [(name, rule, int(code, 16)) for name, rule, code in re.findall(
            r"refused (.+?) by rule (\S+) with 0x([0-9a-f]{8})", self.broker.process.logged())]


class Scenario(TestCase):
    def damage(self, attack, prepare=None):
        """Over the raw node: facts before and after, and what PREPARE made."""
        machine = Machine(self)
        victim = prepare(machine.node) if prepare else None
        before = facts(machine.node)
        code = attack(machine.node, victim)
        self.assertEqual(code, 0, f"the raw node refuses it too: {code:#010x}")
        return before, facts(machine.node)

    def refuse(self, attack, rule, prepare=None, strongest=without("owner"), code=REFUSED,
               also=("keys",)):
        """In sessions: refused with CODE, logged with RULE, and nothing has changed."""
        machine = Machine(self)
        victim = prepare(machine.node) if prepare else None
        before = facts(machine.node)
        clock = read_clock(machine.node)[0]
        for profiles in (*also, strongest):
            with self.subTest(profiles):
                try:
                    session = machine.open(profiles)
                    answer = attack(session, victim)
                    self.assertEqual(f"{answer:#010x}", f"{code:#010x}")
                    self.assertTrue(machine.refusals(), "nothing was logged")
                    name, logged_rule, logged_code = machine.refusals()[-1]
                    self.assertIn(logged_rule, (rule,) if isinstance(rule, str) else rule, name)
                    self.assertEqual(logged_code, code)
                    session.random()  # the session itself goes on
                    self.assertEqual(facts(machine.node), before)
                    self.assertLess(read_clock(machine.node)[0] - clock, HOUR)
                finally:
                    machine.end()

    def threat(self, attack, changed, rule, prepare=None, **options):
        """Both. CHANGED(before, after) is what the damage is, and must be true; None where it is
        that the attack has succeeded."""
        before, after = self.damage(attack, prepare)
        if changed:
            self.assertTrue(changed(before, after), "the raw node's attack left no damage")
        self.refuse(attack, rule, prepare, **options)


def failed(code):
    """0 where an authorization was tried and failed with a count, as an attack has it in mind."""
    return 0 if code & 0xBF == 0x8E else code or 1


def property_changed(number):
    return lambda before, after: before["properties"][number] != after["properties"][number]


def part_changed(name):
    return lambda before, after: before[name] != after[name]
