"""tpm2-pytss, the ESAPI of tpm2-tss for Python, under the profile `keys` alone."""

from harness import SOURCE
from programs import Programs, needs, tcti_of

MODULE = "/usr/lib/python3/dist-packages/tpm2_pytss/__init__.py"
EXAMPLE = SOURCE + "/tests/integration/pytss_flow.py"


@needs(MODULE, "python3-tpm2-pytss")
class Pytss(Programs):
    """The steps are in pytss_flow.py: here each is a process, and they pass files on."""

    def step(self, name, profile="keys"):
        return self.works(["/usr/bin/python3", "-B", EXAMPLE, tcti_of(profile), name])

    def test_random_and_hash(self):
        self.step("random")

    def test_signatures(self):
        self.step("sign")

    def test_decryption(self):
        self.step("decrypt")

    def test_sealed_data(self):
        """Made in one process, opened in the next; the password in an encrypted session."""
        self.step("seal")
        self.step("unseal")

    def test_policy_session_in_a_file(self):
        self.step("save")
        self.step("load")

    def test_keyed_hash(self):
        self.step("hmac")

    def test_what_is_refused(self):
        self.step("refused")
