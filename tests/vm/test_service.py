"""The service: from cold, idle, killed, stopped, rebooted, and how systemd rates it."""

import re

from scenario import TCTI, Scenario, go_on

PERSIST = {"TPM2TOOLS_TCTI": "tpmgate:profile=keys+persist"}
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
        """From cold, with the time that the first caller waits; the rest by a shorter idle time."""
        drop_in = "/run/systemd/system/tpmgate.service.d/idle.conf"
        command = self.run_in_guest(
            "systemctl cat tpmgate.service | sed -n s/^ExecStart=//p").output
        self.machine.write("/run/idle.conf", "[Service]\nExecStart=\n"
                           f"ExecStart={command.strip()} --idle-exit 3\n")
        self.run_in_guest(f"install -D /run/idle.conf {drop_in}; systemctl daemon-reload")
        try:
            self.run_in_guest("systemctl stop tpmgate.service")
            self.assertEqual(self.state("tpmgate.socket"), "active")
            self.assertEqual(self.state(), "inactive")
            first, second = (self.run_in_guest(
                "date +%s%N; tpm2_getrandom --hex 8 >/dev/null; date +%s%N", user="carol",
                env=TCTI).output.split() for _ in range(2))
            self.assertEqual(self.state(), "active")
            for name, (begin, end) in (("cold", first), ("warm", second)):
                print(f"{name}: {(int(end) - int(begin)) / 1e6:.0f} ms ", end="", flush=True)
            self.assertEqual(self.run_in_guest("stat -c '%U %a' /run/tpmgate/broker.sock").output,
                             "root 666\n")
            self.machine.eventually(lambda: self.state() == "inactive", "it ends when idle", 30)
            self.assertEqual(self.run_in_guest(
                "systemctl show -p Result --value tpmgate.service").output, "success\n")
            self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=TCTI)
            self.assertEqual(self.state(), "active")
        finally:
            self.run_in_guest(f"rm {drop_in}; systemctl daemon-reload; "
                              "systemctl restart tpmgate.service")

    def test_killed_and_revoked(self):
        """Twenty sessions of two users in use while the broker is killed: none notices."""
        holders = self.hold(*["carol"] * 10, *["root"] * 10)
        carol, root = holders[:10], holders[10:]
        before = self.main_pid()
        self.run_in_guest("systemctl kill -s KILL --kill-whom=main tpmgate.service")
        self.machine.eventually(lambda: self.main_pid() not in (0, before), "a new broker")
        self.assert_undisturbed(holders)
        listed = self.run_in_guest("tpmgate sessions").output
        for holder in carol:
            self.assertRegex(listed, rf"(?m)^{holder.session} +carol ")
        for holder in root:
            self.assertRegex(listed, rf"(?m)^{holder.session} +root ")
        # one's own only, unless one is root
        own = self.run_in_guest("tpmgate sessions", user="carol").output
        for holder in holders:
            (self.assertRegex if holder in carol else self.assertNotRegex)(
                own, rf"(?m)^{holder.session} ")
        self.assertNotEqual(self.run_in_guest(f"tpmgate revoke {root[0].session}", user="carol",
                                              check=False).status, 0)

        revoked = [carol[1], root[1]]
        self.run_in_guest(f"tpmgate revoke {carol[1].session}", user="carol")
        self.run_in_guest(f"tpmgate revoke {root[1].session}")
        go_on(revoked)
        for holder in revoked:
            self.assertEqual(holder.codes()[-1], REVOKED)
        self.assert_undisturbed([holder for holder in holders if holder not in revoked])
        listed = self.run_in_guest("tpmgate sessions").output
        for holder in revoked:
            self.assertNotRegex(listed, rf"(?m)^{holder.session} ")

    def assert_undisturbed(self, holders):
        go_on(holders)
        for holder in holders:
            self.assertEqual(set(holder.codes()), {"00000000"})

    def test_restarted(self):
        """As an upgrade does it: nobody notices either."""
        holder = self.hold("carol")
        self.run_in_guest("systemctl restart tpmgate.service")
        holder.goes_on()
        self.assertEqual(set(holder.codes()), {"00000000"})
        self.assertIn(holder.session, self.run_in_guest("tpmgate sessions").output)

    def test_stopped(self):
        holders = self.hold("carol", "carol")
        self.run_in_guest("systemctl stop tpmgate.service")
        go_on(holders)
        for holder in holders:
            self.assertEqual(holder.codes()[-1], REVOKED)
        # What answers them stays as long as they do, and no longer.
        self.run_in_guest("systemctl stop 'vm-holder-*'")
        self.machine.eventually(
            lambda: self.run_in_guest("pgrep -x tpmgate-relay", check=False).status == 1,
            "the relays have ended")
        self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=TCTI)

    def test_confinement(self):
        """What systemd sees, and that relays run as nobody else than the broker's user."""
        rating = self.run_in_guest("systemd-analyze security --no-pager tpmgate.service").output
        exposure = re.search(r"Overall exposure level for tpmgate.service: ([0-9.]+)", rating)
        self.assertLessEqual(float(exposure.group(1)), 1.5)
        self.hold("carol")
        users = self.run_in_guest("ps -o user= -C tpmgate-broker,tpmgate-relay").output.split()
        self.assertEqual(users, ["tpmgate"] * len(users))
        self.assertGreaterEqual(len(users), 2)

    def test_z_reboot(self):
        """What is whose is known after a reboot. Last, because everything else starts anew."""
        self.run_in_guest("""set -e
            tpm2_nvdefine -Q -C o -s 8 -a 'authread|authwrite|no_da' 0x01800001
            printf 12345678 | tpm2_nvwrite -Q -i - 0x01800001""", user="carol", env=PERSIST)
        self.run_in_guest("gpasswd -a alice tpmgate-users")
        self.machine.reboot()
        try:
            self.assertEqual(self.state("tpmgate.socket"), "active")
            self.assertEqual(self.state(), "inactive")
            status = self.run_in_guest("tpmgate status", user="carol").output
            self.assertRegex(status, "carol +NV index 0x01800001, 8 bytes on tpmrm0")
            self.assertEqual(self.run_in_guest("tpm2_nvread -s 8 0x01800001", user="carol",
                                               env=PERSIST).output, "12345678")
            self.assertNotEqual(self.run_in_guest("tpm2_nvread -s 8 0x01800001", user="alice",
                                                  env=PERSIST, check=False).status, 0)
            self.run_in_guest("tpm2_nvundefine -Q -C o 0x01800001", user="carol", env=PERSIST)
            self.assertNotIn("0x01800001", self.run_in_guest("tpmgate status", user="carol").output)
        finally:
            self.run_in_guest("gpasswd -d alice tpmgate-users")
