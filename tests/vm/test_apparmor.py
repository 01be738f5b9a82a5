"""AppArmor's profiles, as the packages load them. After what uses the broker in every way."""

from scenario import Scenario

LABELS = "for pid in $(pgrep -x %s); do cat /proc/$pid/attr/current; done"


class AppArmor(Scenario):
    def test_1_confined(self):
        self.hold("carol")
        self.assertEqual(self.run_in_guest(LABELS % "tpmgate-broker").output,
                         "tpmgate-broker (enforce)\n")
        labels = set(self.run_in_guest(LABELS % "tpmgate-relay").output.splitlines())
        self.assertEqual(labels, {"tpmgate-broker//&tpmgate-relay (enforce)"})
        self.run_in_guest("systemctl stop 'vm-holder-*'")

    def test_2_nothing_was_denied(self):
        denied = self.run_in_guest("journalctl -b --no-pager --grep 'apparmor=.DENIED'",
                                   check=False).output
        self.assertEqual([line for line in denied.splitlines() if "tpmgate" in line], [])
