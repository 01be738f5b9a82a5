"""clevis with the pin tpm2 under the profile `keys` alone, each step a process of its own."""

import hashlib
import json

from programs import Programs, needs

SECRET = "what is encrypted"
REFUSED = "0xB0120"


@needs("clevis", "clevis")
@needs("clevis-encrypt-tpm2", "clevis-tpm2")
@needs("jose", "jose")
class Clevis(Programs):
    def encrypts(self, **configuration):
        encrypted = self.works(["clevis", "encrypt", "tpm2", json.dumps(configuration)],
                               data=SECRET)
        self.assertTrue(encrypted.startswith("eyJ"), encrypted[:40])  # JSON, in base64
        self.assertNotIn(SECRET, encrypted)
        return encrypted

    def decrypts(self, encrypted):
        self.assertEqual(self.works("clevis decrypt", data=encrypted), SECRET)

    def extend(self):
        self.directly(f"tpm2_pcrextend 23:sha256={hashlib.sha256(b'a').hexdigest()}")

    def test_own_data(self):
        encrypted = self.encrypts()
        self.decrypts(encrypted)
        self.decrypts(encrypted)

    def test_rsa_primary(self):
        self.decrypts(self.encrypts(key="rsa"))

    def test_several(self):
        several = [self.encrypts() for _ in range(3)]
        for encrypted in several[::-1]:
            self.decrypts(encrypted)

    def test_pcrs(self):
        encrypted = self.encrypts(pcr_bank="sha256", pcr_ids="7,23")
        self.decrypts(encrypted)
        self.extend()
        self.refused("clevis decrypt", "Unsealing jwk from TPM failed", data=encrypted)
        self.directly("tpm2_pcrreset 23")
        self.decrypts(encrypted)

    def test_another_broker(self):
        """What was sealed before the broker was started again is still the user's."""
        encrypted = self.encrypts()
        self.broker.stop()
        self.start_broker(state=self.broker.state)
        self.decrypts(encrypted)

    def test_data_of_root(self):
        """Sealed past tpmgate, and readable: not the user's own, so `keys` does not open it."""
        encrypted = self.directly(["clevis", "encrypt", "tpm2", "{}"], data=SECRET)
        self.assertEqual(self.directly("clevis decrypt", data=encrypted), SECRET)
        self.refused("clevis decrypt", REFUSED, data=encrypted)

    def test_data_of_another_user(self):
        encrypted = self.encrypts()
        bobs = self.directory_of("bob")
        env = dict(self.env, HOME=bobs, TMPDIR=bobs)
        result = self.run_line("clevis decrypt", data=encrypted, env=env, user="bob", cwd=bobs)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        self.assertIn(REFUSED, result.stderr)
        self.decrypts(encrypted)
