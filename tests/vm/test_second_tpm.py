"""A second TPM that comes and goes while the machine runs."""

from scenario import Scenario

GONE = "000b0101"
SECOND = {"TPM2TOOLS_TCTI": "tpmgate:device=tpmrm1"}


class SecondTpm(Scenario):
    def tearDown(self):
        self.run_in_guest("systemctl stop 'vm-holder-*' vm-second-tpm", check=False)
        super().tearDown()

    def devices(self):
        return {line.split()[0] for line in self.run_in_guest("tpmgate devices").output.splitlines()
                if line}

    def add(self):
        self.run_in_guest("""modprobe tpm_vtpm_proxy && mkdir -p /run/second-tpm &&
            systemd-run --quiet --collect --unit=vm-second-tpm swtpm chardev --vtpm-proxy --tpm2 \
                --tpmstate dir=/run/second-tpm""")
        self.machine.eventually(lambda: "tpmrm1" in self.devices(), "the broker has found it")

    def test_added_and_removed(self):
        first = self.hold("carol")
        self.assertEqual(self.devices(), {"tpmrm0"})
        self.add()
        self.assertEqual(self.run_in_guest("udevadm settle; stat -c '%G %a' /dev/tpmrm1").output,
                         "tss 660\n")
        self.assertRegex(self.run_in_guest("tpm2_getrandom --hex 8", user="carol",
                                           env=SECOND).output, "^[0-9a-f]{16}$")
        second = self.hold("carol", device="tpmrm1")
        # removed under a session: that one ends, the other goes on
        self.run_in_guest("systemctl stop vm-second-tpm")
        self.machine.eventually(lambda: self.devices() == {"tpmrm0"}, "the broker has lost it")
        second.goes_on()
        self.assertEqual(second.codes()[-1], GONE)
        first.goes_on()
        self.assertEqual(set(first.codes()), {"00000000"})
        self.assertNotIn(second.session, self.run_in_guest("tpmgate sessions").output)
        self.assertNotEqual(self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=SECOND,
                                              check=False).status, 0)
        # and back
        self.add()
        self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=SECOND)
