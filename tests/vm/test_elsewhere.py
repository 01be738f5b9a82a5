"""Who is not at the machine: over ssh, from cron, without a session, and a user's own services."""

import scenario
from scenario import TCTI, USE_A_KEY, Scenario


# Waited for by moving, so that what is read is whole.
JOB = ("* * * * * TPM2TOOLS_TCTI=tpmgate: tpm2_getrandom --hex 8 >cron.new 2>&1; "
       "printf '\\nstatus \\%d\\n' $? >>cron.new; mv cron.new cron.log\n")


class Elsewhere(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for user in ("alice", "carol"):
            scenario.here.run(f"crontab -u {user} -", input=JOB)
        scenario.here.run("systemctl start cron")

    @classmethod
    def tearDownClass(cls):
        scenario.here.run("systemctl stop cron; crontab -u alice -r; crontab -u carol -r")

    def refused(self, result, user):
        self.assertNotEqual(result.status, 0, result)
        lines = [line for line in result.output.splitlines() if "tpmgate-users" in line]
        self.assertEqual(len(lines), 1, result)
        self.assertIn(f"gpasswd -a {user} tpmgate-users", lines[0])

    def works(self, result):
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.output, "[0-9a-f]{16}")

    def ssh(self, user, command):
        return self.run_in_guest(
            f"ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR {user}@localhost '{command}'",
            check=False)

    def test_ssh(self):
        self.run_in_guest("""set -e
            mkdir -p -m 755 /run/sshd
            [ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
            for user in alice carol; do
                install -d -o $user -g $user -m 700 /home/$user/.ssh
                install -o $user -g $user /root/.ssh/id_ed25519.pub /home/$user/.ssh/authorized_keys
            done
            systemctl start ssh""")
        session = self.ssh("alice", "loginctl show-session $XDG_SESSION_ID -p Remote").output
        self.assertEqual(session, "Remote=yes\n")
        command = "TPM2TOOLS_TCTI=tpmgate: tpm2_getrandom --hex 8"
        self.refused(self.ssh("alice", command), "alice")
        self.works(self.ssh("alice", command.replace("tpmgate:", "tpmgate:profile=basic")))
        self.works(self.ssh("carol", command))
        status = self.ssh("alice", "tpmgate status").output
        self.assertIn("over ssh only where an agent such as pkttyagent runs", status)
        # what allow_any says of the rest
        self.assertRegex(status, r"owner +no")
        self.assertRegex(status, r"attest +prompt")

    def test_no_session(self):
        """As the programs of services."""
        self.refused(self.run_in_guest("tpm2_getrandom --hex 8", user="alice", env=TCTI,
                                       check=False), "alice")
        self.run_in_guest(USE_A_KEY, user="carol", env=TCTI)
        status = self.run_in_guest("tpmgate status", user="alice").output
        self.assertRegex(status, r"owner +no")
        self.assertRegex(status, r"keys +prompt")

    def test_rule(self):
        """The example rule, as its head says to use it. The group counts without a new login."""
        rule = "/etc/polkit-1/rules.d/50-tpmgate-group.rules"

        def status(env=TCTI, user="alice"):
            return self.run_in_guest("tpm2_getrandom --hex 8", user=user, env=env,
                                     check=False).status

        self.run_in_guest(f"""groupadd developers; gpasswd -a alice developers
            cp $(find /usr -path '*/tpmgate/examples/50-tpmgate-group.rules') {rule}""")
        try:
            self.machine.eventually(lambda: status() == 0, "polkitd has read the rule")
            self.run_in_guest(USE_A_KEY, user="alice", env=TCTI)
            # one profile, and not for others
            self.assertNotEqual(status({"TPM2TOOLS_TCTI": "tpmgate:profile=keys+persist"}), 0)
            self.assertNotEqual(status(user="bob"), 0)
        finally:
            self.run_in_guest(f"rm {rule}; groupdel -f developers")
        self.machine.eventually(lambda: status() != 0, "polkitd has forgotten the rule")

    def test_group_without_polkit(self):
        self.run_in_guest("systemctl mask --runtime --now polkit.service")
        try:
            self.works(self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=TCTI))
            result = self.run_in_guest("tpm2_getrandom --hex 8", user="alice", env=TCTI,
                                       check=False)
            self.refused(result, "alice")
            self.assertIn("polkit", result.output)
            # nor does a broker need it to start
            self.run_in_guest("systemctl restart tpmgate.service")
            self.works(self.run_in_guest("tpm2_getrandom --hex 8", user="carol", env=TCTI))
        finally:
            self.run_in_guest("systemctl unmask --runtime polkit.service; systemctl start polkit")

    def user_service(self, user):
        return self.run_in_guest(
            "XDG_RUNTIME_DIR=/run/user/$(id -u) systemd-run --user --quiet --wait --pipe "
            "--collect -p Environment=TPM2TOOLS_TCTI=tpmgate: tpm2_getrandom --hex 8",
            user=user, check=False)

    def test_user_service(self):
        self.run_in_guest("loginctl enable-linger alice carol")
        try:
            for user in ("alice", "carol"):
                self.run_in_guest(f"systemctl start user@$(id -u {user}).service")
            self.refused(self.user_service("alice"), "alice")
            self.works(self.user_service("carol"))
        finally:
            self.run_in_guest("loginctl disable-linger alice carol")

    def test_z_cron(self):
        """Last, because the jobs of setUpClass() run at the next full minute."""
        said = {user: self.machine.eventually(lambda user=user: self.run_in_guest(
            f"grep -s -B 9 '^status' /home/{user}/cron.log", check=False).output,
            f"{user}'s job has run", 150) for user in ("alice", "carol")}
        self.assertRegex(said["carol"], r"^[0-9a-f]{16}\nstatus 0\n$")
        self.assertRegex(said["alice"], r"\nstatus [1-9]")
        self.assertIn("gpasswd -a alice tpmgate-users", said["alice"])
