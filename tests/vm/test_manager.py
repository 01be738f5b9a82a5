"""tpmgate-rm in front of the raw node, in the place of the kernel's resource manager."""

from scenario import TCTI, USE_A_KEY, Scenario

DROP_IN = "/run/systemd/system/tpmgate.service.d/manager.conf"
RULE = "/etc/udev/rules.d/99-raw.rules"
APPLY = ("udevadm control --reload; udevadm trigger --action=change --settle "
         "--subsystem-match=tpm; systemctl daemon-reload; systemctl restart tpmgate.service")


class Manager(Scenario):
    def tearDown(self):
        self.run_in_guest(f"""systemctl stop 'vm-holder-*'
            rm -f {DROP_IN} {RULE}; {APPLY}""", check=False)
        super().tearDown()

    def test_raw_node(self):
        command = self.run_in_guest(
            "systemctl cat tpmgate.service | sed -n s/^ExecStart=//p").output.strip()
        self.machine.write("/run/manager.conf", "[Service]\nExecStart=\n"
                           f"ExecStart={command} --tpm rm:tcti:device:/dev/tpm0\n")
        # the rules leave it to the user tss alone
        self.machine.write(RULE, 'KERNEL=="tpm0", GROUP="tss"\n')
        self.run_in_guest(f"install -m 644 -D /run/manager.conf {DROP_IN}; {APPLY}")
        self.assertIn("tpmgate-rm", self.run_in_guest("tpmgate devices", user="carol").output)
        holders = self.hold("carol", "root")
        self.run_in_guest(USE_A_KEY, user="carol", env=TCTI)
        self.run_in_guest("ls -l /proc/$(pgrep -x tpmgate-rm)/fd | grep -q /dev/tpm0$")
        for holder in holders:
            holder.goes_on()
            self.assertEqual(set(holder.codes()), {"00000000"})
