"""The nodes of TPMs belong to whom udev-rules/ and Debian's tpm-udev say, whichever comes first.

Not here, for want of the hardware: the rules for tcm* (the Chinese sibling of TPM 2.0, which the kernel
does not make) and for USB.
"""

import re

from scenario import Scenario


class Udev(Scenario):
    installs = False

    def node(self, name):
        """OWNER:GROUP MODE of /dev/NAME; it has no access control list."""
        listing = self.run_in_guest(f"ls -ld /dev/{name}").output
        self.assertRegex(listing, "^c[rwx-]{9} ", "an access control list")
        return self.run_in_guest(f"stat -c '%U:%G %a' /dev/{name}").output.strip()

    def check_nodes(self, owner_of_managed):
        # The raw node is for the user tss alone, as its group is root.
        self.assertEqual(self.node("tpm0"), "tss:root 660")
        self.assertEqual(self.node("tpmrm0"), f"{owner_of_managed}:tss 660")
        for name in ("tpm0", "tpmrm0"):
            properties = self.run_in_guest(f"udevadm info --query=property /dev/{name}").output
            tags = re.search(r"^TAGS=(.*)$", properties, re.M).group(1)
            self.assertIn(":systemd:", tags)
            self.assertNotIn("uaccess", tags)
            self.run_in_guest(f"systemctl is-active dev-{name}.device")
            self.assertNotEqual(
                self.run_in_guest(f"exec 3<>/dev/{name}", user="alice", check=False).status, 0)
        self.run_in_guest("setpriv --reuid tpmgate --regid tpmgate --init-groups "
                          "bash -c 'exec 3<>/dev/tpmrm0'")

    def check_accounts(self):
        """However many there were who wanted the user and the group tss, there is one of each."""
        for database in ("passwd", "group"):
            self.assertEqual(self.run_in_guest(f"grep -c ^tss: /etc/{database}").output, "1\n")
        self.assertEqual(self.run_in_guest("id -gn tss").output, "tss\n")
        self.assertIn("tss", self.run_in_guest("id -Gn tpmgate").output.split())
        self.assertEqual(self.run_in_guest("id -Gn alice").output, "alice\n")

    def test_1_after_tpm_udev(self):
        """All at once and without a restart, as what follows."""
        self.run_in_guest("dpkg -s tpm-udev")
        self.machine.install()
        self.check_nodes("tss")
        self.check_accounts()

    def test_2_tpm_udev_goes(self):
        """Its rules go, and ours are as good."""
        self.purge("tpm-udev")
        self.renew_nodes()
        self.check_nodes("root")

    def test_3_alone(self):
        """A machine that never had either."""
        self.purge("tpmgate-udev tpmgate")
        self.run_in_guest("for name in tss tpmgate; do userdel $name; groupdel -f $name 2>&1 || "
                          "true; done; ! getent group tss")
        self.renew_nodes()
        for name in ("tpm0", "tpmrm0"):
            self.assertEqual(self.node(name), "root:root 600")
        self.machine.install(by="dpkg --install")  # apt misses tpm-udev
        self.check_nodes("root")
        self.check_accounts()

    def test_4_before_tpm_udev(self):
        self.run_in_guest("dpkg -i /var/cache/tpmgate-vm/tpm-udev_*.deb && udevadm settle")
        self.check_nodes("tss")
        self.check_accounts()
        # and with the events that a boot has
        self.renew_nodes()
        self.check_nodes("tss")

    def test_5_goes_before_tpm_udev(self):
        """Nothing of theirs is taken along; and back for the scenarios that follow."""
        self.purge("tpmgate-udev tpmgate")
        self.run_in_guest("udevadm settle")
        self.assertEqual(self.node("tpmrm0"), "tss:tss 660")
        self.renew_nodes()
        self.assertEqual(self.node("tpm0"), "tss:root 660")
        self.assertEqual(self.node("tpmrm0"), "tss:tss 660")
        self.machine.install()
        self.check_nodes("tss")
        self.check_accounts()

    def purge(self, packages):
        # tpm2-tss depends on tpm-udev, which no tool is kept from working by here
        self.run_in_guest(f"dpkg --force-depends --purge {packages} 2>&1", timeout=120)

    def renew_nodes(self):
        """As at boot: nodes as the kernel makes them, and the rules that there are."""
        self.run_in_guest("""set -e
            chown root:root /dev/tpm*; chmod 600 /dev/tpm*
            udevadm control --reload
            udevadm trigger --action=add --subsystem-match=tpm --subsystem-match=tpmrm --settle""")
