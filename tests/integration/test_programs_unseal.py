"""What others sealed and a user can read: `keys` alone does not open it, `keys+unseal` does.

The profile `unseal` asks polkit as it is shipped; here members of tpmgate-users may use it.
"""

import base64
import hashlib
import json

from programs import Programs, needs, profile_for_members

SECRET = "what is sealed"
REFUSED = "0xb0120"
STORAGE_ROOT_KEY = "0x81000001"
NO_DA_STORAGE = ("-G ecc -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|"
                 "decrypt")


class Unsealing(Programs):
    profile = "keys+unseal"
    profiles = {"unseal": profile_for_members("unseal")}

    def extend(self):
        self.directly(f"tpm2_pcrextend 23:sha256={hashlib.sha256(b'a').hexdigest()}")


@needs("systemd-creds", "systemd")
class SystemdCreds(Unsealing):
    """systemd-creds as Debian ships it."""

    def seal(self, options="", run=None):
        self.write("plain", SECRET.encode())
        (run or self.directly)(f"systemd-creds encrypt --with-key=tpm2 --name=x {options} plain "
                               "credential")

    def decrypts(self, options="", env=None):
        self.assertEqual(self.works(f"systemd-creds decrypt --name=x {options} credential -",
                                    env=env), SECRET)

    def refuses(self, options="", env=None, reason="Failed to unseal"):
        self.refused(f"systemd-creds decrypt --name=x {options} credential -", reason, env=env)

    def test_credential_of_root(self):
        self.seal("--tpm2-pcrs=7")
        before = self.broker.process.logged().count("Unseal")
        self.refuses(env=self.environment("keys"))
        self.assertEqual(self.broker.process.logged().count("Unseal"), before + 1,
                         "the refusal is logged by the command's name")
        self.decrypts()
        # The option instead of the variable.
        env = dict(self.env)
        del env["SYSTEMD_TPM2_DEVICE"]
        self.decrypts("--tpm2-device=tpmgate:profile=keys+unseal", env)
        self.refuses("--tpm2-device=tpmgate:", env)

    def test_pcr_that_changed(self):
        self.seal("--tpm2-pcrs=7+23")
        self.decrypts()
        self.extend()
        self.refuses(reason="policy digest")
        self.directly("tpm2_pcrreset 23")
        self.decrypts()

    def test_own_credential(self):
        """Sealed by the user through tpmgate: `keys` is enough, in other processes too."""
        keys = self.environment("keys")
        self.seal("--tpm2-pcrs=7", lambda line: self.works(line, env=keys))
        self.decrypts(env=keys)
        self.decrypts(env=keys)
        self.decrypts()

    def signature(self):
        """What systemd-measure writes: the key's holder approves of the values of PCR 11."""
        self.works("openssl genrsa -out key.pem 2048",
                   "openssl rsa -in key.pem -pubout -out public.pem",
                   "openssl rsa -in key.pem -pubout -outform DER -out public.der",
                   "tpm2_createpolicy --policy-pcr -l sha256:11 -L policy",
                   "openssl dgst -sha256 -sign key.pem -out signature policy")
        return json.dumps({"sha256": [{
            "pcrs": [11], "pol": self.read("policy").hex(),
            "pkfp": hashlib.sha256(self.read("public.der")).hexdigest(),
            "sig": base64.b64encode(self.read("signature")).decode()}]})

    def test_signed_policy(self):
        self.write("signature.json", self.signature().encode())
        self.seal("--tpm2-public-key=public.pem --tpm2-public-key-pcrs=11 "
                  "--tpm2-signature=signature.json")
        self.refuses("--tpm2-signature=signature.json", self.environment("keys"))
        self.decrypts("--tpm2-signature=signature.json")

    def test_has_tpm2(self):
        self.assertIn("+system", self.run_line("systemd-creds has-tpm2").stdout)


class LaterSystemd(Unsealing):
    """The commands of later versions, which have a persistent storage root key and salt by it."""

    def prepare(self):
        self.write("secret", SECRET.encode())
        self.directly(f"tpm2_createprimary -C o {NO_DA_STORAGE} -c primary.ctx",
                      f"tpm2_evictcontrol -C o -c primary.ctx {STORAGE_ROOT_KEY}",
                      "tpm2_flushcontext -t",
                      "tpm2_createpolicy --policy-pcr -l sha256:7,23 -L policy",
                      f"tpm2_create -C {STORAGE_ROOT_KEY} -i secret -L policy -u sealed.pub "
                      "-r sealed.priv -a fixedtpm|fixedparent|noda", "tpm2_flushcontext -t")
        for name in "sealed.pub", "sealed.priv":
            self.write(name, self.read(name))  # readable, as systemd's credentials are

    def unseal(self, env):
        self.works(f"tpm2_load -C {STORAGE_ROOT_KEY} -u sealed.pub -r sealed.priv -c sealed.ctx",
                   f"tpm2_startauthsession -S policy.session --policy-session -c "
                   f"{STORAGE_ROOT_KEY}", "tpm2_policypcr -S policy.session -l sha256:7,23",
                   env=env)
        result = self.run_line("tpm2_unseal -c sealed.ctx -p session:policy.session", env=env)
        self.works("tpm2_flushcontext policy.session", env=env)
        return result

    def test_storage_root_key(self):
        refused = self.unseal(self.environment("keys"))
        self.assertNotEqual(refused.returncode, 0, refused.stdout)
        self.assertIn(REFUSED, refused.stderr.lower())
        result = self.unseal(self.env)
        self.assertEqual((result.returncode, result.stdout), (0, SECRET), result.stderr)

    def test_pcr_that_changed(self):
        self.extend()
        result = self.unseal(self.env)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        self.assertIn("0x99d", result.stderr.lower())

    def test_storage_root_key_is_nobodys(self):
        self.refused(f"tpm2_evictcontrol -C o -c {STORAGE_ROOT_KEY}", "0xB0120")


@needs("clevis", "clevis")
@needs("clevis-encrypt-tpm2", "clevis-tpm2")
class ClevisOfRoot(Unsealing):
    def test_data_of_root(self):
        encrypted = self.directly(["clevis", "encrypt", "tpm2",
                                   '{"pcr_bank":"sha256","pcr_ids":"7"}'], data=SECRET)
        self.assertEqual(self.works("clevis decrypt", data=encrypted), SECRET)
