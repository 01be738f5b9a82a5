"""Somebody who has logged in at the machine and is in no group."""

import re

import scenario
from scenario import TCTI, USE_A_KEY, Scenario

ATTEST = "tpmgate:profile=attest"
ACTIVE = ("Active=yes", "Remote=no", "Seat=seat0", "State=active", "Name=bob")
POLICY = "/usr/share/polkit-1/actions/io.github.tpmgate.policy"

# The agent is for exactly the process that asks, which becomes the tool. It is there before.
PROMPTED = r"""
ready=$(mktemp -u)
mkfifo $ready
pkttyagent --process $$ --notify-fd 3 3>$ready &
cat $ready; rm $ready
exec tpm2_getrandom --hex 8
"""
# What a person does at the prompt, and then the tool's output and its status.
EXPECT = r"""
log_user 1
set timeout 25
spawn bash prompted.sh
expect {
    "Password:" {}
    timeout { puts "NO PROMPT"; exit 1 }
    eof { puts "NO PROMPT"; exit 1 }
}
# what is typed before the agent has switched the echo off is thrown away
while {![string match "* -echo *" [exec stty -a <$spawn_out(slave,name)]]} { after 20 }
%s
expect {
    eof {}
    timeout { puts "NO END"; exit 1 }
}
set result [wait]
puts "\nSTATUS [lindex $result 3] [lrange $result 4 end]"
"""


class Console(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bob = scenario.here.login("bob")

    @classmethod
    def tearDownClass(cls):
        scenario.here.logout("bob")

    def as_bob(self, command, env=None, check=True):
        return self.run_in_guest(command, user="bob", session=self.bob, env=env or TCTI,
                                 check=check)

    def prompt(self, answer, profile="attest"):
        """Output of the tool, with what a person does about the prompt in expect's language."""
        self.machine.write("/home/bob/prompted.sh", PROMPTED)
        self.machine.write("/home/bob/prompt.exp", EXPECT % answer)
        output = self.as_bob("expect prompt.exp", env={
            "TPM2TOOLS_TCTI": f"tpmgate:profile={profile},interactive=yes"}).output
        output = re.sub("\r|\x1b\\[[0-9;]*m", "", output)
        self.assertIn("A program calling itself “tpm2_getrandom” asks ", output)
        return output

    def assert_got_it(self, output):
        self.assertIn("AUTHENTICATION COMPLETE", output)
        self.assertRegex(output, r"\n[0-9a-f]{16}\n")
        self.assertRegex(output, r"STATUS 0 *\n")

    def assert_got_nothing(self, output):
        self.assertNotRegex(output, r"\n[0-9a-f]{16}\n")
        self.assertRegex(output, r"STATUS [1-9]")

    def assert_says_what_to_do(self, result):
        self.assertNotEqual(result.status, 0)
        lines = [line for line in result.output.splitlines() if "tpmgate-users" in line]
        self.assertEqual(len(lines), 1, result)
        self.assertIn("gpasswd -a bob tpmgate-users", lines[0])

    def test_active(self):
        """Without this the rest would show something else."""
        number = self.run_in_guest("loginctl show-user bob -p Display --value").output.strip()
        shown = self.run_in_guest(f"loginctl show-session {number}").output.splitlines()
        for line in ACTIVE:
            self.assertIn(line, shown)
        cgroup = self.as_bob("cat /proc/self/cgroup").output
        self.assertIn(f"session-{number}.scope", cgroup)
        self.assertEqual(self.as_bob("id -Gn").output, "bob\n")
        self.assertNotEqual(self.as_bob("exec 3<>/dev/tpmrm0", check=False).status, 0)

    def test_random_numbers_for_everybody(self):
        random = self.as_bob("tpm2_getrandom --hex 8",
                             env={"TPM2TOOLS_TCTI": "tpmgate:profile=basic"}).output
        self.assertRegex(random, "^[0-9a-f]{16}$")

    def test_keys(self):
        """As the build has it: without a prompt, or refused with what to do about it."""
        action = self.run_in_guest(f"cat {POLICY}").output.split('"io.github.tpmgate.keys"')[1]
        default = re.search("<allow_active>(.*)</allow_active>", action).group(1)
        status = self.as_bob("tpmgate status").output
        self.assertRegex(status, r"basic +yes")
        if default == "yes":
            self.assertRegex(status, r"keys +yes")
            self.as_bob(USE_A_KEY)
        else:
            self.assertRegex(status, r"keys +prompt")
            self.assert_says_what_to_do(self.as_bob("tpm2_getrandom --hex 8", check=False))

    def test_no_agent(self):
        """Nobody there to ask for a password."""
        for interactive in ("no", "yes"):
            self.assert_says_what_to_do(self.as_bob("tpm2_getrandom 8", check=False, env={
                "TPM2TOOLS_TCTI": f"{ATTEST},interactive={interactive}"}))

    def test_right_password(self):
        output = self.prompt('send "bob\\r"')
        self.assertIn("asks for this computer's permanent TPM identity (tpmrm0), by which it can "
                      "be recognised anywhere", output)
        self.assertRegex(output, "Authenticating as: bob")
        self.assert_got_it(output)

    def test_password_is_for_one_process(self):
        """What was typed for one program is no other's."""
        self.assert_got_it(self.prompt('send "bob\\r"'))
        self.assert_says_what_to_do(self.as_bob("tpm2_getrandom --hex 8", check=False, env={
            "TPM2TOOLS_TCTI": ATTEST + ",interactive=yes"}))

    def test_administrator(self):
        """Powers over what is others' are the administrator's to give."""
        output = self.prompt('send "right horse\\r"', profile="admin")
        self.assertIn("asks to reset the lockout of this computer's TPM (tpmrm0)", output)
        self.assertRegex(output, "Authenticating as: root")
        self.assert_got_it(output)
        output = self.prompt('send "bob\\r"', profile="admin")
        self.assertIn("AUTHENTICATION FAILED", output)
        self.assert_got_nothing(output)

    def test_wrong_password(self):
        output = self.prompt('send "alice\\r"')
        self.assertIn("AUTHENTICATION FAILED", output)
        self.assert_got_nothing(output)

    def test_cancelled(self):
        """Ctrl-C ends the tool while polkit asks: no session is left, and the next may ask."""
        output = self.prompt('send "\\003"')
        self.assertRegex(output, r"STATUS 0 CHILDKILLED SIGINT")
        self.machine.eventually(
            lambda: "none open" in self.run_in_guest("tpmgate sessions").output,
            "nothing is left")
        self.test_right_password()

    def test_agent_that_goes_away(self):
        self.assert_got_nothing(self.prompt('exec pkill -x pkttyagent'))
