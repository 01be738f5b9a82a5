"""FAPI, the feature API of tpm2-tss, as the tools tss2_* use it, under the profile `keys` alone.

Provisioning makes persistent keys and sets lockout parameters, which is for an administrator. Then
everybody has keys of their own below the storage root key.
"""

import json
import os

from programs import Programs, needs, tcti_of

SECRET = b"what is sealed"


@needs("tss2_provision", "tpm2-tools")
@needs("/etc/tpm2-tss/fapi-profiles/P_ECCP256SHA256.json", "libtss2-fapi1")
class Fapi(Programs):
    def configure(self, name, tcti, system="system"):
        """What TSS2_FAPICONF names; the system's part of the key store is shared."""
        for directory in system, "user", "log":
            os.makedirs(f"{self.directory}/{directory}", exist_ok=True)
        self.write(name, json.dumps({
            "profile_name": "P_ECCP256SHA256", "profile_dir": "/etc/tpm2-tss/fapi-profiles/",
            "user_dir": f"{self.directory}/user/",
            "system_dir": f"{self.directory}/{system}/", "log_dir": f"{self.directory}/log/",
            "tcti": tcti, "system_pcrs": [], "ek_cert_less": "yes"}).encode())
        return f"{self.directory}/{name}"

    def prepare(self):
        """Root provisions; the user's directories are the user's, the rest can be read."""
        path = self.configure("root.json", "swtpm:path=" + self.swtpm.socket)
        self.directly(["env", f"TSS2_FAPICONF={path}", "tss2_provision"],
                      f"chown -R carol:carol {self.directory}/user {self.directory}/log",
                      f"chmod -R go+rX {self.directory}/system")

    def setUp(self):
        super().setUp()
        self.env["TSS2_FAPICONF"] = self.configure("carol.json", tcti_of("keys"))

    def test_signing_key(self):
        self.write("digest", bytes(range(32)))
        self.write("other", bytes(32))
        self.works("tss2_createkey --path=HS/SRK/signing --type=noDa,sign --authValue=")
        self.works("tss2_sign --keyPath=HS/SRK/signing --digest=digest --signature=signature "
                   "--publicKey=public.pem --force")
        check = "openssl pkeyutl -verify -pubin -inkey public.pem -sigfile signature -in"
        self.works(f"{check} digest")
        self.refused(f"{check} other", "Signature Verification Failure")

    def test_sealed_data(self):
        self.write("secret", SECRET)
        self.works("tss2_createseal --path=HS/SRK/sealed --type=noDa --authValue= --data=secret")
        self.works("tss2_unseal --path=HS/SRK/sealed --data=unsealed --force")
        self.assertEqual(self.read("unsealed"), SECRET)

    def test_random(self):
        self.assertEqual(len(self.works("tss2_getrandom --numBytes=8 --hex --data=-")), 16)

    def test_provisioning(self):
        """A user who has a store of their own still has no part in it."""
        path = self.configure("alone.json", tcti_of("keys+attest+persist"), "alone")
        self.directly(f"chown carol:carol {self.directory}/alone")
        self.refused("tss2_provision", "0xB0120", env=dict(self.env, TSS2_FAPICONF=path))
