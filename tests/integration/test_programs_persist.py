"""tpm2-tools under `persist`: own NV indices and own persistent keys, from process to process."""

import hashlib
import struct

from programs import Programs, needs

INDEX, ANOTHER = "0x01800001", "0x01800002"
PERSISTENT, OTHER_PERSISTENT = "0x81000100", "0x81000101"
REFUSED = "0xB0120"
NO_HANDLE = "0x18B"
NO_DA = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
SECRET = b"what is written"


class Persist(Programs):
    profile = "keys+persist"

    def setUp(self):
        super().setUp()
        self.write("data", SECRET)
        self.write("eight", SECRET[:8])
        self.write("message", b"what is signed")
        self.write("other", b"something else")
        self.bobs = self.environment(self.profile)
        self.bobs["HOME"] = self.directory_of("bob")

    def refused_for_bob(self, line, reason=REFUSED):
        result = self.run_line(line, env=self.bobs, user="bob", cwd=self.bobs["HOME"])
        self.assertNotEqual(result.returncode, 0, f"{line} went through: {result.stdout}")
        self.assertIn(reason, result.stdout + result.stderr, line)

    def handles(self, kind):
        """What the user is shown, and what there is."""
        line = f"tpm2_getcap handles-{kind}"
        return self.works(line).split()[1::2], self.directly(line).split()[1::2]


class Nv(Persist):
    def define(self, index=INDEX, size=32, attributes="authread|authwrite|no_da", options=""):
        self.works(f"tpm2_nvdefine -C o -s {size} -a {attributes} {options} {index}")

    def content(self, index=INDEX, options=""):
        self.works(f"tpm2_nvread {options} -o content {index}")
        return self.read("content")

    def undefine(self, index=INDEX):
        self.works(f"tpm2_nvundefine -C o {index}")

    def test_ordinary_index(self):
        self.define(size=len(SECRET))
        self.works(f"tpm2_nvwrite -i data {INDEX}")
        self.assertEqual(self.content(), SECRET)
        self.assertIn(f"{len(SECRET)}", self.works(f"tpm2_nvreadpublic {INDEX}"))
        self.undefine()
        self.refused(f"tpm2_nvread {INDEX}", NO_HANDLE)

    def test_index_with_password(self):
        self.define(size=len(SECRET), options="-p password")
        self.works(f"tpm2_nvwrite -P password -i data {INDEX}")
        self.assertEqual(self.content(options="-P password"), SECRET)
        self.refused(f"tpm2_nvread -P guess {INDEX}", "0x9A2")
        self.undefine()

    def test_owner_authorization(self):
        """The owner's authorization opens the index too, if its attributes say so."""
        self.define(size=len(SECRET), attributes="ownerread|ownerwrite|no_da")
        self.works(f"tpm2_nvwrite -C o -i data {INDEX}")
        self.assertEqual(self.content(options="-C o"), SECRET)
        self.undefine()

    def test_counter(self):
        self.define(size=8, attributes="nt=counter|authread|authwrite|no_da")
        self.works(f"tpm2_nvincrement {INDEX}")
        first, = struct.unpack(">Q", self.content())
        self.works(f"tpm2_nvincrement {INDEX}", f"tpm2_nvincrement {INDEX}")
        self.assertEqual(struct.unpack(">Q", self.content()), (first + 2,))
        self.undefine()

    def test_bits_and_extended_index(self):
        self.define(size=8, attributes="nt=bits|authread|authwrite|no_da")
        self.works(f"tpm2_nvsetbits -i 0x8001 {INDEX}")
        self.assertEqual(self.content(), struct.pack(">Q", 0x8001))
        self.define(ANOTHER, attributes="nt=extend|authread|authwrite|no_da")
        self.works(f"tpm2_nvextend -i data {ANOTHER}")
        self.assertEqual(self.content(ANOTHER), hashlib.sha256(bytes(32) + SECRET).digest())
        self.undefine()
        self.undefine(ANOTHER)

    def test_locks(self):
        self.define(size=len(SECRET),
                    attributes="authread|authwrite|no_da|writedefine|read_stclear")
        self.works(f"tpm2_nvwrite -i data {INDEX}", f"tpm2_nvwritelock {INDEX}")
        self.refused(f"tpm2_nvwrite -i data {INDEX}", "0x148")
        self.assertEqual(self.content(), SECRET)
        self.works(f"tpm2_nvreadlock {INDEX}")
        self.refused(f"tpm2_nvread {INDEX}", "0x148")
        self.undefine()

    def test_policy_nv(self):
        """It opens as long as a number in the user's own index is below ten."""
        self.define(size=8)
        for number in 9, 10:
            self.write(str(number), struct.pack(">Q", number))
        below = f"tpm2_policynv -i 10 {INDEX} ult"
        self.works(f"tpm2_nvwrite -i 9 {INDEX}",
                   "tpm2_startauthsession -S trial.session", f"{below} -S trial.session -L policy",
                   "tpm2_flushcontext trial.session", f"tpm2_createprimary -Q -C o -G ecc -a "
                   f"restricted|decrypt|{NO_DA} -c primary.ctx",
                   "tpm2_create -Q -C primary.ctx -i data -L policy -c sealed.ctx -u u -r r",
                   "tpm2_startauthsession -S policy.session --policy-session",
                   f"{below} -S policy.session",
                   "tpm2_unseal -c sealed.ctx -p session:policy.session -o unsealed",
                   f"tpm2_nvwrite -i 10 {INDEX}")
        self.assertEqual(self.read("unsealed"), SECRET)
        self.refused(f"{below} -S policy.session", "0x126")
        self.works("tpm2_flushcontext policy.session")
        self.undefine()

    def test_others_and_their_indices(self):
        self.directly(f"tpm2_nvdefine -C o -s 32 -a ownerread|authread|ownerwrite|authwrite|no_da "
                      f"{ANOTHER}")
        self.define(size=len(SECRET))
        self.works(f"tpm2_nvwrite -i data {INDEX}")
        shown, there = self.handles("nv-index")
        self.assertEqual([int(handle, 16) for handle in shown], [int(INDEX, 16)])
        self.assertEqual(len(there), 2)
        for line in (f"tpm2_nvread {INDEX}", f"tpm2_nvundefine -C o {INDEX}",
                     f"tpm2_nvwritelock {INDEX}"):
            self.refused_for_bob(line)
        for line in (f"tpm2_nvundefine -C o {ANOTHER}", f"tpm2_nvread {ANOTHER}",
                     f"tpm2_nvread -C o {ANOTHER}", f"tpm2_nvwrite -C o -i eight {ANOTHER}"):
            self.refused(line, REFUSED)
        self.refused(f"tpm2_nvread {INDEX}", REFUSED, env=self.environment("basic"))
        self.assertEqual(self.content(), SECRET)

    def test_indices_that_are_reserved(self):
        for index in ("0x01000001", "0x01400001", "0x01C00002", "0x01D10200"):
            self.refused(f"tpm2_nvdefine -C o -s 8 -a authread|authwrite|no_da {index}", REFUSED)

    def test_quota(self):
        for number in range(4):
            self.define(f"0x0180000{number}", size=8)
        line = "tpm2_nvdefine -C o -s 8 -a authread|authwrite|no_da 0x01800009"
        result = self.run_line(line)
        self.assertNotEqual(result.returncode, 0, "a fifth index")
        self.undefine("0x01800000")
        self.works(line)


class Keys(Persist):
    def setUp(self):
        super().setUp()
        self.works(f"tpm2_createprimary -Q -C o -G ecc -a restricted|decrypt|{NO_DA} "
                   "-c primary.ctx")
        self.key("key")

    def key(self, name, parent="primary.ctx"):
        self.works(f"tpm2_create -Q -C {parent} -G ecc -a sign|{NO_DA} -u {name}.pub "
                   f"-r {name}.priv", f"tpm2_load -Q -C {parent} -u {name}.pub -r {name}.priv "
                   f"-c {name}.ctx", f"tpm2_readpublic -Q -c {name}.ctx -f pem -o {name}.pem")

    def signs(self, context, name="key"):
        check = f"openssl dgst -sha256 -verify {name}.pem -signature signature"
        self.works(f"tpm2_sign -Q -c {context} -g sha256 -f plain -o signature message",
                   f"{check} message")
        self.refused(f"{check} other", "Verification failure")

    def test_persistent_key(self):
        self.works(f"tpm2_evictcontrol -Q -C o -c key.ctx {PERSISTENT}")
        self.signs(PERSISTENT)
        self.works(f"tpm2_readpublic -Q -c {PERSISTENT} -f pem -o again.pem")
        self.assertEqual(self.read("again.pem"), self.read("key.pem"))
        shown, there = self.handles("persistent")
        self.assertEqual((len(shown), len(there)), (1, 1), (shown, there))
        self.works(f"tpm2_evictcontrol -Q -C o -c {PERSISTENT}")
        self.assertEqual(self.handles("persistent"), ([], []))
        result = self.run_line(f"tpm2_sign -c {PERSISTENT} -g sha256 -o signature message")
        self.assertNotEqual(result.returncode, 0)
        self.signs("key.ctx")

    def test_persistent_parent(self):
        self.works(f"tpm2_evictcontrol -Q -C o -c primary.ctx {PERSISTENT}")
        self.key("below", PERSISTENT)
        self.signs("below.ctx", "below")
        self.works(f"tpm2_evictcontrol -Q -C o -c {PERSISTENT}")

    def test_others_and_their_keys(self):
        self.directly("tpm2_createprimary -Q -C o -G ecc -c direct.ctx",
                      f"tpm2_evictcontrol -Q -C o -c direct.ctx {OTHER_PERSISTENT}",
                      "tpm2_flushcontext -t")
        self.works(f"tpm2_evictcontrol -Q -C o -c key.ctx {PERSISTENT}")
        for line in (f"tpm2_evictcontrol -C o -c {PERSISTENT}", f"tpm2_readpublic -c {PERSISTENT}"):
            self.refused_for_bob(line)
        for line in (f"tpm2_evictcontrol -C o -c {OTHER_PERSISTENT}",
                     f"tpm2_readpublic -c {OTHER_PERSISTENT}"):
            self.refused(line, REFUSED)
        self.signs(PERSISTENT)

    def test_quota(self):
        for number in range(2):
            self.works(f"tpm2_evictcontrol -Q -C o -c key.ctx 0x8100011{number}")
        third = "tpm2_evictcontrol -Q -C o -c key.ctx 0x81000112"
        self.assertNotEqual(self.run_line(third).returncode, 0, "a third key")
        self.works("tpm2_evictcontrol -Q -C o -c 0x81000110", third)

    def test_handles_that_are_reserved(self):
        """The storage root key's, endorsement keys', IDevID's and the platform's."""
        for handle in ("0x81000001", "0x81000002", "0x81010001", "0x81020000", "0x81800000"):
            result = self.run_line(f"tpm2_evictcontrol -C o -c key.ctx {handle}")
            self.assertNotEqual(result.returncode, 0, handle)

    @needs("tpm2_ptool", "libtpm2-pkcs11-tools")
    def test_pkcs11_with_a_persistent_primary(self):
        self.works(f"tpm2_evictcontrol -Q -C o -c primary.ctx {PERSISTENT}",
                   f"tpm2_ptool init --primary-handle={PERSISTENT} --path={self.directory}",
                   "tpm2_ptool addtoken --pid=1 --sopin=5678 --label=carol --userpin=1234",
                   "tpm2_ptool addkey --label=carol --userpin=1234 --algorithm=ecc256",
                   "tpm2_ptool verify --label=carol --userpin=1234")
