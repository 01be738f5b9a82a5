"""The service: from cold, idle, killed, restarted, and how systemd rates it."""

import re

from scenario import TCTI, Scenario

REVOKED = "000b0120"


class Service(Scenario):
    def tearDown(self):
        self.run_in_guest("systemctl stop 'vm-holder-*'", check=False)
        super().tearDown()

    def state(self, unit="tpmgate.service"):
        return self.run_in_guest(f"systemctl show -p ActiveState --value {unit}").output.strip()

    def main_pid(self):
        return int(self.run_in_guest("systemctl show -p MainPID --value tpmgate.service").output)

    def test_activation_and_idle_exit(self):
        self.run_in_guest("systemctl stop tpmgate.service")
        self.assertEqual(self.state("tpmgate.socket"), "active")
        self.assertEqual(self.state(), "inactive")
        self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=TCTI)
        self.assertEqual(self.state(), "active")
        self.assertEqual(self.run_in_guest("stat -c '%U %a' /run/tpmgate/broker.sock").output,
                         "root 666\n")
        self.machine.eventually(lambda: self.state() == "inactive", "it ends when idle", 90)
        self.assertEqual(self.run_in_guest(
            "systemctl show -p Result --value tpmgate.service").output, "success\n")
        self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=TCTI)
        self.assertEqual(self.state(), "active")

    def test_killed_and_revoked(self):
        holders = [self.hold("carol"), self.hold("carol"), self.hold("root")]
        before = self.main_pid()
        self.run_in_guest("systemctl kill -s KILL --kill-whom=main tpmgate.service")
        self.machine.eventually(lambda: self.main_pid() not in (0, before), "a new broker")
        for holder in holders:
            holder.goes_on()
            self.assertEqual(set(holder.codes()), {"00000000"})
        listed = self.run_in_guest("tpmgate sessions").output
        for holder in holders:
            self.assertRegex(listed, rf"(?m)^{holder.session} ")
        self.assertRegex(listed, rf"(?m)^{holders[0].session} +carol ")
        # one's own only, unless one is root
        self.assertNotIn(holders[2].session,
                         self.run_in_guest("tpmgate sessions", user="carol").output)
        self.assertNotEqual(self.run_in_guest(f"tpmgate revoke {holders[2].session}", user="carol",
                                              check=False).status, 0)

        self.run_in_guest(f"tpmgate revoke {holders[1].session}")
        holders[1].goes_on()
        self.assertEqual(holders[1].codes()[-1], REVOKED)
        for holder in (holders[0], holders[2]):
            holder.goes_on()
            self.assertEqual(set(holder.codes()), {"00000000"})
        self.assertNotIn(holders[1].session, self.run_in_guest("tpmgate sessions").output)

    def test_restarted(self):
        """As an upgrade does it: nobody notices either."""
        holder = self.hold("carol")
        self.run_in_guest("systemctl restart tpmgate.service")
        holder.goes_on()
        self.assertEqual(set(holder.codes()), {"00000000"})
        self.assertIn(holder.session, self.run_in_guest("tpmgate sessions").output)

    def test_confinement(self):
        """What systemd sees, and that relays run as nobody else than the broker's user."""
        rating = self.run_in_guest("systemd-analyze security --no-pager tpmgate.service").output
        exposure = re.search(r"Overall exposure level for tpmgate.service: ([0-9.]+)", rating)
        self.assertLessEqual(float(exposure.group(1)), 1.5)
        self.hold("carol")
        users = self.run_in_guest("ps -o user= -C tpmgate-broker,tpmgate-relay").output.split()
        self.assertEqual(users, ["tpmgate"] * len(users))
        self.assertGreaterEqual(len(users), 2)
