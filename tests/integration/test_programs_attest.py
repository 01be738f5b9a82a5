"""tpm2-tools under the profile `attest`: the endorsement key, its certificate, quotes."""

import hashlib
import json

from harness import BUILD, SOCKET, SOURCE
from programs import KERNELS_ROOM, Programs

EXAMPLE = SOURCE + "/docs/examples/quote.py"
# Runs it with a toolkit that has nothing.
WITHOUT_WINDOW = """
import json, runpy, sys, types
from unittest import mock
sys.modules["gi"] = mock.MagicMock()
sys.modules["gi.repository"] = types.SimpleNamespace(
    GLib=None, Pango=None, Gtk=types.SimpleNamespace(Window=object))
print(json.dumps(runpy.run_path(sys.argv[1])["quote"]()))
"""
SECRET = b"what the credential carries"
REFUSED = "0xB0120"
CERTIFICATES = ("0x01C00002", "0x01C0000A")  # of the RSA key, of the one on P-256
ENDORSEMENT_KEY = "0x81010001"
ALGORITHMS = (("ecc", "ecdsa"), ("rsa", "rsassa"))
INTEGRITY = "0x1DF"
BAD_SIGNATURE = "Verification failure"  # openssl's words


class Attest(Programs):
    profile = "attest"

    def attestation_key(self, algorithm="ecc", scheme="ecdsa", parent="ek.ctx", name="ak"):
        """NAME.ctx below the endorsement key, with NAME.pem and NAME.name."""
        if parent == "ek.ctx":
            self.works(f"tpm2_createek -Q -G {algorithm} -c ek.ctx -u ek.pub")
        self.works(f"tpm2_createak -Q -C {parent} -c {name}.ctx -G {algorithm} -g sha256 "
                   f"-s {scheme} -u {name}.pem -f pem -n {name}.name")

    def signature_holds(self, *contents):
        check = "openssl dgst -sha256 -verify ak.pem -signature signature"
        self.works(f"{check} attestation")
        self.refused(f"{check} ak.pem", BAD_SIGNATURE)
        attestation = self.read("attestation")
        self.assertTrue(attestation.startswith(b"\xffTCG"), attestation[:4])
        for content in contents:
            self.assertIn(content, attestation)

    def test_quote(self):
        for algorithm, scheme in ALGORITHMS:
            with self.subTest(algorithm):
                self.attestation_key(algorithm, scheme)
                self.works("tpm2_quote -Q -c ak.ctx -l sha256:7,23 -q abcdef -g sha256 "
                           "-m attestation -s quote -o pcrs")
                check = "tpm2_checkquote -u ak.pem -m attestation -s quote -f pcrs -g sha256 -q"
                self.works(f"{check} abcdef")
                self.refused(f"{check} abcd00", "nonce")
                self.assertIn(hashlib.sha256(bytes(64)).digest(), self.read("attestation"))

    def test_example(self):
        """What docs/examples/quote.py shows, but for its window."""
        self.env["TPMGATE_SOCKET"] = SOCKET
        self.env["LD_LIBRARY_PATH"] = f"{BUILD}/helper/client"
        self.directly(f"tpm2_pcrextend 7:sha256={'11' * 32}")
        shown = dict(json.loads(self.works(["/usr/bin/python3", "-Bc", WITHOUT_WINDOW, EXAMPLE])))
        pcr = hashlib.sha256(bytes(32) + bytes.fromhex("11" * 32)).digest()
        self.assertEqual(shown["PCRs 0 to 7"], hashlib.sha256(bytes(7 * 32) + pcr).hexdigest())
        self.assertRegex(shown["Signature"], "^.{128}$")
        self.env["TPMGATE_SOCKET"] = f"{self.directory}/none"
        self.refused(["/usr/bin/python3", "-Bc", WITHOUT_WINDOW, EXAMPLE], "no tpmgate")

    def test_quote_of_a_changed_pcr(self):
        self.attestation_key()
        self.directly(f"tpm2_pcrextend 23:sha256={'11' * 32}")
        self.works("tpm2_quote -Q -c ak.ctx -l sha256:23 -q abcdef -g sha256 -f plain "
                   "-m attestation -s signature")
        pcr = hashlib.sha256(bytes(32) + bytes.fromhex("11" * 32)).digest()
        self.signature_holds(bytes.fromhex("abcdef"), hashlib.sha256(pcr).digest())

    def test_credential(self):
        """A secret for one attestation key below this endorsement key, which no other one gets."""
        self.write("secret", SECRET)
        for algorithm, scheme in ALGORITHMS:
            with self.subTest(algorithm):
                self.attestation_key(algorithm, scheme)
                self.attestation_key(algorithm, scheme, name="another")
                self.works("tpm2_makecredential -Q -u ek.pub -s secret -o credential -n "
                           + self.read("ak.name").hex())
                activate = ("tpm2_activatecredential -C ek.ctx -i credential -o activated "
                            "-P session:policy.session -c")
                self.works("tpm2_startauthsession --policy-session -S policy.session",
                           "tpm2_policysecret -Q -c e -S policy.session")
                self.refused(f"{activate} another.ctx", INTEGRITY)
                self.works(f"{activate} ak.ctx", "tpm2_flushcontext policy.session")
                self.assertEqual(self.read("activated"), SECRET)

    def test_certified_key(self):
        self.attestation_key()
        self.attestation_key(name="another")
        self.works("tpm2_certify -Q -c another.ctx -C ak.ctx -g sha256 -f plain -o attestation "
                   "-s signature")
        self.signature_holds(self.read("another.name"))

    def test_key_of_another_profile(self):
        """An attestation key says nothing of a key below the owner, under both profiles either."""
        both = self.environment("keys+attest")
        self.attestation_key()
        self.works("tpm2_createprimary -Q -C o -G ecc -c primary.ctx",
                   "tpm2_create -Q -C primary.ctx -G ecc -c key.ctx", env=both)
        certify = "tpm2_certify -c key.ctx -C ak.ctx -g sha256 -o attestation -s signature"
        self.refused(certify, REFUSED, env=both)
        self.refused(certify, REFUSED)

    def test_time(self):
        self.attestation_key()
        self.works("tpm2_gettime -Q -c ak.ctx -g sha256 -f plain -q abcdef -o signature "
                   "--attestation attestation")
        self.signature_holds(bytes.fromhex("abcdef"))

    def test_audited_commands(self):
        self.attestation_key()
        self.works("tpm2_startauthsession -S audit.session --audit-session",
                   "tpm2_getrandom 8 -S audit.session --cphash command --rphash response -o random",
                   "tpm2_getsessionauditdigest -Q -c ak.ctx -g sha256 -f plain -m attestation "
                   "-s signature -S audit.session", "tpm2_flushcontext audit.session")
        self.signature_holds(hashlib.sha256(
            bytes(32) + self.read("command")[-32:] + self.read("response")[-32:]).digest())

    def test_persistent_endorsement_key(self):
        """One that an administrator has put where endorsement keys are."""
        self.directly(f"tpm2_createek -Q -G ecc -c {ENDORSEMENT_KEY} -u ek.pub",
                      "tpm2_flushcontext -t")
        self.attestation_key(parent=ENDORSEMENT_KEY)
        self.works("tpm2_quote -Q -c ak.ctx -l sha256:7 -q 01 -g sha256 -f plain -m attestation "
                   "-s signature")
        self.signature_holds()
        for profile in ("keys", "basic"):
            self.refused(f"tpm2_readpublic -c {ENDORSEMENT_KEY}", REFUSED,
                         env=self.environment(profile))
        self.refused(f"tpm2_evictcontrol -C o -c {ENDORSEMENT_KEY}", REFUSED)

    def test_refused_without_the_profile(self):
        keys = self.environment("keys")
        self.attestation_key()
        for line in ("tpm2_createek -G ecc -c no.ctx", "tpm2_createprimary -C e -c no.ctx",
                     # a key that was made under `attest`, from its file
                     "tpm2_readpublic -c ak.ctx",
                     "tpm2_quote -c ak.ctx -l sha256:7 -g sha256 -m no -s no"):
            with self.subTest(line):
                self.refused(line, REFUSED, env=keys)

    def test_what_else_is_refused(self):
        """An identity is no leave to make keys below the owner, or to change anything."""
        for line in ("tpm2_createprimary -C o -c no.ctx", "tpm2_nvdefine -C o -s 8 0x01800001",
                     "tpm2_pcrreset 23", "tpm2_changeauth -c e secret"):
            with self.subTest(line):
                self.refused(line, REFUSED)


class AttestInTheKernelsRoom(Attest):
    config = KERNELS_ROOM


class Certificates(Programs):
    """The endorsement keys' certificates, which a TPM's maker puts into NV indices."""

    profile = "attest"

    def prepare(self):
        self.directly("openssl req -x509 -newkey rsa:2048 -nodes -keyout maker.key "
                      "-subj /CN=maker -outform DER -out maker.der")
        for index in CERTIFICATES:
            self.directly(f"tpm2_nvdefine -C o -s {len(self.read('maker.der'))} -a "
                          f"ownerread|ownerwrite|authread|no_da {index}",
                          f"tpm2_nvwrite -C o -i maker.der {index}")
        self.directly("tpm2_nvdefine -C o -s 8 -a ownerread|ownerwrite 0x01800001")

    def test_read(self):
        for index in CERTIFICATES:
            with self.subTest(index):
                self.works(f"tpm2_nvreadpublic {index}", f"tpm2_nvread -o read.der {index}")
                self.assertEqual(self.read("read.der"), self.read("maker.der"))
                self.works("openssl x509 -inform DER -in read.der -noout")

    def test_tool_for_certificates(self):
        self.works("tpm2_getekcertificate -o rsa.der -o ecc.der")
        for name in "rsa.der", "ecc.der":
            self.assertEqual(self.read(name), self.read("maker.der"))

    def test_refused_without_the_profile(self):
        for profile in "basic", "keys":
            for index in CERTIFICATES:
                with self.subTest(profile + " " + index):
                    env = self.environment(profile)
                    self.refused(f"tpm2_nvread -s 8 {index}", REFUSED, env=env)
                    self.refused(f"tpm2_nvread -C o -s 8 {index}", REFUSED, env=env)

    def test_nothing_but_reading(self):
        index = CERTIFICATES[0]
        for line in (f"tpm2_nvundefine -C o {index}", f"tpm2_nvwrite -C o -i maker.der {index}",
                     "tpm2_nvread -C o -s 8 0x01800001"):
            with self.subTest(line):
                self.refused(line, REFUSED)
        self.works(f"tpm2_nvread -o read.der {index}")
        self.assertEqual(self.read("read.der"), self.read("maker.der"))
