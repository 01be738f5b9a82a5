"""tpm2-tools under the `keys` profile: what works, and what is refused and changes nothing."""

import os
import re
import subprocess

from harness import (SANITIZED, SOCKET, SOURCE, TCTI, WORLD, Broker, Swtpm, TestCase, run_as,
                     user_environment)
from wire import state_of

# tpm2-tools' default primary is not noDA, so that wrong passwords for it would count against all.
PRIMARY = ["tpm2_createprimary", "-Q", "-C", "o", "-a", "restricted|decrypt|fixedtpm|fixedparent|"
           "sensitivedataorigin|userwithauth|noda"]
SIGNING = "sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
DECRYPTING = "decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"


class Tools(TestCase):
    """One broker and one software TPM; carol is a member of tpmgate-users."""

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.prepare()
        self.broker = self.start(Broker, self.swtpm, arguments=["--no-polkit"])

    def prepare(self):
        pass

    def tool(self, *argv, env=None, data=None):
        return run_as("carol", argv, env=env, data=data)

    def works(self, *argv, env=None, data=None):
        result = self.tool(*argv, env=env, data=data)
        self.assertEqual(result.returncode, 0, f"{argv}: {result.stderr}")
        return result.stdout

    def refused(self, *argv, code="0x000B0120"):
        result = self.tool(*argv)
        self.assertNotEqual(result.returncode, 0, f"{argv} went through: {result.stdout}")
        # Tools print it with and without leading zeros, as their own layer's or in full.
        short = code[:2] + code[2:].lstrip("0")
        self.assertRegex(result.stderr, re.compile(f"{code}|{short}", re.IGNORECASE), argv)
        return result

    def direct(self, *argv):
        """A tool as root on the TPM itself, past tpmgate."""
        env = dict(os.environ, TPM2TOOLS_TCTI=f"cmd:/usr/bin/python3 -B {SOURCE}/tests/integration/"
                   f"pipe.py {self.swtpm.socket}")
        result = subprocess.run(argv, env=env, cwd=WORLD, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                check=False)
        self.assertEqual(result.returncode, 0, f"{argv}: {result.stderr}")
        return result.stdout


class Allowed(Tools):
    def test_random_and_hash(self):
        self.assertEqual(len(self.works("tpm2_getrandom", "--hex", "16")), 32)
        self.assertNotEqual(self.works("tpm2_getrandom", "--hex", "16"),
                            self.works("tpm2_getrandom", "--hex", "16"))
        digest = self.works("tpm2_hash", "-C", "n", "-g", "sha256", "--hex", data="abc")
        self.assertEqual(digest.strip(), "ba7816bf8f01cfea414140de5dae2223"
                         "b00361a396177a9cb410ff61f20015ad")

    def by_short_name(self):
        env = user_environment("carol", TPM2TOOLS_TCTI="tpmgate:",
                               LD_LIBRARY_PATH=os.path.dirname(TCTI))
        self.assertEqual(len(self.works("tpm2_getrandom", "--hex", "8", env=env)), 16)
        env["TPM2TOOLS_TCTI"] = f"tpmgate:socket={SOCKET},profile=basic"
        self.assertEqual(len(self.works("tpm2_getrandom", "--hex", "8", env=env)), 16)

    # tctildr tries several file names. Where a sanitizer's runtime is preloaded into a tool, the
    # first failing dlopen() leaves a lock of the C library taken, and the tool hangs at its exit.
    if not SANITIZED:
        test_random_through_tctildr_short_name = by_short_name

    def test_capabilities(self):
        self.assertIn("sha256", self.works("tpm2_getcap", "algorithms"))
        self.assertIn("TPM2_CC_GetRandom", self.works("tpm2_getcap", "commands"))
        self.assertIn("TPM2_PT_MANUFACTURER", self.works("tpm2_getcap", "properties-fixed"))
        self.assertEqual(self.works("tpm2_getcap", "handles-transient"), "")
        self.assertEqual(self.works("tpm2_getcap", "handles-loaded-session"), "")

    def test_signing_key(self):
        self.works(*PRIMARY, "-G", "ecc", "-c", "primary.ctx")
        self.works("tpm2_create", "-Q", "-C", "primary.ctx", "-G", "ecc", "-a", SIGNING,
                   "-u", "key.pub", "-r", "key.priv")
        self.works("tpm2_load", "-Q", "-C", "primary.ctx", "-u", "key.pub", "-r", "key.priv",
                   "-c", "key.ctx")
        self.assertIn("ecc", self.works("tpm2_readpublic", "-c", "key.ctx"))
        self.works("sh", "-c", "echo message >message; echo other >other")
        self.works("tpm2_sign", "-Q", "-c", "key.ctx", "-g", "sha256", "-o", "signature", "message")
        self.works("tpm2_verifysignature", "-Q", "-c", "key.ctx", "-g", "sha256", "-m", "message",
                   "-s", "signature")
        wrong = self.tool("tpm2_verifysignature", "-Q", "-c", "key.ctx", "-g", "sha256",
                          "-m", "other", "-s", "signature")
        self.assertNotEqual(wrong.returncode, 0)

    def test_key_with_password(self):
        self.works(*PRIMARY, "-G", "ecc", "-c", "primary.ctx")
        self.works("tpm2_create", "-Q", "-C", "primary.ctx", "-G", "ecc", "-a", SIGNING,
                   "-p", "secret", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx")
        self.works("sh", "-c", "echo message >message")
        self.works("tpm2_sign", "-Q", "-c", "key.ctx", "-p", "secret", "-g", "sha256",
                   "-o", "signature", "message")
        before = state_of(self.swtpm)
        wrong = self.tool("tpm2_sign", "-Q", "-c", "key.ctx", "-p", "guess", "-g", "sha256",
                          "-o", "signature", "message")
        self.assertNotEqual(wrong.returncode, 0)
        self.assertEqual(state_of(self.swtpm), before, "a wrong password counted against all")

    def test_rsa_decryption(self):
        self.works(*PRIMARY, "-G", "ecc", "-c", "primary.ctx")
        self.works("tpm2_create", "-Q", "-C", "primary.ctx", "-G", "rsa2048", "-a", DECRYPTING,
                   "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx")
        self.works("sh", "-c", "printf message >message")
        self.works("tpm2_rsaencrypt", "-Q", "-c", "key.ctx", "-o", "encrypted", "message")
        self.assertEqual(self.works("tpm2_rsadecrypt", "-c", "key.ctx", "encrypted"), "message")

    def test_nothing_is_left_in_the_tpm(self):
        before = state_of(self.swtpm)
        self.works(*PRIMARY, "-G", "ecc", "-c", "primary.ctx")
        self.assertEqual(state_of(self.swtpm), before)


class Refused(Tools):
    """Each command is refused with one code, and the TPM itself shows that nothing happened."""

    def prepare(self):
        # Somebody's persistent key and somebody's index, which owner authorization would destroy.
        self.direct(*PRIMARY, "-G", "ecc", "-c", "direct.ctx")
        self.direct("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "direct.ctx", "0x81000100")
        self.direct("tpm2_nvdefine", "-Q", "-C", "o", "-s", "8", "-a",
                    "ownerread|ownerwrite|authread|authwrite", "0x01800001")
        self.direct("tpm2_flushcontext", "--transient-object")
        self.before = state_of(self.swtpm)

    def unchanged(self):
        after = state_of(self.swtpm)
        self.assertEqual(after, self.before, "the TPM's state changed")

    def test_destructive_commands(self):
        zeros = "sha256=" + "00" * 32
        for argv in (
                ["tpm2_clear"],
                ["tpm2_clear", "-c", "l"],
                ["tpm2_changeauth", "-c", "owner", "new"],
                ["tpm2_changeauth", "-c", "lockout", "new"],
                ["tpm2_changeauth", "-c", "endorsement", "new"],
                ["tpm2_evictcontrol", "-C", "o", "-c", "0x81000100"],
                ["tpm2_dictionarylockout", "--clear-lockout"],
                ["tpm2_dictionarylockout", "--setup-parameters", "--max-tries=1",
                 "--recovery-time=1", "--lockout-recovery-time=1"],
                ["tpm2_pcrextend", "10:" + zeros],
                ["tpm2_pcrreset", "16"],
                ["tpm2_pcrreset", "23"],
                ["tpm2_nvdefine", "-C", "o", "-s", "8", "0x01800002"],
                ["tpm2_nvundefine", "-C", "o", "0x01800001"],
                ["tpm2_nvread", "-C", "o", "-s", "8", "0x01800001"],
                ["tpm2_clearcontrol", "-C", "l", "s"],
                ["tpm2_setclock", "100000000"],
                ["tpm2_createprimary", "-C", "e", "-G", "ecc"],
                ["tpm2_createprimary", "-C", "p", "-G", "ecc"],
                ["tpm2_createek", "-G", "ecc", "-c", "ek.ctx"],
                ["tpm2_setprimarypolicy", "-C", "o", "-L", "policy", "-g", "sha256"],
                ["tpm2_shutdown"],
        ):
            with self.subTest(" ".join(argv)):
                run_as("carol", ["sh", "-c", "head -c 32 /dev/zero >policy"])
                self.refused(*argv)
                self.unchanged()

    def test_persistent_key_of_somebody(self):
        self.refused("tpm2_readpublic", "-c", "0x81000100")
        self.works("sh", "-c", "echo message >message")
        self.refused("tpm2_create", "-C", "0x81000100", "-G", "ecc", "-a", SIGNING)
        self.unchanged()

    def test_evicting_ones_own_key(self):
        self.works(*PRIMARY, "-G", "ecc", "-c", "primary.ctx")
        self.refused("tpm2_evictcontrol", "-C", "o", "-c", "primary.ctx", "0x81000200")
        self.unchanged()

    def test_key_that_could_lock_out_everybody(self):
        """An object that is not noDA is used like any other, until its password is guessed at."""
        self.works("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "primary.ctx",
                   "-p", "right")
        self.works("tpm2_create", "-C", "primary.ctx", "-G", "ecc", "-a", SIGNING, "-P", "right",
                   "-u", "key.pub", "-r", "key.priv")
        guess = ["tpm2_create", "-C", "primary.ctx", "-G", "ecc", "-a", SIGNING, "-P"]
        self.refused(*guess, "wrong", code="0x98E")
        for password in ("wrong", "right"):
            self.refused(*guess, password, code="0x000B0921")

    def test_code_is_explained(self):
        explained = self.works("tpm2_rc_decode", "0x000B0120")
        self.assertRegex(explained, "(?i)command.*(disabled|not available)|disabled")

    def test_refusal_is_logged_once_by_name(self):
        self.refused("tpm2_clear")
        self.broker.process.wait_for_log("Clear")
        lines = [line for line in self.broker.process.logged().splitlines() if "Clear" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("64003", lines[0])
