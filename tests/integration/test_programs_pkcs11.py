"""tpm2-pkcs11 under the profile `keys` alone, as pkcs11-tool and p11tool use it.

A token's primary is made again by each process from its template; nothing is persistent.
"""

import glob
import os
import re

from harness import Process
from programs import KERNELS_ROOM, Programs, needs

MODULE = "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1"
TOKEN = "--label=carol --userpin=1234"


def module():
    """Where the module is on this machine."""
    return next(iter(glob.glob("/usr/lib/*/libtpm2_pkcs11.so.1")), MODULE)


@needs(module(), "libtpm2-pkcs11-1")
@needs("tpm2_ptool", "libtpm2-pkcs11-tools")
class Pkcs11(Programs):
    def setUp(self):
        super().setUp()
        self.write("message", b"what is signed")
        self.write("other", b"something else")
        printed = self.works("tpm2_ptool init --transient-parent=tpm2-tools-ecc-default "
                             f"--path={self.directory}")
        self.assertRegex(printed, "action: Created")
        self.works(f"tpm2_ptool addtoken --pid=1 --sopin=5678 {TOKEN}")

    def add(self, algorithm, name):
        self.works(f"tpm2_ptool addkey {TOKEN} --algorithm={algorithm} --key-label={name}")

    def tool(self, line):
        return f"pkcs11-tool --module {module()} --token-label carol {line}"

    def public(self, name):
        self.works(self.tool(f"--read-object --type pubkey --label {name} -o {name}.der"),
                   f"openssl pkey -pubin -inform DER -in {name}.der -out {name}.pem")

    def verified(self, name, options=""):
        check = f"openssl pkeyutl -verify -pubin -inkey {name}.pem -rawin -digest sha256 " \
                f"-sigfile signature {options}"
        self.works(f"{check} -in message")
        self.refused(f"{check} -in other", "Signature Verification Failure")

    @needs("pkcs11-tool", "opensc")
    def test_list(self):
        self.assertRegex(self.works(self.tool("--list-slots")), "token label *: carol")
        self.add("ecc256", "signing")
        listed = self.works(self.tool("--login --pin 1234 --list-objects"))
        self.assertRegex(listed, "Private Key Object; EC")
        self.assertRegex(listed, "label: *signing")
        self.assertIn("ECDSA", self.works(self.tool("--list-mechanisms")))

    @needs("pkcs11-tool", "opensc")
    def test_ec_key(self):
        self.add("ecc256", "signing")
        self.public("signing")
        self.works(self.tool("--login --pin 1234 --sign --mechanism ECDSA-SHA256 --label signing "
                             "--signature-format openssl --input-file message "
                             "--output-file signature"))
        self.verified("signing")

    @needs("pkcs11-tool", "opensc")
    def test_rsa_key(self):
        self.add("rsa2048", "both")
        self.public("both")
        self.works(self.tool("--login --pin 1234 --sign --mechanism SHA256-RSA-PKCS --label both "
                             "--input-file message --output-file signature"))
        self.verified("both")
        self.works("openssl pkeyutl -encrypt -pubin -inkey both.pem -in message -out encrypted",
                   self.tool("--login --pin 1234 --decrypt --mechanism RSA-PKCS --label both "
                             "--input-file encrypted --output-file decrypted"))
        self.assertEqual(self.read("decrypted"), self.read("message"))

    @needs("pkcs11-tool", "opensc")
    def test_key_made_through_the_module(self):
        self.works(self.tool("--login --pin 1234 --keypairgen --key-type EC:prime256v1 "
                             "--label made --id 01"))
        self.public("made")
        self.works(self.tool("--login --pin 1234 --sign --mechanism ECDSA-SHA256 --label made "
                             "--signature-format openssl --input-file message "
                             "--output-file signature"))
        self.verified("made")

    @needs("pkcs11-tool", "opensc")
    def test_random(self):
        for size in 16, 64:
            self.works(self.tool(f"--generate-random {size} --output-file random"))
            self.assertEqual(len(self.read("random")), size)

    @needs("p11tool", "gnutls-bin")
    def test_p11tool(self):
        self.add("ecc256", "signing")
        tool = f"p11tool --provider {module()} --batch --set-pin=1234"
        listed = self.works(f"{tool} --login --list-all pkcs11:token=carol")
        self.assertRegex(listed, "Label: signing")
        url = re.search(r"URL: (\S*type=private)", listed).group(1)
        self.works(f"{tool} --login --test-sign {url}")

    @needs("ssh-agent", "openssh-client")
    def test_ssh(self):
        """A key for ssh: ssh-agent signs with it, and ssh-keygen finds the signature good."""
        self.add("ecc256", "ssh")
        public = self.works(f"ssh-keygen -D {module()}")
        self.assertTrue(public.startswith("ecdsa-sha2-nistp256 "), public)
        self.write("key.pub", public.encode())
        self.write("signers", b"carol " + public.encode())
        self.write("pin", b"#!/bin/sh\necho 1234\n")
        os.chmod(f"{self.directory}/pin", 0o755)
        agent = f"{self.directory}/agent"
        server = self.start(Process, ["ssh-agent", "-D", "-a", agent], user="carol", env=self.env)
        server.wait_for_log("SSH_AUTH_SOCK")
        env = dict(self.env, SSH_AUTH_SOCK=agent, SSH_ASKPASS_REQUIRE="force",
                   SSH_ASKPASS=f"{self.directory}/pin")
        self.works(f"ssh-add -s {module()}", "ssh-keygen -q -Y sign -f key.pub -n file message",
                   env=env)
        with open(f"{self.directory}/message", encoding="utf-8") as file:
            message = file.read()
        check = "ssh-keygen -Y verify -f signers -I carol -n file -s message.sig"
        self.assertIn("Good", self.works(check, data=message))
        self.refused(check, "not verify", data=message + "!")

    def test_other_pin(self):
        self.works("tpm2_ptool changepin --label=carol --user=user --old=1234 --new=4321")
        self.works("tpm2_ptool verify --label=carol --userpin=4321")
        self.works("tpm2_ptool addkey --label=carol --userpin=4321 --algorithm=ecc256")

    def test_persistent_primary(self):
        """What `init` does without --transient-parent needs a persistent handle."""
        store = self.directory_of("carol")
        self.refused(f"tpm2_ptool init --path={store}", "0xB0120")


class Pkcs11InTheKernelsRoom(Pkcs11):
    config = KERNELS_ROOM
