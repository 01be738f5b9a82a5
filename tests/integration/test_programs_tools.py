"""tpm2-tools under the profile `keys` alone: the scenarios of test_rm_tools.py that it allows.

They are the same steps with the same results. What a step needs of somebody with more power (PCRs
that change, a lockout that is reset) root does past tpmgate. What `keys` refuses of the scenarios
is shown to be refused, and to change nothing in the TPM.
"""

import struct

import test_rm_tools
from harness import Broker, user_environment
from programs import run_directly, tcti_of
from test_rm_tools import MOVABLE, NO_DA, PCR_23, POLICY_FAIL, SEALED, SECRET, UNAVAILABLE

ROOTS = ("tpm2_pcrextend", "tpm2_pcrreset", "tpm2_dictionarylockout")


class UnderKeys(test_rm_tools.RmTools):
    """The scenarios' base on the shipped profile."""

    def prepare(self):
        # A software TPM locks after three wrong passwords, of which tpmgate leaves none to a user.
        self.directly("tpm2_dictionarylockout --setup-parameters --max-tries=32 "
                      "--recovery-time=1000 --lockout-recovery-time=1000", cwd="/")

    def start_stack(self):
        self.start(Broker, self.swtpm, arguments=["--no-polkit"])
        self.env = user_environment("carol", TPM2TOOLS_TCTI=tcti_of("keys"))

    def directly(self, line, cwd=None):
        result = run_directly(self.swtpm, line.split(), cwd or self.directory)
        self.assertEqual(result.returncode, 0, f"{line}: {result.stderr}")

    def tool(self, line):
        if line.startswith(ROOTS):
            return run_directly(self.swtpm, line.split(), self.directory)
        return super().tool(line)

    def refused_by_tpmgate(self, *lines):
        for line in lines:
            with self.subTest(line):
                result = super().tool(line)
                self.assertNotEqual(result.returncode, 0, f"went through: {result.stdout}")
                self.assertRegex(result.stderr.lower(), "0x0*b0120", result.stderr)


class Keys(UnderKeys, test_rm_tools.Keys):
    # below: in the null hierarchy, or refused
    test_key_below_another_parent = None
    test_private_key_from_outside = None
    test_persistent_key = test_persistent_parent = None
    test_password_of_a_hierarchy = None
    test_clear = None

    def test_key_below_own_parents(self):
        self.key("storage", "-G ecc -a restricted|decrypt|" + NO_DA)
        self.key("leaf", parent="storage.ctx")
        self.public_pem("leaf")
        self.signs("leaf")
        self.tools("tpm2_createprimary -C n -G ecc -c null.ctx")
        self.refused("tpm2_load -C null.ctx -u leaf.pub -r leaf.priv -c no.ctx",
                     test_rm_tools.INTEGRITY)
        self.key("fleeting", parent="null.ctx")
        self.public_pem("fleeting")
        self.signs("fleeting")

    def test_private_key_from_outside_without_parent(self):
        self.openssl_key("outside")
        self.tools("tpm2_loadexternal -C n -G rsa -r outside.key -c outside.ctx")
        self.signs("outside", "-s rsassa")

    def test_what_is_refused(self):
        self.key("key")
        self.refused_by_tpmgate(
            "tpm2_createprimary -C e -G ecc -c no.ctx", "tpm2_createek -G ecc -c no.ctx",
            "tpm2_evictcontrol -C o -c key.ctx 0x81000100", "tpm2_changeauth -c o secret",
            "tpm2_clear -c l", "tpm2_pcrevent 23 message", "tpm2_createprimary -C p -c no.ctx")


class Sealing(UnderKeys, test_rm_tools.Sealing):
    # below, with what `keys` has
    test_policy_secret = test_policy_command_code = None
    test_policy_nv = test_policy_authorize_nv = None
    test_duplication_to_another_parent = None

    def test_create_policy(self):
        """tpm2_createpolicy, and the short form in which the tool makes the session itself."""
        self.tools("tpm2_createpolicy --policy-pcr -l sha256:7,23 -L pcr.policy")
        self.seal("sealed", "-L pcr.policy")
        self.unseals("sealed", "-p pcr:sha256:7,23")
        self.extend()
        self.refused("tpm2_unseal -c sealed.ctx -p pcr:sha256:7,23", POLICY_FAIL)
        self.reset()
        self.unseals("sealed", "-p pcr:sha256:7,23")

    def test_policy_secret_of_own_key(self):
        self.key("key", f"-G ecc -p password -a sign|{NO_DA}")
        key = "tpm2_policysecret -c key.ctx"
        self.policy("secret", f"{key} password")
        self.seal("sealed", "-L secret.policy")
        self.session("policy")
        self.refused("tpm2_unseal -c sealed.ctx -p session:policy.session", POLICY_FAIL)
        self.tools(f"{key} -S policy.session password")
        self.unseals("sealed", "-p session:policy.session")
        self.refused_by_tpmgate("tpm2_policysecret -c o -S policy.session",
                                "tpm2_policysecret -c e -S policy.session")
        self.flush("policy")

    def test_policy_for_one_command(self):
        restricted = "tpm2_policycommandcode TPM2_CC_Sign"
        self.policy("sign", restricted)
        attributes = f"sign|decrypt|{NO_DA.replace('|userwithauth', '')}"
        self.key("key", f"-G ecc -L sign.policy -a {attributes}")
        self.public_pem("key")
        self.tools("tpm2_ecdhkeygen -c key.ctx -u ephemeral -o shared")
        self.refused("tpm2_sign -c key.ctx -g sha256 -o signature message", UNAVAILABLE)
        self.satisfy("policy", restricted)
        self.signs("key", "-p session:policy.session")
        self.tools(f"{restricted} -S policy.session")
        self.refused("tpm2_ecdhzgen -c key.ctx -u ephemeral -o shared -p session:policy.session",
                     "0x9A4")
        # The tool does not save its session then: it has ended with the tool.

    def test_policy_in_an_index_of_systemd(self):
        """An NV index in the range of systemd's pcrlock, which root writes, holds the policy."""
        index = "0x01D1020D"
        authorize = f"tpm2_policyauthorizenv -C o {index}"
        self.policy("pcr", PCR_23)
        self.write("content", struct.pack(">H", 0x0B) + self.read("pcr.policy"))
        self.directly(f"tpm2_nvdefine -C o -s 34 -a ownerwrite|ownerread {index}")
        self.directly(f"tpm2_nvwrite -C o -i content {index}")
        self.policy("held", PCR_23, authorize)
        self.seal("sealed", "-L held.policy")
        self.satisfy("policy", PCR_23, authorize)
        self.unseals("sealed", "-p session:policy.session")
        self.refused_by_tpmgate(f"tpm2_nvread -C o -s 34 {index}", f"tpm2_nvundefine -C o {index}",
                                f"tpm2_nvwrite -C o -i content {index}")
        self.flush("policy")
        self.directly(f"tpm2_nvundefine -C o {index}")

    def test_duplicate_and_import(self):
        self.tools("tpm2_createprimary -C n -G ecc -c new.ctx",
                   "tpm2_createprimary -C n -G rsa -c third.ctx")
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
        self.tools("tpm2_import -u key.pub -i moved -s seed -r arrived.priv -C new.ctx",
                   "tpm2_load -C new.ctx -u key.pub -r arrived.priv -c arrived.ctx")
        self.signs("key", context="arrived.ctx")

    def test_password_of_sealed_data(self):
        """It changes, and what was recorded for the user still is the user's."""
        self.seal("sealed", f"-p old -a {SEALED}")
        self.tools("tpm2_changeauth -C primary.ctx -c sealed.ctx -p old -r new.priv new",
                   "tpm2_load -C primary.ctx -u sealed.pub -r new.priv -c new.ctx")
        self.unseals("new", "-p new")

    def test_created_loaded_at_once(self):
        self.tools("tpm2_create -C primary.ctx -i secret -c sealed.ctx -u sealed.pub "
                   "-r sealed.priv")
        self.unseals("sealed")


class Cryptography(UnderKeys, test_rm_tools.Cryptography):
    def test_credential_for_somebody(self):
        """tpm2_makecredential needs a public key only; to open it takes `attest`."""
        self.tools("tpm2_readpublic -c primary.ctx -o storage.pub")
        self.key("key")
        self.tools("tpm2_makecredential -u storage.pub -s secret -o credential -n "
                   + self.name_of("key").hex())
        self.assertGreater(len(self.read("credential")), len(SECRET))
        self.refused_by_tpmgate("tpm2_activatecredential -C primary.ctx -c key.ctx -i credential "
                                "-o activated")

    def test_random(self):
        self.tools("tpm2_stirrandom message")
        self.assertNotEqual(self.tools("tpm2_getrandom --hex 16"),
                            self.tools("tpm2_getrandom --hex 16"))


class Sessions(UnderKeys, test_rm_tools.Sessions):
    test_audit_session = None  # its digest is signed by leave of the endorsement hierarchy

    def test_handles_that_are_shown(self):
        """Nobody sees or flushes what another process, or another user, has."""
        self.session("policy")
        for kind in ("transient", "loaded-session", "persistent", "nv-index"):
            self.assertEqual(self.tools(f"tpm2_getcap handles-{kind}"), "", kind)
        self.tools("tpm2_flushcontext -t", "tpm2_flushcontext -l")
        self.tools(f"{PCR_23} -S policy.session")
        self.flush("policy")


class AtOnce(UnderKeys, test_rm_tools.AtOnce):
    pass
