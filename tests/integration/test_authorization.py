"""Who is let in: root, groups that the kernel vouches for, polkit's answer; and who is not."""

import os
import signal

from harness import (BROKER, CLI, RELAY, TPMGATE_USERS, USERS, WORLD, Broker, Bus, Process, Swtpm,
                     TestCase, eventually, run_as, write_rule)
from wire import (DENIED, ENDORSEMENT, NO_PROFILE, OK, OPEN, REFUSED, VERDICT_FAULTY, VERDICT_NO,
                  VERDICT_PROMPT, VERDICT_YES, WOULD_PROMPT, Caller, Tpm, create_primary)

RULE = """
polkit.addRule(function(action, subject) {
    if (subject.user == "alice" && action.id == "io.github.tpmgate.keys")
        return polkit.Result.YES;
    if (subject.user == "alice" && action.id == "io.github.tpmgate.custom" &&
            action.lookup("profile") == "dice")
        return polkit.Result.YES;
    if (subject.user == "bob" && action.id == "io.github.tpmgate.keys")
        return polkit.Result.NO;
    return polkit.Result.NOT_HANDLED;
});
"""
DICE = "[Profile]\nSummary=random numbers for games\n[Allow]\nCommands=GetRandom\n"


class Authorization(TestCase):
    def setUp(self):
        write_rule("40-test", RULE)
        self.swtpm = self.start(Swtpm)

    def caller(self, user, groups=None):
        return self.start(Caller, user, groups)

    def reload(self, broker, caller):
        """Has the configuration read again, and waits until that is done."""
        self.reloads = getattr(self, "reloads", 0) + 1
        broker.write_profile("marker", DICE.replace("games", str(self.reloads)))
        broker.process.send_signal(signal.SIGHUP)
        eventually(lambda: str(self.reloads) in caller.profiles().get("marker", (0, ""))[1],
                   "the reload")

    def opens(self, caller, profiles="keys"):
        reply = caller.ask(OPEN, profiles=profiles)
        if reply.status == OK:
            Tpm(reply.fd).close()
        return reply.status == OK

    def is_let_in(self, caller, profiles="keys"):
        tpm = caller.open(profiles)
        tpm.random()
        tpm.close()

    def is_refused(self, caller, profiles="keys", status=(DENIED, WOULD_PROMPT)):
        reply = caller.ask(OPEN, profiles=profiles)
        self.assertIn(reply.status, status, reply)
        self.assertTrue(reply.message)
        self.assertNotIn("\n", reply.message)
        return reply


class WithPolkit(Authorization):
    def setUp(self):
        super().setUp()
        self.bus = self.start(Bus)

    def test_root_and_rules(self):
        self.start(Broker, self.swtpm)
        self.is_let_in(self.caller(0))
        self.is_let_in(self.caller("alice"))
        self.assertEqual(self.is_refused(self.caller("bob", [])).status, DENIED)
        # Nobody has a rule for user1: an administrator's password would do, and cannot be asked for.
        reply = self.is_refused(self.caller("user1"))
        self.assertEqual(reply.status, WOULD_PROMPT)
        self.assertIn("tpmgate-users", reply.message)

    def test_refusal_as_a_person_sees_it(self):
        self.start(Broker, self.swtpm)
        result = run_as("user1", [CLI, "stdio", "--profile", "keys"])
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertIn("gpasswd -a user1 tpmgate-users", result.stderr)

    def test_rule_is_for_one_profile(self):
        self.start(Broker, self.swtpm)
        alice = self.caller("alice")
        self.is_let_in(alice, "keys")
        self.is_refused(alice, "owner")
        self.is_refused(alice, "keys+attest")
        self.is_let_in(alice, "basic")
        self.is_let_in(alice, "basic+keys")

    def test_verdicts_without_asking(self):
        self.start(Broker, self.swtpm)
        table = self.caller("alice").profiles()
        self.assertEqual(set(table), {"basic", "keys", "unseal", "attest", "persist", "admin",
                                      "owner"})
        self.assertEqual(table["keys"][0], VERDICT_YES)
        self.assertEqual(table["basic"][0], VERDICT_YES)
        self.assertEqual(table["owner"][0], VERDICT_NO)
        self.assertEqual(table["attest"][0], VERDICT_PROMPT)
        self.assertEqual(self.caller("bob", []).profiles()["keys"][0], VERDICT_NO)
        self.assertEqual(self.caller("carol").profiles()["persist"][0], VERDICT_YES)
        # and what they come from: root, group, polkit
        for user, profile, reason in ((0, "owner", 1), ("carol", "persist", 2), ("alice", "keys", 3),
                                      ("alice", "attest", 3), ("alice", "owner", 3)):
            group = "" if profile == "owner" else "tpmgate-users"
            self.assertEqual(self.caller(user).reasons()[profile],
                             (reason, group, "io.github.tpmgate." + profile))

    def test_group_of_the_process_and_not_of_the_database(self):
        self.start(Broker, self.swtpm)
        self.is_let_in(self.caller("user1", [TPMGATE_USERS]))
        self.is_refused(self.caller("bob", []))
        self.is_let_in(self.caller("bob"))

    def test_group_reaches_no_further_than_its_profiles(self):
        self.start(Broker, self.swtpm)
        carol = self.caller("carol")
        for profile in ("basic", "keys", "attest", "persist"):
            self.is_let_in(carol, profile)
        for profile in ("unseal", "admin", "owner", "keys+owner"):
            self.is_refused(carol, profile)

    def test_polkitd_stopped(self):
        self.start(Broker, self.swtpm)
        alice, carol = self.caller("alice"), self.caller("carol")
        self.is_let_in(alice)
        self.bus.stop_polkit()
        self.is_let_in(carol)
        self.assertIn("polkit", self.is_refused(alice).message)
        self.bus.start_polkit()
        eventually(lambda: self.opens(alice), "alice is let in again")

    def test_two_profiles_together(self):
        self.start(Broker, self.swtpm)
        carol = self.caller("carol")
        tpm = carol.open("keys")
        self.assertEqual(tpm.code(create_primary(ENDORSEMENT)), REFUSED)
        tpm.close()
        tpm = carol.open("keys+attest")
        self.assertEqual(tpm.code(create_primary(ENDORSEMENT)), 0)
        self.assertEqual(tpm.code(create_primary()), 0)
        tpm.close()

    def test_custom_profile(self):
        self.start(Broker, self.swtpm, profiles={
            "dice": DICE,
            "club": DICE.replace("[Allow]", "Groups=64050\n[Allow]")})
        alice = self.caller("alice")
        tpm = alice.open("dice")
        tpm.random()
        self.assertEqual(tpm.code(create_primary()), REFUSED)
        tpm.close()
        self.is_refused(self.caller("carol"), "dice")
        # It cannot be joined with another one.
        reply = alice.ask(OPEN, profiles="keys+dice")
        self.assertNotEqual(reply.status, OK)
        self.assertIn("dice", reply.message)
        self.is_let_in(self.caller("user2", [64050]), "club")
        self.is_refused(self.caller("user2"), "club")

    def test_faulty_profile_and_reload(self):
        broker = self.start(Broker, self.swtpm, profiles={
            "dice": DICE.replace("GetRandom", "GetRandom;GetRich")})
        alice = self.caller("alice")
        reply = self.is_refused(alice, "dice", [NO_PROFILE])
        self.assertIn("dice.profile", reply.message)
        self.assertIn("GetRich", reply.message)
        verdict, summary = alice.profiles()["dice"]
        self.assertEqual(verdict, VERDICT_FAULTY)
        self.assertIn("GetRich", summary)
        self.is_let_in(alice, "keys")
        self.is_refused(alice, "no-such-profile", [NO_PROFILE])
        # SIGHUP takes up the repaired file and a new one, and drops a removed one.
        broker.write_profile("dice", DICE)
        os.unlink(broker.profiles + "/basic.profile")
        self.reload(broker, alice)
        self.is_let_in(alice, "dice")
        self.is_refused(alice, "basic", [NO_PROFILE])
        # And a reload with a fault leaves the others.
        broker.write_profile("dice", "Summary\n")
        self.reload(broker, alice)
        self.is_refused(alice, "dice", [NO_PROFILE])
        self.is_let_in(alice, "keys")

    def test_session_outlives_a_reload(self):
        broker = self.start(Broker, self.swtpm, profiles={"dice": DICE})
        alice = self.caller("alice")
        tpm = alice.open("keys")
        broker.write_profile("dice", "broken\n")
        self.reload(broker, alice)
        self.assertEqual(alice.profiles()["dice"][0], VERDICT_FAULTY)
        tpm.random()
        tpm.close()


class WithoutBus(Authorization):
    def test_groups_and_root_only(self):
        self.start(Broker, self.swtpm)
        self.is_let_in(self.caller(0))
        self.is_let_in(self.caller("carol"))
        self.assertIn("polkit", self.is_refused(self.caller("alice")).message)

    def test_polkit_that_comes_later(self):
        self.start(Broker, self.swtpm)
        alice = self.caller("alice")
        self.is_refused(alice)
        self.start(Bus)
        eventually(lambda: self.opens(alice), "alice is let in")

    def test_no_polkit_wanted(self):
        self.start(Bus)
        self.start(Broker, self.swtpm, arguments=["--no-polkit"])
        self.is_let_in(self.caller("carol"))
        self.is_refused(self.caller("alice"))
        self.assertEqual(self.caller("alice").reasons()["keys"],
                         (4, "tpmgate-users", "io.github.tpmgate.keys"))

    def test_subordinate_uid(self):
        """One user owns 65,536 subordinate uids: quotas by uid would mean nothing."""
        broker = self.start(Broker, self.swtpm)
        self.assertIn("subordinate", self.is_refused(
            self.caller(200001, [TPMGATE_USERS]), status=[DENIED]).message)
        self.is_let_in(self.caller(199999, [TPMGATE_USERS]))
        self.is_let_in(self.caller(265536, [TPMGATE_USERS]))
        self.is_refused(self.caller(265535, [TPMGATE_USERS]))
        broker.stop()
        self.start(Broker, self.swtpm, config="[Broker]\nAllowSubordinate=yes\n")
        self.is_let_in(self.caller(200001, [TPMGATE_USERS]))


class Start(Authorization):
    """What the broker refuses to start with."""

    def refuses(self, *words, user="tpmgate", change=None, **options):
        broker = Broker(self.swtpm, user=user, wait=False, **options)
        try:
            if change:
                # Before it is read: a second broker is the one that counts.
                broker.process.stop(signal.SIGKILL)
                change(broker)
                broker.process = Process(
                    [BROKER, "--config", broker.config, "--profiles-dir", broker.profiles,
                     "--relay", RELAY, "--listen", broker.socket, "--tpm",
                     "unix:" + self.swtpm.socket, "--no-polkit"], user=user)
            self.assertNotEqual(broker.process.wait(), 0)
            for word in words:
                self.assertIn(word, broker.process.logged())
        finally:
            broker.process.stop(signal.SIGKILL)

    def test_as_root(self):
        self.refuses("root", "--allow-root", user=0)

    def test_as_root_when_told_to(self):
        self.start(Broker, self.swtpm, user=0, arguments=["--allow-root"])
        self.is_let_in(self.caller("carol"))

    def test_configuration_that_others_can_write(self):
        self.refuses("tpmgate.conf", "writ", change=lambda broker: os.chmod(broker.config, 0o666))
        self.refuses("tpmgate.conf", change=lambda broker: os.chown(broker.config, USERS["alice"],
                                                                    -1))

    def test_configuration_with_an_unknown_key(self):
        self.refuses("tpmgate.conf", "MaxFun", config="[Broker]\nMaxFun=1\n")

    def test_profile_that_others_can_write(self):
        """It is as good as missing: its owner would choose what the session may do."""
        broker = self.start(Broker, self.swtpm, profiles={"dice": DICE})
        root = self.caller(0)
        self.is_let_in(root, "dice")
        path = broker.profiles + "/dice.profile"
        os.chmod(path, 0o666)
        self.reload(broker, root)
        self.assertEqual(root.profiles()["dice"][0], VERDICT_FAULTY)
        self.assertIn("dice.profile", self.is_refused(root, "dice", [NO_PROFILE]).message)
        os.chmod(path, 0o644)
        os.chown(path, USERS["alice"], USERS["alice"])
        self.reload(broker, root)
        self.is_refused(root, "dice", [NO_PROFILE])
        # A link to a file of somebody else's is no better.
        os.unlink(path)
        target = f"{WORLD}/home/alice/dice.profile"
        with open(target, "w", encoding="utf-8") as file:
            file.write(DICE)
        os.chown(target, USERS["alice"], -1)
        os.symlink(target, path)
        self.reload(broker, root)
        self.is_refused(root, "dice", [NO_PROFILE])
