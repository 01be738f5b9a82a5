"""tpm2-openssl, the provider of OpenSSL 3, under the profile `keys` alone."""

import glob
import re

from harness import Process, eventually
from programs import KERNELS_ROOM, Programs, needs

PROVIDER = "/usr/lib/*/ossl-modules/tpm2.so"
TPM = "-provider tpm2 -provider default"
# For TLS: what is fetched without a query comes from the first provider. Were that the TPM's, each
# running hash of a connection would be an object in the TPM, and the kernel has room for three.
KEYS = "-provider default -provider tpm2 -propquery ?provider=tpm2,tpm2.digest!=yes"
EC, RSA = "-algorithm EC -pkeyopt group:P-256", "-algorithm RSA -pkeyopt bits:2048"
BAD_SIGNATURE = "Signature Verification Failure"


@needs((glob.glob(PROVIDER) or [PROVIDER])[0], "tpm2-openssl")
class Openssl(Programs):
    def setUp(self):
        super().setUp()
        self.write("message", b"what is signed")
        self.write("other", b"something else")

    def key(self, options, password=""):
        """A key in key.pem, which only this TPM can use, with its public part in public.pem."""
        self.works(f"openssl genpkey {TPM} {options} -out key.pem",
                   f"openssl pkey {TPM} -in key.pem {password} -pubout -out public.pem")
        self.assertIn(b"BEGIN TSS2 PRIVATE KEY", self.read("key.pem"))
        self.assertIn(b"BEGIN PUBLIC KEY", self.read("public.pem"))

    def signs(self, options="", password=""):
        """It signs in a process of its own; OpenSSL without a TPM agrees."""
        verify = f"openssl pkeyutl -verify -pubin -inkey public.pem -rawin -sigfile sig {options}"
        self.works(f"openssl pkeyutl {TPM} -sign -inkey key.pem {password} -rawin -in message "
                   f"-out sig {options}", f"{verify} -in message")
        self.refused(f"{verify} -in other", BAD_SIGNATURE)

    def test_random(self):
        numbers = {self.works("openssl rand -provider tpm2 -hex 16") for _ in range(2)}
        self.assertEqual(len(numbers), 2)
        self.assertEqual({len(number.strip()) for number in numbers}, {32})

    def test_ec_key(self):
        self.key(EC)
        self.signs("-digest sha256")
        self.signs("-digest sha256")

    def test_rsa_key(self):
        self.key(RSA)
        self.signs("-digest sha256")
        self.signs("-digest sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest")

    def test_decryption(self):
        self.key(RSA)
        self.works("openssl pkeyutl -encrypt -pubin -inkey public.pem -in message -out encrypted",
                   f"openssl pkeyutl {TPM} -decrypt -inkey key.pem -in encrypted -out decrypted")
        self.assertEqual(self.read("decrypted"), self.read("message"))

    def test_key_agreement(self):
        self.key(EC)
        self.works("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out peer.pem",
                   "openssl pkey -in peer.pem -pubout -out peer.pub",
                   f"openssl pkeyutl {TPM} -derive -inkey key.pem -peerkey peer.pub -out here",
                   "openssl pkeyutl -derive -inkey peer.pem -peerkey public.pem -out there")
        self.assertEqual(self.read("here"), self.read("there"))

    def test_key_with_password(self):
        """The provider asks for it by the usual option."""
        self.key(EC + " -pkeyopt user-auth:secret", "-passin pass:secret")
        self.signs("-digest sha256", "-passin pass:secret")

    def test_certificate_request(self):
        self.key(RSA)
        self.works(f"openssl req {KEYS} -new -subj /CN=carol -key key.pem -out request.pem",
                   "openssl req -verify -noout -in request.pem")

    def serves(self, options, *versions):
        """s_server with a self-signed certificate by the TPM's key, and s_client without a TPM."""
        self.key(options)
        self.works(f"openssl req {KEYS} -x509 -subj /CN=carol -days 2 -key key.pem "
                   "-out certificate.pem",
                   f"openssl req {KEYS} -x509 -subj /CN=carol -days 2 -key key.pem "
                   "-out another.pem")
        argv = f"openssl s_server {KEYS} -accept 127.0.0.1:0 -www -key key.pem -cert"
        server = self.start(Process, ["sh", "-c", f"cd {self.directory} && exec {argv} "
                                      "certificate.pem"], user="carol", env=self.env)
        port = eventually(lambda: re.search(r"^ACCEPT 127.0.0.1:(\d+)$", server.logged(), re.M),
                          "the server listens").group(1)
        client = f"openssl s_client -connect 127.0.0.1:{port} -verify_return_error -quiet -CAfile"
        for version in versions:
            page = self.works(f"{client} certificate.pem {version}",
                              data="GET / HTTP/1.0\r\n\r\n")
            self.assertIn("200 ok", page)
            self.assertIn(version[-1], page)
        self.refused(f"{client} another.pem -tls1_3", "verify error", data="GET / HTTP/1.0\r\n\r\n")

    def test_tls_ec(self):
        # without -tls1_2, for which the provider offers no cipher for this key
        self.serves(EC, "-tls1_3")

    def test_tls_rsa(self):
        self.serves(RSA, "-tls1_3", "-tls1_2")

    def test_parent_that_a_user_has(self):
        """A handle that is not the storage root key's is nobody's parent under `keys`."""
        self.directly("tpm2_createprimary -Q -C o -G ecc -c direct.ctx",
                      "tpm2_evictcontrol -Q -C o -c direct.ctx 0x81000001",
                      "tpm2_evictcontrol -Q -C o -c direct.ctx 0x81000100")
        self.key(EC + " -pkeyopt parent:0x81000001")
        self.signs("-digest sha256")
        self.refused(f"openssl genpkey {TPM} {EC} -pkeyopt parent:0x81000100 -out no.pem", "rror")


class OpensslInTheKernelsRoom(Openssl):
    config = KERNELS_ROOM
