"""tpm2-tools of one user that share a software TPM through tpmgate-rm, a process for each step.

Objects and sessions travel from one tool to the next in context files. The profile here is an
administrator's own, `everything`: all commands that a profile can name, on all hierarchies, PCRs,
persistent keys and NV indices. So what is refused here is refused by the TPM itself, and each
scenario shows both: that the right input gives the right bytes, and that the wrong one does not.
"""

import concurrent.futures
import csv
import hashlib
import hmac
import os
import struct
import tempfile

from harness import SOURCE, USERS, WORLD, Broker, Swtpm, TestCase, run_as, user_environment
from wire import (ECC_STORAGE_TEMPLATE, NULL, Caller, Tpm, allow_failures, command,
                  create_primary, response_code, start_session, tpm2b)

COMMANDS = SOURCE + "/helper/relay/tpm-commands.csv"
CC_POLICY_COMMAND_CODE, CC_READ_PUBLIC, CC_POLICY_GET_DIGEST = 0x16C, 0x173, 0x189
LOADED_SESSIONS, SAVED_SESSIONS = 0x02000000, 0x03000000

MESSAGE = b"what is signed\n"
SECRET = b"what is sealed"
# More than one TPM2B_MAX_BUFFER, so that the tools use sequences.
LARGE = bytes(range(251)) * 41

NO_DA = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
SEALED = "fixedtpm|fixedparent|userwithauth|noda"
MOVABLE = "sensitivedataorigin|userwithauth|sign|decrypt"
PCR_23 = "tpm2_policypcr -l sha256:23"
NV = "0x01800001"
PERSISTENT = "0x81000100"

# Response codes of the TPM, as tools print them: the code, and P, S or handle with its number.
INTEGRITY, SIGNATURE, TICKET = "0x1DF", "0x2DB", "0x3E0"
NO_HANDLE, NOT_SAVED, UNAVAILABLE = "0x18B", "0x1CB", "0x12F"
AUTH_FAIL, BAD_AUTH, POLICY_FAIL, POLICY_CC = "0x98E", "0x9A2", "0x99D", "0xAA4"
BAD_SIGNATURE = "Verification failure"  # openssl's words


def everything():
    """The profile: what a profile can allow, all of it."""
    with open(COMMANDS, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    commands = [row["name"] for row in csv.DictReader(lines) if row["scope"] == "profile"]
    keys, indices = "0x81000000-0x817FFFFF", "0x01000000-0x01FFFFFF"
    return f"""[Profile]
Summary=everything that a profile can allow
Groups=tpmgate-users

[Allow]
Commands={";".join(commands)}
Capabilities=ALGS;HANDLES;COMMANDS;PP_COMMANDS;AUDIT_COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;\
ECC_CURVES;AUTH_POLICIES;ACT;{";".join(str(number) for number in range(11, 32))}
Hierarchies=OWNER;ENDORSEMENT;NULL;LOCKOUT
PolicySecret=OWNER;ENDORSEMENT
StorageRootKey=yes
UnsealForeign=yes
PCRs=0-23

[Handles]
UseKey={keys}
Evict={keys}
NvRead={indices}
NvWrite={indices}
NvDefine={indices}
NvAuthorize={indices}
"""


class RmTools(TestCase):
    """carol's tools in a directory of the test's own, and the TPM as it was, at the end."""

    leaves = set()  # what of the TPM's state a test changes for good

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.prepare()
        self.before = self.state()
        self.start_stack()
        self.directory = tempfile.mkdtemp(dir=f"{WORLD}/home/carol")
        os.chown(self.directory, USERS["carol"], USERS["carol"])
        self.write("message", MESSAGE)
        self.write("other", MESSAGE + b"or not")
        self.write("secret", SECRET)
        self.tools("tpm2_createprimary -C o -G ecc -c primary.ctx")

    def prepare(self):
        """What a TPM is to have before anybody uses it."""
        allow_failures(self.swtpm)

    def start_stack(self):
        self.start(Broker, self.swtpm, arguments=["--no-polkit"],
                   profiles={"everything": everything()})
        self.env = user_environment("carol")
        self.env["TPM2TOOLS_TCTI"] += ",profile=everything"

    def tearDown(self):
        after = self.state()
        changed = {key: value for key, value in after.items() if value != self.before[key]}
        self.assertEqual(changed.keys(), self.leaves, changed)

    def state(self):
        """Read from the TPM itself; it answers when the resource manager has left it."""
        tpm = Tpm.direct(self.swtpm)
        try:
            return dict(tpm.state(), loaded_sessions=tpm.capability(1, LOADED_SESSIONS),
                        saved_sessions=tpm.capability(1, SAVED_SESSIONS))
        finally:
            tpm.close()

    # Files in the test's directory.

    def write(self, name, data):
        with open(f"{self.directory}/{name}", "wb") as file:
            file.write(data)

    def read(self, name):
        with open(f"{self.directory}/{name}", "rb") as file:
            return file.read()

    # Tools: a line for each, of words that contain no space.

    def tool(self, line):
        return run_as("carol", line.split(), env=self.env, cwd=self.directory)

    def tools(self, *lines):
        """Runs LINES one after the other, all of which must work: what the last one printed."""
        for line in lines:
            result = self.tool(line)
            self.assertEqual(result.returncode, 0, f"{line}: {result.stderr}")
        return result.stdout

    def refused(self, line, reason):
        """A tool that must fail and say REASON: the TPM's response code, or the tool's words."""
        result = self.tool(line)
        self.assertNotEqual(result.returncode, 0, f"{line} went through: {result.stdout}")
        self.assertIn(reason.lower(), (result.stdout + result.stderr).lower(), line)

    # Steps that scenarios share.

    def key(self, name, options="-G ecc", parent="primary.ctx"):
        """Creates NAME.pub and NAME.priv, and loads them to NAME.ctx."""
        self.tools(f"tpm2_create -C {parent} {options} -u {name}.pub -r {name}.priv")
        self.load(name, parent)

    def load(self, name, parent="primary.ctx"):
        self.tools(f"tpm2_load -C {parent} -u {name}.pub -r {name}.priv -c {name}.ctx")

    def seal(self, name, options=""):
        self.key(name, f"-i secret {options}")

    def unseals(self, name, options=""):
        self.tools(f"tpm2_unseal -c {name}.ctx -o unsealed {options}")
        self.assertEqual(self.read("unsealed"), SECRET)

    def session(self, name, options="--policy-session"):
        self.tools(f"tpm2_startauthsession -S {name}.session {options}")

    def flush(self, *names):
        self.tools(*(f"tpm2_flushcontext {name}.session" for name in names))

    def satisfy(self, name, *steps):
        """A policy session NAME.session that went through STEPS."""
        self.session(name)
        self.tools(*(f"{step} -S {name}.session" for step in steps))

    def policy(self, name, *steps):
        """The digest that STEPS lead to, from a trial session, as NAME.policy."""
        self.session("trial", "")
        self.tools(*(f"{step} -S trial.session -L {name}.policy" for step in steps))
        self.flush("trial")

    def public_pem(self, name):
        self.tools(f"tpm2_readpublic -c {name}.ctx -f pem -o {name}.pem")

    def signature_holds(self, name, signature, message="message", options=""):
        """openssl finds SIGNATURE by the key in NAME.pem good for MESSAGE, not for another one."""
        check = f"openssl dgst -sha256 -verify {name}.pem {options} -signature {signature}"
        self.assertEqual(self.tools(f"{check} {message}").strip(), "Verified OK")
        self.refused(f"{check} other", BAD_SIGNATURE)

    def signs(self, name, options="", context=None):
        """The key signs, and openssl agrees; NAME.pem is its public part."""
        self.tools(f"tpm2_sign -c {context or name + '.ctx'} -g sha256 -f plain {options} "
                   "-o signature message")
        self.signature_holds(name, "signature")

    def attests(self, line, name, *contents):
        """LINE signs `attestation` into `signature` by the key NAME, with CONTENTS in it."""
        self.tools(line)
        self.public_pem(name)
        self.signature_holds(name, "signature", "attestation")
        attestation = self.read("attestation")
        self.assertTrue(attestation.startswith(b"\xffTCG"), attestation[:4])
        for content in contents:
            self.assertIn(content, attestation)

    def name_of(self, name):
        self.tools(f"tpm2_readpublic -c {name}.ctx -n {name}.name")
        return self.read(f"{name}.name")

    def openssl_key(self, name, algorithm="RSA"):
        """NAME.key and NAME.pem, made outside the TPM."""
        options = {"RSA": "rsa_keygen_bits:2048", "EC": "ec_paramgen_curve:P-256"}[algorithm]
        self.tools(f"openssl genpkey -algorithm {algorithm} -pkeyopt {options} -out {name}.key",
                   f"openssl pkey -in {name}.key -pubout -out {name}.pem")

    def openssl_signs(self, name, message):
        self.tools(f"openssl dgst -sha256 -sign {name}.key -out {message}.sig {message}")

    def authority(self):
        """A key outside the TPM whose public part is in authority.ctx."""
        self.openssl_key("authority")
        self.tools("tpm2_loadexternal -C o -G rsa -u authority.pem -c authority.ctx "
                   "-n authority.name")

    def forgive(self):
        """One wrong password was counted; the lockout authorization sets the counter back."""
        self.assertIn("TPM2_PT_LOCKOUT_COUNTER: 0x1", self.tools("tpm2_getcap properties-variable"))
        self.tools("tpm2_dictionarylockout --clear-lockout")

    def changed(self, name):
        """A copy of NAME, a context file, with another byte in what the TPM encrypted of it."""
        data = bytearray(self.read(name))
        data[100] ^= 1
        self.write("changed", data)
        return "changed"

    def extend(self, data=b"a"):
        self.tools(f"tpm2_pcrextend 23:sha256={hashlib.sha256(data).hexdigest()}")

    def reset(self):
        self.tools("tpm2_pcrreset 23")

    def pcr_23(self):
        self.tools("tpm2_pcrread sha256:23 -o pcr")
        return self.read("pcr")


class Keys(RmTools):
    def test_ecc_key(self):
        self.key("key")
        self.public_pem("key")
        self.signs("key")
        self.tools("tpm2_sign -c key.ctx -g sha256 -o tpm.sig message",
                   "tpm2_verifysignature -c key.ctx -g sha256 -m message -s tpm.sig")
        self.refused("tpm2_verifysignature -c key.ctx -g sha256 -m other -s tpm.sig", SIGNATURE)

    def test_rsa_key(self):
        self.tools("tpm2_createprimary -C o -G rsa -c rsa.ctx")
        self.key("key", "-G rsa", "rsa.ctx")
        self.public_pem("key")
        self.signs("key", "-s rsassa")
        self.tools("tpm2_sign -c key.ctx -g sha256 -s rsapss -f plain -o pss.sig message")
        self.signature_holds("key", "pss.sig", options="-sigopt rsa_padding_mode:pss")
        self.tools("tpm2_sign -c key.ctx -g sha256 -s rsassa -o tpm.sig message",
                   "tpm2_verifysignature -c key.ctx -g sha256 -m message -s tpm.sig")
        self.refused("tpm2_verifysignature -c key.ctx -g sha256 -m other -s tpm.sig", SIGNATURE)

    def test_key_below_another_parent(self):
        self.key("key")
        self.tools("tpm2_createprimary -C e -G ecc -c other.ctx")
        self.refused("tpm2_load -C other.ctx -u key.pub -r key.priv -c no.ctx", INTEGRITY)
        self.key("storage", "-G ecc -a restricted|decrypt|" + NO_DA)
        self.key("leaf", parent="storage.ctx")
        self.public_pem("leaf")
        self.signs("leaf")

    def test_public_key_from_outside(self):
        for algorithm, scheme in (("EC", "ecdsa"), ("RSA", "rsassa")):
            with self.subTest(algorithm):
                self.openssl_key("outside", algorithm)
                self.openssl_signs("outside", "message")
                kind = {"EC": "ecc", "RSA": "rsa"}[algorithm]
                self.tools(f"tpm2_loadexternal -C n -G {kind} -u outside.pem -c outside.ctx")
                check = f"tpm2_verifysignature -c outside.ctx -g sha256 -f {scheme} -s message.sig"
                self.tools(f"{check} -m message")
                self.refused(f"{check} -m other", SIGNATURE)

    def test_private_key_from_outside(self):
        """Loaded as it is, without a parent: its context is of the null hierarchy."""
        self.openssl_key("outside")
        self.tools("tpm2_loadexternal -C n -G rsa -r outside.key -c outside.ctx")
        self.signs("outside", "-s rsassa")
        self.refused(f"tpm2_evictcontrol -C o -c outside.ctx {PERSISTENT}", "0x282")

    def test_imported_keys(self):
        for algorithm, kind in (("EC", "ecc"), ("RSA", "rsa")):
            with self.subTest(algorithm):
                self.openssl_key("imported", algorithm)
                self.tools(f"tpm2_import -C primary.ctx -G {kind} -i imported.key "
                           "-u imported.pub -r imported.priv")
                self.load("imported")
                self.signs("imported", "-s rsassa" if kind == "rsa" else "")

    def test_persistent_key(self):
        self.key("key")
        self.public_pem("key")
        self.tools(f"tpm2_evictcontrol -C o -c key.ctx {PERSISTENT}")
        self.assertIn(PERSISTENT, self.tools("tpm2_getcap handles-persistent"))
        self.signs("key", context=PERSISTENT)
        self.refused(f"tpm2_evictcontrol -C o -c key.ctx {PERSISTENT}", "0x14C")
        self.tools(f"tpm2_evictcontrol -C o -c {PERSISTENT}")
        self.assertEqual(self.tools("tpm2_getcap handles-persistent"), "")
        self.refused(f"tpm2_sign -c {PERSISTENT} -g sha256 -o signature message", NO_HANDLE)

    def test_persistent_parent(self):
        self.tools(f"tpm2_evictcontrol -C o -c primary.ctx {PERSISTENT}")
        self.key("key", parent=PERSISTENT)
        self.public_pem("key")
        self.signs("key")
        self.tools(f"tpm2_evictcontrol -C o -c {PERSISTENT}")
        self.signs("key")

    def test_password_of_a_key(self):
        """A key keeps its old password in its old private part."""
        self.key("key", f"-G ecc -p old -a sign|{NO_DA}")
        self.public_pem("key")
        self.signs("key", "-p old")
        self.tools("tpm2_changeauth -C primary.ctx -c key.ctx -p old -r new.priv new",
                   "tpm2_load -C primary.ctx -u key.pub -r new.priv -c new.ctx")
        self.signs("key", "-p new", "new.ctx")
        self.refused("tpm2_sign -c new.ctx -p old -g sha256 -o signature message", BAD_AUTH)
        self.signs("key", "-p old")

    def test_password_of_a_hierarchy(self):
        self.tools("tpm2_changeauth -c o secret")
        primary = "tpm2_createprimary -C o -G ecc -c again.ctx"
        self.refused(primary, BAD_AUTH)
        self.tools(f"{primary} -P secret")
        self.assertEqual(self.name_of("again"), self.name_of("primary"))
        self.tools("tpm2_changeauth -c o -p secret", primary)

    def test_five_keys_in_turn(self):
        names = [f"key{number}" for number in range(5)]
        for name in names:
            self.tools(f"tpm2_create -C primary.ctx -G ecc -c {name}.ctx")
            self.public_pem(name)
        self.assertEqual(len({self.name_of(name) for name in names}), 5)
        for name in names + names[::-1] + names[::2]:
            self.signs(name)
        self.refused("openssl dgst -sha256 -verify key1.pem -signature signature message",
                     BAD_SIGNATURE)

    def test_context_that_was_changed(self):
        self.key("key")
        self.public_pem("key")
        self.refused(f"tpm2_sign -c {self.changed('key.ctx')} -g sha256 -o signature message",
                     INTEGRITY)
        self.signs("key")

    def test_clear(self):
        """A new owner: keys and contexts of the old one are worth nothing."""
        self.leaves = {"properties"}  # the new one begins with three failures again
        self.key("key")
        self.tools("tpm2_clear -c l")
        self.refused("tpm2_sign -c key.ctx -g sha256 -o signature message", INTEGRITY)
        self.tools("tpm2_createprimary -C o -G ecc -c new.ctx")
        self.refused("tpm2_load -C new.ctx -u key.pub -r key.priv -c key.ctx", INTEGRITY)


class Sealing(RmTools):
    """Sealed data, and the policies that open it."""

    def test_password(self):
        self.seal("sealed", "-p password")
        self.unseals("sealed", "-p password")
        # Sealed data counts wrong passwords, and the lockout authorization forgives them.
        self.refused("tpm2_unseal -c sealed.ctx -p guess", AUTH_FAIL)
        self.forgive()
        self.unseals("sealed", "-p password")

    def test_policy_pcr(self):
        self.policy("pcr", PCR_23)
        self.seal("sealed", "-L pcr.policy")
        self.satisfy("policy", PCR_23)
        self.unseals("sealed", "-p session:policy.session")
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session", POLICY_FAIL)
        self.extend()
        self.tools("tpm2_policyrestart -S policy.session", f"{PCR_23} -S policy.session")
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session", POLICY_FAIL)
        self.reset()
        self.tools("tpm2_policyrestart -S policy.session", f"{PCR_23} -S policy.session")
        self.unseals("sealed", "-p session:policy.session")
        self.flush("policy")

    def test_pcr_that_changes_after_its_policy(self):
        """The session notices; not for the resettable PCRs, whose changes a TPM does not count."""
        pcr = "tpm2_policypcr -l sha256:10"
        self.policy("pcr", pcr)
        self.seal("sealed", "-L pcr.policy")
        self.satisfy("policy", pcr)
        self.tools(f"tpm2_pcrextend 10:sha256={'11' * 32}")
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session", "0x128")
        self.flush("policy")
        self.leaves = {"pcrs"}

    def test_policy_password(self):
        self.policy("password", "tpm2_policypassword")
        self.seal("sealed", "-p password -L password.policy -a fixedtpm|fixedparent|noda")
        self.satisfy("policy", "tpm2_policypassword")
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session+guess", BAD_AUTH)
        self.unseals("sealed", "-p session:policy.session+password")
        self.refused("tpm2_unseal -c sealed.ctx -p password", UNAVAILABLE)
        self.flush("policy")

    def test_policy_authvalue(self):
        self.policy("authvalue", "tpm2_policyauthvalue")
        self.seal("sealed", "-p password -L authvalue.policy -a fixedtpm|fixedparent|noda")
        self.satisfy("policy", "tpm2_policyauthvalue")
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session+guess", BAD_AUTH)
        self.flush("policy")
        self.satisfy("policy", "tpm2_policyauthvalue")
        self.unseals("sealed", "-p session:policy.session+password")
        self.flush("policy")

    def test_policy_or(self):
        """Either of two PCR values opens it, a third does not."""
        self.policy("first", PCR_23)
        self.extend()
        self.policy("second", PCR_23)
        either = "tpm2_policyor -l sha256:first.policy,second.policy"
        self.policy("either", either)
        self.seal("sealed", "-L either.policy")
        for steps in (), (self.reset,):
            for step in steps:
                step()
            self.satisfy("policy", PCR_23, either)
            self.unseals("sealed", "-p session:policy.session")
            self.flush("policy")
        self.extend(b"b")
        self.satisfy("policy", PCR_23)
        self.refused(f"{either} -S policy.session", "0x1C4")
        self.flush("policy")
        self.reset()

    def test_policy_signed(self):
        """A signature over the session's own nonce opens it, in that session only."""
        self.authority()
        signed = "tpm2_policysigned -g sha256 -f rsassa -c authority.ctx"
        self.write("nothing", bytes(4))
        self.openssl_signs("authority", "nothing")
        self.policy("signed", f"{signed} -s nothing.sig")
        self.seal("sealed", "-L signed.policy")
        for name in "first", "second":
            self.session(name)
            self.tools(f"{signed} -S {name}.session -x --raw-data {name}.raw")
            self.openssl_signs("authority", f"{name}.raw")
        self.assertNotEqual(self.read("first.raw"), self.read("second.raw"))
        self.refused(f"{signed} -S first.session -x -s second.raw.sig", "0x5DB")
        for name in "first", "second":
            self.tools(f"{signed} -S {name}.session -x -s {name}.raw.sig")
            self.unseals("sealed", f"-p session:{name}.session")
            self.flush(name)

    def test_policy_ticket(self):
        """A signature that expires gives a ticket, which opens later sessions."""
        self.authority()
        signed = "tpm2_policysigned -g sha256 -f rsassa -c authority.ctx"
        self.write("nothing", bytes(4))
        self.openssl_signs("authority", "nothing")
        self.policy("signed", f"{signed} -s nothing.sig")
        self.seal("sealed", "-L signed.policy")
        self.session("policy")
        self.tools(f"{signed} -S policy.session -x -t -600 --raw-data raw")
        self.openssl_signs("authority", "raw")
        self.tools(f"{signed} -S policy.session -x -t -600 -s raw.sig --ticket ticket "
                   "--timeout timeout")
        self.flush("policy")
        ticket = "tpm2_policyticket -n authority.name --timeout timeout --ticket"
        self.satisfy("policy", f"{ticket} ticket")
        self.unseals("sealed", "-p session:policy.session")
        data = self.read("ticket")
        self.write("changed", data[:-1] + bytes([data[-1] ^ 1]))
        self.refused(f"{ticket} changed -S policy.session", "0x5E0")
        self.flush("policy")

    def test_policy_authorize(self):
        """An authority approves PCR values after the data was sealed."""
        self.authority()
        self.policy("authorized", "tpm2_policyauthorize -n authority.name")
        self.seal("sealed", "-L authorized.policy")
        self.extend()
        self.policy("pcr", PCR_23)
        self.openssl_signs("authority", "pcr.policy")
        self.tools("tpm2_verifysignature -c authority.ctx -g sha256 -f rsassa -m pcr.policy "
                   "-s pcr.policy.sig -t ticket")
        authorize = "tpm2_policyauthorize -i pcr.policy -n authority.name -t ticket"
        self.satisfy("policy", PCR_23, authorize)
        self.unseals("sealed", "-p session:policy.session")
        self.reset()
        self.tools("tpm2_policyrestart -S policy.session", f"{PCR_23} -S policy.session")
        self.refused(f"{authorize} -S policy.session", "0x1C4")
        self.flush("policy")

    def test_policy_secret(self):
        """Proven by the owner's authorization, and by the password of a key."""
        self.key("key", f"-G ecc -p password -a sign|{NO_DA}")
        owner, key = "tpm2_policysecret -c o", "tpm2_policysecret -c key.ctx"
        self.policy("both", owner, f"{key} password")
        self.seal("sealed", "-L both.policy")
        self.satisfy("policy", owner)
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session", POLICY_FAIL)
        self.refused(f"{key} -S policy.session guess", BAD_AUTH)
        self.tools(f"{key} -S policy.session password")
        self.unseals("sealed", "-p session:policy.session")
        self.flush("policy")

    def test_policy_command_code(self):
        restricted = "tpm2_policycommandcode TPM2_CC_Unseal"
        self.policy("unseal", restricted)
        self.seal("sealed", "-L unseal.policy")
        self.satisfy("policy", restricted)
        self.unseals("sealed", "-p session:policy.session")
        self.policy("sign", "tpm2_policycommandcode TPM2_CC_Sign")
        self.key("key", f"-G ecc -L sign.policy -a sign|{NO_DA.replace('|userwithauth', '')}")
        self.public_pem("key")
        self.refused("tpm2_sign -c key.ctx -g sha256 -o signature message", UNAVAILABLE)
        self.tools("tpm2_policycommandcode TPM2_CC_Sign -S policy.session")
        self.signs("key", "-p session:policy.session")
        self.tools("tpm2_policycommandcode TPM2_CC_Sign -S policy.session")
        self.refused("tpm2_certify -c primary.ctx -C key.ctx -p session:policy.session -g sha256 "
                     "-o attestation -s signature", POLICY_CC)
        self.flush("policy")

    def test_policy_nv(self):
        """It opens as long as a number in NV is below ten."""
        self.tools(f"tpm2_nvdefine -C o -s 8 -a ownerwrite|authread|ownerread|no_da {NV}")
        self.write("ten", struct.pack(">Q", 10))
        below = f"tpm2_policynv -C o -i ten {NV} ult"
        self.write("number", struct.pack(">Q", 9))
        self.tools(f"tpm2_nvwrite -C o -i number {NV}")
        self.policy("below", below)
        self.seal("sealed", "-L below.policy")
        self.satisfy("policy", below)
        self.unseals("sealed", "-p session:policy.session")
        self.tools(f"tpm2_nvwrite -C o -i ten {NV}")
        self.refused(f"{below} -S policy.session", "0x126")
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session", POLICY_FAIL)
        self.flush("policy")
        self.tools(f"tpm2_nvundefine -C o {NV}")

    def test_policy_authorize_nv(self):
        """It opens to whatever policy an NV index holds at the time."""
        self.tools(f"tpm2_nvdefine -C o -s 34 -a ownerwrite|ownerread {NV}")
        authorize = f"tpm2_policyauthorizenv -C o {NV}"
        sha256 = struct.pack(">H", 0x0B)
        self.policy("pcr", PCR_23)
        self.write("content", sha256 + self.read("pcr.policy"))
        self.tools(f"tpm2_nvwrite -C o -i content {NV}")
        self.policy("held", PCR_23, authorize)
        self.seal("sealed", "-L held.policy")
        self.satisfy("policy", PCR_23, authorize)
        self.unseals("sealed", "-p session:policy.session")
        self.write("content", sha256 + bytes(32))
        self.tools(f"tpm2_nvwrite -C o -i content {NV}", f"{PCR_23} -S policy.session")
        self.refused(f"{authorize} -S policy.session", "(0x84)")
        self.flush("policy")
        self.tools(f"tpm2_nvundefine -C o {NV}")

    def test_duplication_to_another_parent(self):
        self.tools("tpm2_createprimary -C e -G ecc -c new.ctx",
                   "tpm2_createprimary -C n -G ecc -c third.ctx")
        for name in "new", "third":
            self.name_of(name)
        self.policy("move", "tpm2_policyduplicationselect -N new.name")
        self.key("key", f"-G ecc -L move.policy -a {MOVABLE}")
        self.name_of("key")
        self.public_pem("key")
        select = "tpm2_policyduplicationselect -n key.name -S policy.session -N"
        duplicate = "tpm2_duplicate -c key.ctx -G null -p session:policy.session -s seed -r moved"
        self.session("policy")
        self.tools(f"{select} third.name")
        self.refused(f"{duplicate} -C third.ctx", POLICY_FAIL)
        self.tools("tpm2_policyrestart -S policy.session", f"{select} new.name",
                   f"{duplicate} -C new.ctx")
        self.flush("policy")
        arrive = "tpm2_import -u key.pub -i moved -s seed -r arrived.priv"
        self.refused(f"{arrive} -C third.ctx", "0x3DF")
        self.tools(f"{arrive} -C new.ctx",
                   "tpm2_load -C new.ctx -u key.pub -r arrived.priv -c arrived.ctx")
        self.signs("key", context="arrived.ctx")


class Nv(RmTools):
    def define(self, size, attributes, options=""):
        self.tools(f"tpm2_nvdefine -C o -s {size} -a {attributes} {options} {NV}")

    def undefine(self):
        self.tools(f"tpm2_nvundefine -C o {NV}")
        self.refused(f"tpm2_nvreadpublic {NV}", NO_HANDLE)

    def content(self, options="-C o"):
        self.tools(f"tpm2_nvread {options} -o content {NV}")
        return self.read("content")

    def test_ordinary_index(self):
        self.define(32, "authread|authwrite|ownerread|no_da", "-p password")
        self.refused(f"tpm2_nvread -C o -s 32 {NV}", "0x14A")
        self.tools(f"tpm2_nvwrite -P password -i secret {NV}",
                   f"tpm2_nvwrite -P password -i secret --offset 16 {NV}")
        expected = SECRET.ljust(16, b"\xff") + SECRET.ljust(16, b"\xff")
        self.assertEqual(self.content(), expected)
        self.assertEqual(self.content("-P password -s 8 --offset 16"), SECRET[:8])
        self.refused(f"tpm2_nvread -P guess {NV}", BAD_AUTH)
        self.refused(f"tpm2_nvwrite -C o -i secret {NV}", "0x149")
        self.undefine()

    def test_counter(self):
        self.define(8, "nt=counter|ownerread|ownerwrite")
        self.tools(f"tpm2_nvincrement -C o {NV}")
        first, = struct.unpack(">Q", self.content())
        self.tools(f"tpm2_nvincrement -C o {NV}", f"tpm2_nvincrement -C o {NV}")
        self.assertEqual(struct.unpack(">Q", self.content()), (first + 2,))
        self.write("number", bytes(8))
        self.refused(f"tpm2_nvwrite -C o -i number {NV}", "(0x82)")
        self.undefine()

    def test_bits(self):
        self.define(8, "nt=bits|ownerread|ownerwrite")
        self.tools(f"tpm2_nvsetbits -C o -i 0x8001 {NV}", f"tpm2_nvsetbits -C o -i 0x10 {NV}")
        self.assertEqual(self.content(), struct.pack(">Q", 0x8011))
        self.refused(f"tpm2_nvincrement -C o {NV}", "0x00000282")
        self.undefine()

    def test_extended_index(self):
        self.define(32, "nt=extend|ownerread|ownerwrite")
        digest = bytes(32)
        for data in SECRET, MESSAGE:
            self.write("data", data)
            self.tools(f"tpm2_nvextend -C o -i data {NV}")
            digest = hashlib.sha256(digest + data).digest()
        self.assertEqual(self.content(), digest)
        self.undefine()

    def test_certified_index(self):
        self.key("key")
        self.define(len(SECRET), "ownerread|ownerwrite")
        self.tools(f"tpm2_nvwrite -C o -i secret {NV}")
        self.attests("tpm2_nvcertify -C key.ctx -c o -g sha256 -f plain -o signature -q abcdef "
                     f"--attestation attestation --size {len(SECRET)} {NV}",
                     "key", SECRET, bytes.fromhex("abcdef"))
        self.undefine()

    def test_locks(self):
        self.define(len(SECRET), "ownerread|ownerwrite|read_stclear|writedefine")
        self.tools(f"tpm2_nvwrite -C o -i secret {NV}", f"tpm2_nvwritelock -C o {NV}")
        self.refused(f"tpm2_nvwrite -C o -i secret {NV}", "0x148")
        self.assertEqual(self.content(), SECRET)
        self.tools(f"tpm2_nvreadlock -C o {NV}")
        self.refused(f"tpm2_nvread -C o {NV}", "0x148")
        self.undefine()

    def test_index_with_a_policy(self):
        self.policy("pcr", PCR_23)
        self.define(len(SECRET), "policyread|policywrite", "-L pcr.policy")
        self.satisfy("policy", PCR_23)
        self.tools(f"tpm2_nvwrite -C {NV} -P session:policy.session -i secret {NV}",
                   f"{PCR_23} -S policy.session")
        self.assertEqual(self.content(f"-C {NV} -P session:policy.session"), SECRET)
        self.refused(f"tpm2_nvread -C o {NV}", "0x149")
        self.extend()
        self.tools(f"{PCR_23} -S policy.session")
        self.refused(f"tpm2_nvread -C {NV} -P session:policy.session {NV}", POLICY_FAIL)
        self.reset()
        self.flush("policy")
        self.undefine()

    def test_pin(self):
        """The second wrong PIN in a row blocks the index, until its owner forgives."""
        self.define(8, "nt=pinfail|ownerwrite|ownerread|authread|no_da", "-p 1234")
        count = struct.Struct(">II")
        self.write("limit", count.pack(0, 2))
        self.tools(f"tpm2_nvwrite -C o -i limit {NV}")
        self.assertEqual(self.content("-P 1234"), count.pack(0, 2))
        self.refused(f"tpm2_nvread -P 4321 {NV}", BAD_AUTH)
        self.assertEqual(self.content(), count.pack(1, 2))
        self.assertEqual(self.content("-P 1234"), count.pack(0, 2))
        for _ in range(2):
            self.refused(f"tpm2_nvread -P 4321 {NV}", BAD_AUTH)
        self.refused(f"tpm2_nvread -P 1234 {NV}", UNAVAILABLE)
        self.assertEqual(self.content(), count.pack(2, 2))
        self.tools(f"tpm2_nvwrite -C o -i limit {NV}")
        self.assertEqual(self.content("-P 1234"), count.pack(0, 2))
        self.undefine()


class Attestation(RmTools):
    def test_certified_key(self):
        self.key("signer")
        self.key("key")
        self.attests("tpm2_certify -c key.ctx -C signer.ctx -g sha256 -f plain -o attestation "
                     "-s signature", "signer", self.name_of("key"))
        self.assertNotIn(self.name_of("signer"), self.read("attestation"))

    def test_certified_creation(self):
        self.key("signer")
        for name in "key", "another":
            self.key(name, f"-G ecc -d {name}.digest -t {name}.ticket")
        certify = ("tpm2_certifycreation -C signer.ctx -c key.ctx -g sha256 -f plain -o signature "
                   "--attestation attestation -d")
        self.attests(f"{certify} key.digest -t key.ticket", "signer", self.name_of("key"),
                     self.read("key.digest"))
        self.refused(f"{certify} key.digest -t another.ticket", "0x4E0")
        self.refused(f"{certify} another.digest -t another.ticket", "0x4E0")

    def test_quote(self):
        self.key("key")
        self.public_pem("key")
        self.extend()
        quote = "tpm2_quote -c key.ctx -l sha256:16,23 -q abcdef -g sha256 -m attestation"
        self.tools(f"{quote} -s quote -o pcrs")
        check = "tpm2_checkquote -u key.pem -m attestation -s quote -f pcrs -g sha256 -q"
        self.tools(f"{check} abcdef")
        self.refused(f"{check} abcd00", "nonce")
        pcrs = hashlib.sha256(bytes(32) + self.pcr_23()).digest()
        self.attests(f"{quote} -s signature -f plain", "key", bytes.fromhex("abcdef"), pcrs)
        # A quote of other values does not go with the values of before.
        self.extend()
        self.tools(f"{quote} -s quote")
        self.refused(f"{check} abcdef", "PCR values failed to match")
        self.reset()

    def test_time(self):
        self.key("key")
        self.attests("tpm2_gettime -c key.ctx -g sha256 -f plain -q abcdef -o signature "
                     "--attestation attestation", "key", bytes.fromhex("abcdef"))

    def credential(self, algorithm, scheme):
        """A secret for one attestation key below this endorsement key, which no other one gets."""
        self.tools(f"tpm2_createek -G {algorithm} -c ek.ctx -u ek.pub")
        for name in "ak", "another":
            self.tools(f"tpm2_createak -C ek.ctx -c {name}.ctx -G {algorithm} -g sha256 "
                       f"-s {scheme} -n {name}.name")
        self.tools("tpm2_makecredential -u ek.pub -s secret -o credential -n "
                   + self.read("ak.name").hex())
        activate = ("tpm2_activatecredential -C ek.ctx -i credential -o activated "
                    "-P session:policy.session -c")
        self.satisfy("policy", "tpm2_policysecret -c e")
        self.refused(f"{activate} another.ctx", INTEGRITY)
        self.tools(f"{activate} ak.ctx")
        self.assertEqual(self.read("activated"), SECRET)
        self.refused(f"{activate} ak.ctx", "0xA9D")
        self.flush("policy")

    def test_credential_ecc(self):
        self.credential("ecc", "ecdsa")

    def test_credential_rsa(self):
        self.credential("rsa", "rsassa")

    def test_restricted_key(self):
        """It signs only what the TPM itself hashed, and says so by a ticket."""
        self.key("key", f"-G ecc256:ecdsa-sha256:null -a restricted|sign|{NO_DA}")
        self.public_pem("key")
        self.write("large", LARGE)
        sign = "tpm2_sign -c key.ctx -g sha256 -f plain -o signature -d digest"
        self.tools("tpm2_hash -C o -g sha256 -o digest -t ticket large")
        self.assertEqual(self.read("digest"), hashlib.sha256(LARGE).digest())
        self.refused(sign, TICKET)
        self.tools(f"{sign} -t ticket")
        self.signature_holds("key", "signature", "large")
        self.write("digest", hashlib.sha256(MESSAGE).digest())
        self.refused(f"{sign} -t ticket", TICKET)

    def test_pcr_event(self):
        self.write("event", LARGE)
        self.tools("tpm2_pcrevent 23 event")
        self.assertEqual(self.pcr_23(),
                         hashlib.sha256(bytes(32) + hashlib.sha256(LARGE).digest()).digest())
        self.reset()
        self.assertEqual(self.pcr_23(), bytes(32))


class Cryptography(RmTools):
    def test_hash(self):
        self.write("large", LARGE)
        for data, name in ((MESSAGE, "message"), (LARGE, "large"), (LARGE, "large")):
            for algorithm in "sha256", "sha384":
                self.tools(f"tpm2_hash -C n -g {algorithm} -o digest {name}")
                self.assertEqual(self.read("digest"), hashlib.new(algorithm, data).digest())

    def test_hmac(self):
        """With a key that is known outside too."""
        raw = bytes(range(32))
        self.write("raw", raw)
        self.write("large", LARGE)
        self.tools("tpm2_import -C primary.ctx -G hmac -i raw -u key.pub -r key.priv")
        self.load("key")
        for data, name in ((MESSAGE, "message"), (LARGE, "large")):
            self.tools(f"tpm2_hmac -c key.ctx -o code {name}")
            self.assertEqual(self.read("code"), hmac.new(raw, data, "sha256").digest())
        self.key("another", "-G hmac")
        self.tools("tpm2_hmac -c another.ctx -o code message")
        self.assertNotEqual(self.read("code"), hmac.new(raw, MESSAGE, "sha256").digest())

    def test_aes(self):
        raw, iv = bytes(range(16)), bytes(range(16, 32))
        self.write("raw", raw)
        self.write("iv", iv)
        self.write("large", LARGE)
        self.tools("tpm2_import -C primary.ctx -G aes -i raw -u key.pub -r key.priv")
        self.load("key")
        crypt = "tpm2_encryptdecrypt -c key.ctx -G cfb -t iv"
        for name in "message", "large":
            self.tools(f"{crypt} -o encrypted {name}",
                       f"openssl enc -aes-128-cfb -K {raw.hex()} -iv {iv.hex()} -in {name} "
                       "-out expected", f"{crypt} -d -o decrypted encrypted")
            self.assertEqual(self.read("encrypted"), self.read("expected"))
            self.assertEqual(self.read("decrypted"), self.read(name))
        self.write("iv", bytes(16))
        self.tools(f"{crypt} -d -o decrypted encrypted")
        self.assertNotEqual(self.read("decrypted"), LARGE)

    def test_rsa_encryption(self):
        self.key("key", f"-G rsa -a decrypt|{NO_DA}")
        self.public_pem("key")
        decrypt = "tpm2_rsadecrypt -c key.ctx -o decrypted -s"
        self.tools("tpm2_rsaencrypt -c key.ctx -o encrypted -s rsaes secret",
                   f"{decrypt} rsaes encrypted")
        self.assertEqual(self.read("decrypted"), SECRET)
        self.refused(f"{decrypt} oaep encrypted", "Esys_RSA_Decrypt")
        self.tools("openssl pkeyutl -encrypt -pubin -inkey key.pem -in other -out encrypted "
                   "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256",
                   f"{decrypt} oaep encrypted")
        self.assertEqual(self.read("decrypted"), self.read("other"))

    def test_key_agreement(self):
        """Both ways: what the TPM agrees with itself, and with openssl."""
        self.key("key", f"-G ecc -a decrypt|{NO_DA}")
        self.public_pem("key")
        self.tools("tpm2_ecdhkeygen -c key.ctx -u ephemeral -o shared",
                   "tpm2_ecdhzgen -c key.ctx -u ephemeral -o again")
        self.assertEqual(self.read("shared"), self.read("again"))
        self.openssl_key("outside", "EC")
        self.tools("openssl pkey -pubin -in outside.pem -outform DER -out outside.der")
        point = self.read("outside.der")[-64:]
        size = struct.Struct(">H")
        coordinates = b"".join(size.pack(32) + part for part in (point[:32], point[32:]))
        self.write("ephemeral", size.pack(len(coordinates)) + coordinates)
        self.tools("tpm2_ecdhzgen -c key.ctx -u ephemeral -o shared",
                   "openssl pkeyutl -derive -inkey outside.key -peerkey key.pem -out x")
        self.assertIn(size.pack(32) + self.read("x"), self.read("shared"))
        self.write("ephemeral", size.pack(len(coordinates)) + coordinates[:-1] + b"\0")
        self.refused("tpm2_ecdhzgen -c key.ctx -u ephemeral -o no", "0x1E7")


class Sessions(RmTools):
    def test_hmac_session_with_encryption(self):
        """One salted and bound session, encrypting both ways, through several tools."""
        self.session("hmac", "--hmac-session -c primary.ctx")
        self.tools("tpm2_create -C primary.ctx -P session:hmac.session -i secret -p password "
                   f"-a {SEALED} -u sealed.pub -r sealed.priv")
        shown = self.tools("tpm2_sessionconfig hmac.session")
        for attribute in "decrypt", "encrypt", "continuesession":
            self.assertIn(attribute, shown)
        self.tools("tpm2_load -C primary.ctx -P session:hmac.session -u sealed.pub -r sealed.priv "
                   "-c sealed.ctx")
        self.unseals("sealed", "-p session:hmac.session+password")
        self.refused("tpm2_unseal -c sealed.ctx -p session:hmac.session+guess", AUTH_FAIL)
        # Bound to a key that counts wrong passwords, the session counts them everywhere.
        self.forgive()
        self.unseals("sealed", "-p session:hmac.session+password")
        self.flush("hmac")

    def test_bound_session(self):
        """Bound to a key with a password: with the wrong one the session proves nothing."""
        self.key("key", "-G ecc -p password")
        self.public_pem("key")
        bind = "--hmac-session --bind-context key.ctx --bind-auth"
        self.session("bound", f"{bind} password --tpmkey-context primary.ctx")
        self.signs("key", "-p session:bound.session+password")
        self.signs("key", "-p session:bound.session+password")
        self.flush("bound")
        self.session("bound", f"{bind} guess")
        self.refused("tpm2_sign -c key.ctx -p session:bound.session+guess -g sha256 -o signature "
                     "message", AUTH_FAIL)
        self.flush("bound")
        self.forgive()

    def test_audit_session(self):
        """The digest that the TPM signs is that of the commands, computed here again."""
        self.key("key")
        self.session("audit", "--audit-session")
        digest = bytes(32)
        for size in 8, 16:
            self.tools(f"tpm2_getrandom {size} -S audit.session --cphash command "
                       "--rphash response -o random")
            digest = hashlib.sha256(
                digest + self.read("command")[-32:] + self.read("response")[-32:]).digest()
            self.attests("tpm2_getsessionauditdigest -c key.ctx -g sha256 -f plain -m attestation "
                         "-s signature -S audit.session", "key", digest)
        self.flush("audit")

    def test_several_sessions_at_once(self):
        """Four sessions in files, each of which goes on where it was."""
        self.policy("pcr", PCR_23)
        command = "tpm2_policycommandcode TPM2_CC_Unseal"
        self.policy("both", PCR_23, command)
        self.seal("first", "-L pcr.policy")
        self.seal("second", "-L both.policy")
        self.seal("third", "-p password")
        for name in "first", "second":
            self.session(name)
        self.session("hmac", "--hmac-session -c primary.ctx")
        self.session("trial", "")
        names = ("first", "second", "hmac", "trial")
        for name in "second", "trial", "first":
            self.tools(f"{PCR_23} -S {name}.session")
        self.unseals("third", "-p session:hmac.session+password")
        self.refused("tpm2_unseal -c second.ctx -p session:second.session", POLICY_FAIL)
        for name in "trial", "second":
            self.tools(f"{command} -S {name}.session -L {name}.digest")
        self.assertEqual(self.read("trial.digest"), self.read("both.policy"))
        self.unseals("first", "-p session:first.session")
        self.unseals("third", "-p session:hmac.session+password")
        self.unseals("second", "-p session:second.session")
        self.flush(*names)

    def test_session_that_was_flushed(self):
        self.seal("sealed", f"-p password -a {SEALED}")
        self.session("hmac", "--hmac-session")
        kept = self.read("hmac.session")
        self.unseals("sealed", "-p session:hmac.session+password")
        # The same session as it was before: a TPM loads each saved state once.
        self.write("old.session", kept)
        self.refused("tpm2_unseal -c sealed.ctx -p session:old.session+password", NOT_SAVED)
        self.unseals("sealed", "-p session:hmac.session+password")
        self.flush("hmac")
        self.refused("tpm2_unseal -c sealed.ctx -p session:hmac.session+password", NOT_SAVED)
        self.refused("tpm2_flushcontext hmac.session", NOT_SAVED)

    def test_session_that_was_changed(self):
        self.session("policy")
        self.refused(f"{PCR_23} -S {self.changed('policy.session')}", INTEGRITY)
        self.tools(f"{PCR_23} -S policy.session")
        self.flush("policy")


class AtOnce(RmTools):
    """Tools that run at the same time, four of them at any moment."""

    STEPS = (PCR_23, "tpm2_policycommandcode TPM2_CC_Unseal")

    def together(self, work, names):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(work, names))

    def test_signatures(self):
        for name in "first", "second":
            self.key(name)
            self.public_pem(name)
        signatures = [(name, f"{name}-{number}") for number in range(8)
                      for name in ("first", "second")]

        def sign(pair):
            name, signature = pair
            self.tools(f"tpm2_sign -c {name}.ctx -g sha256 -f plain -o {signature} message")
            self.signature_holds(name, signature)

        self.together(sign, signatures)

    def test_policy_sessions(self):
        self.policy("both", *self.STEPS)
        self.seal("sealed", "-L both.policy")

        def unseal(name):
            self.satisfy(name, *self.STEPS)
            self.tools(f"tpm2_unseal -c sealed.ctx -p session:{name}.session -o {name}.unsealed")
            self.assertEqual(self.read(f"{name}.unsealed"), SECRET)
            self.flush(name)

        self.together(unseal, [f"session{number}" for number in range(8)])

class Crowd:
    """Another session that stays, with as much of its own as fits into a software TPM at a time.

    So the resource manager stays too, and moves things out of the TPM and in again with each tool.
    """

    def start_stack(self):
        super().start_stack()
        self.caller = self.start(Caller, "carol")
        self.other = self.start(self.caller.open, "everything")
        # In the null hierarchy, where they outlive TPM2_Clear.
        self.keys = [self.made(create_primary(NULL, ECC_STORAGE_TEMPLATE[:-4] + tpm2b(bytes(
            [number])) + tpm2b(b""))) for number in range(3)]
        self.sessions = [self.made(start_session(kind=1)) for _ in range(3)]
        for session, code in zip(self.sessions, (CC_POLICY_COMMAND_CODE, CC_READ_PUBLIC,
                                                 CC_POLICY_GET_DIGEST)):
            self.executed(command(CC_POLICY_COMMAND_CODE, [session],
                                  parameters=struct.pack(">I", code)))
        self.others = self.seen()
        self.assertEqual(len(set(self.others)), 6)

    def executed(self, data):
        response = self.other.execute(data)
        self.assertEqual(response_code(response), 0, response.hex())
        return response[10:]

    def made(self, data):
        return struct.unpack_from(">I", self.executed(data))[0]

    def seen(self):
        return [self.executed(command(code, [handle]))
                for code, handles in ((CC_READ_PUBLIC, self.keys),
                                      (CC_POLICY_GET_DIGEST, self.sessions))
                for handle in handles]

    def tearDown(self):
        self.assertEqual(self.seen(), self.others)
        self.other.close()
        super().tearDown()


class KeysInACrowd(Crowd, Keys):
    pass


class SealingInACrowd(Crowd, Sealing):
    pass


class NvInACrowd(Crowd, Nv):
    pass


class AttestationInACrowd(Crowd, Attestation):
    pass


class CryptographyInACrowd(Crowd, Cryptography):
    pass


class SessionsInACrowd(Crowd, Sessions):
    pass


class AtOnceInACrowd(Crowd, AtOnce):
    pass
