"""The packages on a machine that is up: an upgrade under open sessions, removal, purge, and
installing them anew."""

from scenario import TCTI, Scenario

REVOKED = "000b0120"
PERSIST = {"TPM2TOOLS_TCTI": "tpmgate:profile=keys+persist"}
PACKAGES = "tpmgate tpmgate-udev tpmgate-rm libtpmgate0 libtss2-tcti-tpmgate0"
# Accounts stay, as accounts do in Debian; the rest is systemd's and dpkg's own.
FILES = ("find / -xdev -name '*tpmgate*' -not -path '/proc/*' -not -path '/run/vm/*' "
         "-not -path '/tmp/*' -not -path '/var/cache/tpmgate-vm/*' -not -path '/home/*' "
         "-not -name 'tpmgate-vm*'")
INDEX = "0x01800010"


class Packages(Scenario):
    installs = False

    def tearDown(self):
        self.run_in_guest("systemctl stop 'vm-holder-*'", check=False)
        super().tearDown()

    def version(self):
        return self.run_in_guest("dpkg-query -W -f '${Version}' tpmgate").output

    def main_pid(self):
        return int(self.run_in_guest("systemctl show -p MainPID --value tpmgate.service").output)

    def test_1_upgrade(self):
        """From the version before: sessions go on, and the new broker knows them."""
        self.run_in_guest(f"dpkg --purge {PACKAGES}", timeout=120, check=False)
        self.machine.install("/run/vm/packages/previous")
        self.run_in_guest("gpasswd -a carol tpmgate-users")
        before = self.version()
        self.run_in_guest(f"""set -e
            tpm2_nvdefine -Q -C o -s 8 -a 'authread|authwrite|no_da' {INDEX}
            printf 12345678 | tpm2_nvwrite -Q -i - {INDEX}""", user="carol", env=PERSIST)
        holder = self.hold("carol")
        broker = self.main_pid()
        relay = self.run_in_guest("pgrep -x tpmgate-relay").output
        self.machine.install()
        self.assertNotEqual(self.version(), before)
        self.assertNotIn(self.main_pid(), (0, broker))
        self.assertEqual(self.run_in_guest("pgrep -x tpmgate-relay").output, relay)
        holder.goes_on()
        self.assertEqual(set(holder.codes()), {"00000000"})
        self.assertRegex(self.run_in_guest("tpmgate sessions").output,
                         rf"(?m)^{holder.session} +carol ")
        self.run_in_guest(f"tpmgate revoke {holder.session}")
        holder.goes_on()
        self.assertEqual(holder.codes()[-1], REVOKED)
        # what is whose is known to it, too
        self.assertEqual(self.run_in_guest(f"tpm2_nvread -s 8 {INDEX}", user="carol",
                                           env=PERSIST).output, "12345678")

    def test_2_removed(self):
        """Sessions end, and what stays in the TPM is said with whose it is."""
        holder = self.hold("carol")
        said = self.machine.apt("remove tpmgate").output
        self.assertIn("this is recorded for users, and stays in the TPM:", said)
        self.assertRegex(said, rf"carol +NV index {INDEX}, 8 bytes on tpmrm0")
        holder.goes_on()
        self.assertEqual(holder.codes()[-1], REVOKED)
        self.run_in_guest("systemctl stop 'vm-holder-*'")
        self.machine.eventually(
            lambda: self.run_in_guest("pgrep -u tpmgate", check=False).status == 1,
            "nothing of it runs")
        self.run_in_guest("! systemctl cat tpmgate.socket 2>&1")
        self.run_in_guest("test ! -e /run/tpmgate && test -s /var/lib/tpmgate/registry")
        # it did stay, for who has the TPM itself
        self.assertEqual(self.run_in_guest("tpm2_getcap handles-nv-index", env={
            "TPM2TOOLS_TCTI": "device:/dev/tpmrm0"}).output.strip().lstrip("- ").upper(),
                         INDEX.upper().replace("0X0", "0X"))

    def test_3_installed_again(self):
        """It is carol's as before."""
        self.machine.install()
        self.assertEqual(self.run_in_guest(f"tpm2_nvread -s 8 {INDEX}", user="carol",
                                           env=PERSIST).output, "12345678")
        self.run_in_guest(f"tpm2_nvundefine -Q -C o {INDEX}", user="carol", env=PERSIST)

    def test_4_purged(self):
        self.run_in_guest("install -D /dev/null /etc/tpmgate/profiles.d/own.profile")
        said = self.machine.apt(f"purge {PACKAGES}").output
        self.assertIn("forgetting what is whose in the TPM", said)
        self.assertEqual(self.run_in_guest(FILES).output, "")
        self.assertEqual(self.run_in_guest("systemctl is-system-running").output, "running\n")
        self.machine.install()
        self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=TCTI)

    def test_5_without_tpm2_tss(self):
        """Nothing but the TCTI is missing without tpm2-tss. Last, because it does not come back."""
        self.run_in_guest("apt-get -q -y purge 'libtss2-*' tpm2-tools tpm-udev", timeout=120)
        self.assertEqual(self.run_in_guest("find / -xdev -name 'libtss2*' -path '/usr/*'").output,
                         "")
        self.assertNotIn("libtss2", self.run_in_guest(
            "ldd /usr/libexec/tpmgate-* /usr/bin/tpmgate").output)
        holder = self.hold("carol")
        holder.goes_on()
        self.assertEqual(set(holder.codes()), {"00000000"})
        self.run_in_guest("tpmgate status", user="carol")
