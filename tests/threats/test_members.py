"""What a member of tss may do beside what `keys` may do: both are tried, and docs/threat-model.md
has the table that comes out. Run by hand it prints the table where the document has another.
"""

import re
import struct

from commands import (CLEAR_CONTROL, CLOCK_SET, ENDORSEMENT_TEMPLATE, NV_READ_PUBLIC,
                      NV_UNDEFINE_SPACE, SIGN_TEMPLATE, by_owner, change_auth, clear,
                      dictionary_attack_parameters, evict, extend, hierarchy_control, nv, nv_define,
                      nv_read, nv_write, primary, set_policy, sign, with_handle)
from harness import SOURCE
from scenario import Machine, Scenario, done, made
from test_nv import VICTIM
from test_pcr import reset
from test_persistent import SIGNER, persist
from test_secrets import seal, seal_without_policy, unseal
from wire import (EMPTY_PASSWORD, ENDORSEMENT, LOCKOUT, OWNER, PLATFORM, command,
                  get_random, start_session)

BEGIN, END = "<!-- what members and keys may do: begin -->", "<!-- end -->"


def once(data):
    return lambda tpm, _: tpm.code(data)


def own_key(tpm, _):
    return tpm.code(sign(made(tpm, primary(template=SIGN_TEMPLATE))))


def own_secret(tpm, _):
    return unseal(tpm, seal(tpm))


def lock_by_wrong_passwords(tpm, _):
    """Refused where it does not come to that, whatever single tries are answered with."""
    protected = SIGN_TEMPLATE[:4] + struct.pack(">I", 0x00040072) + SIGN_TEMPLATE[8:]
    key = made(tpm, primary(template=protected, auth=b"right"))
    codes = [tpm.code(sign(key, b"wrong")) for _ in range(33)]
    return 0 if codes[-1] == 0x921 else 1


def bound_to_lockout(tpm, _):
    return tpm.code(start_session(bind=LOCKOUT))


ACTIONS = (
    ("get random numbers", once(get_random(8))),
    ("make a key and sign with it", own_key),
    ("seal a secret and unseal it", own_secret),
    ("see which NV indices there are, and their attributes",
     once(with_handle(NV_READ_PUBLIC, VICTIM))),
    ("unseal what somebody else has sealed, and one can read", unseal),
    ("use somebody else's persistent key", once(sign(SIGNER))),
    ("remove somebody else's persistent key", once(evict(SIGNER, SIGNER))),
    ("read somebody else's NV index by the owner's authorization", once(nv_read(VICTIM, 4))),
    ("write it", once(nv_write(VICTIM, b"gone"))),
    ("remove it", once(nv(NV_UNDEFINE_SPACE, VICTIM))),
    ("define NV indices", once(nv_define(0x01800100))),
    ("extend a PCR of the firmware's", once(extend(7))),
    ("reset PCR 16 or 23", once(reset(23))),
    ("make the endorsement key", once(primary(ENDORSEMENT, ENDORSEMENT_TEMPLATE))),
    ("lock the TPM for all by wrong passwords", lock_by_wrong_passwords),
    ("bind a session to the lockout authorization", bound_to_lockout),
    ("set the time between tries to nothing", once(dictionary_attack_parameters(32, 0, 0))),
    ("set the owner's password", once(change_auth(OWNER, b"mine"))),
    ("give the owner a hidden policy", once(set_policy(OWNER, bytes(32)))),
    ("switch the owner's hierarchy off", once(hierarchy_control(OWNER, OWNER, 0))),
    ("set the clock a month ahead",
     once(by_owner(CLOCK_SET, parameters=struct.pack(">Q", 30 * 24 * 3600 * 1000)))),
    ("forbid Clear", once(command(CLEAR_CONTROL, [LOCKOUT], EMPTY_PASSWORD, b"\1"))),
    ("use the platform's authority, where firmware leaves it", once(change_auth(PLATFORM, b"me"))),
    ("erase the TPM with all keys and secrets (Clear)", once(clear())),
)


def prepare(tpm):
    """What others have; returns the blob of what they have sealed."""
    done(tpm, dictionary_attack_parameters(32, 10000, 60))
    blob = seal_without_policy(tpm)
    persist(tpm, SIGNER)
    done(tpm, nv_define(VICTIM))
    done(tpm, nv_write(VICTIM, bytes(32)))
    return blob


class Members(Scenario):
    def word(self, session):
        """Each action has a TPM of its own: the first ones would decide the others."""
        def tried(attack):
            machine = Machine(self)
            victim = prepare(machine.node)
            tpm = machine.open("keys") if session else machine.node
            code = attack(tpm, victim)
            if session and code:
                self.assertTrue(machine.refusals(), "it failed without being refused")
            machine.end()
            return "yes" if code == 0 else "no"
        return tried

    def test_table(self):
        member, keys = self.word(False), self.word(True)
        lines = ["| action | member of `tss` | `keys` |", "|---|---|---|"]
        lines += [f"| {name} | {member(attack)} | {keys(attack)} |" for name, attack in ACTIONS]
        with open(SOURCE + "/docs/threat-model.md", encoding="utf-8") as file:
            text = file.read()
        documented = text.split(BEGIN)[1].split(END)[0].strip().splitlines()
        if documented != lines:
            print("\n".join(["", *lines]))
        self.assertEqual(documented, lines)


class Rows(Scenario):
    def test_each_row_has_its_test(self):
        """Every test that docs/threat-model.md names exists, and every row names one."""
        with open(SOURCE + "/docs/threat-model.md", encoding="utf-8") as file:
            rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", file.read(), re.MULTILINE)
        self.assertEqual([int(number) for number, _ in rows], list(range(1, 41)))
        for number, tests in rows:
            named = re.findall(r"`(threats|integration|unit)/(test[-_a-z]+)(?::(\w+))?`", tests)
            self.assertTrue(named, f"row {number} names no test")
            for part, file, test in named:
                with self.subTest(number, file=file, test=test):
                    path = f"{SOURCE}/tests/{part}/{file}{'.c' if part == 'unit' else '.py'}"
                    with open(path, encoding="utf-8") as source:
                        self.assertRegex(source.read(), rf"\b{test}\(")
