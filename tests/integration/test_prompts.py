"""What polkit asks people, in their language, about programs that lie, and about sandboxed ones."""

import os
import re
import subprocess
import unicodedata
import unittest
import xml.etree.ElementTree as tree

from agent import Agent
from harness import (BUILD, CLI, PATIENCE, SANITIZED, SOCKET, SOURCE, TPMGATE_USERS, USERS, Broker,
                     Bus, Swtpm, TestCase, run_as)
from logind import Unit, hierarchy, log_in, log_out
from wire import DENIED, INTERACTIVE, NO_SESSION, OK, OPEN, REVOKE, WOULD_PROMPT, Caller, Tpm

POLICY = BUILD + "/polkit/io.github.tpmgate.policy"
PREFIX = "io.github.tpmgate."
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
# Active local session, inactive one, anybody else. What `keys` has is the builder's choice.
DEFAULTS = {
    "basic": ("yes", "yes", "yes"),
    "keys": (None, "no", "auth_admin_keep"),
    "unseal": ("auth_admin_keep", "no", "auth_admin"),
    "attest": ("auth_self_keep", "no", "auth_admin_keep"),
    "persist": ("auth_self_keep", "no", "auth_admin_keep"),
    "admin": ("auth_admin_keep", "no", "auth_admin"),
    "owner": ("auth_admin", "no", "no"),
    "custom": ("auth_admin", "auth_admin", "auth_admin"),
    "manage": ("auth_admin_keep", "no", "auth_admin"),
    "sandboxed": ("auth_self", "no", "auth_admin"),
}
# What of each prompt a person has to find in it.
WORDS = {
    "C": {"keys": "make and use keys of your own", "unseal": "secrets that others sealed",
          "attest": "by which it can be recognised anywhere", "persist": "there is little room",
          "admin": "reset the lockout"},
    "de_DE.UTF-8": {"keys": "eigene Schlüssel", "unseal": "Geheimnisse", "attest": "wiedererkannt",
                    "persist": "wenig Platz", "admin": "Sperre"},
    "fr_FR.UTF-8": {"keys": "clés à vous", "unseal": "secrets", "attest": "reconnu partout",
                    "persist": "peu de place", "admin": "verrouillage"},
}


class Policy(TestCase):
    """The file that polkit reads."""

    def setUp(self):
        self.root = tree.parse(POLICY).getroot()
        self.actions = {action.get("id")[len(PREFIX):]: action
                        for action in self.root.iter("action")}

    def test_defaults(self):
        with open(BUILD + "/CMakeCache.txt", encoding="utf-8") as file:
            chosen = re.search("^TPMGATE_KEYS_DEFAULT:STRING=(.*)$", file.read(), re.M).group(1)
        self.assertEqual(set(self.actions), set(DEFAULTS))
        for name, expected in DEFAULTS.items():
            with self.subTest(name):
                found = tuple(self.actions[name].findtext("defaults/allow_" + whom)
                              for whom in ("active", "inactive", "any"))
                self.assertEqual(found, tuple(each or chosen for each in expected))

    def test_owner(self):
        """Without it polkit tells the broker nothing about other users."""
        for name, action in self.actions.items():
            owners = [each.text for each in action.iter("annotate")
                      if each.get("key") == "org.freedesktop.policykit.owner"]
            self.assertEqual(owners, ["unix-user:tpmgate"], name)

    def test_languages(self):
        """Every text in every language, with the same things filled in."""
        with open(SOURCE + "/polkit/po/LINGUAS", encoding="utf-8") as file:
            languages = {line.strip() for line in file if not line.startswith("#")}
        self.assertLessEqual({"de", "fr"}, languages)
        for name, action in self.actions.items():
            for tag in ("description", "message"):
                texts = {each.get(LANGUAGE): each.text for each in action.findall(tag)}
                with self.subTest(name, tag=tag):
                    self.assertEqual(set(texts), languages | {None})
                    filled = re.findall(r"\$\(\w+\)", texts[None])
                    self.assertEqual(bool(filled), tag == "message")
                    for text in texts.values():
                        self.assertEqual(sorted(re.findall(r"\$\(\w+\)", text)), sorted(filled))
                    self.assertEqual(len(set(texts.values())), len(texts))

    def test_translations_are_sound(self):
        for language in ("de", "fr"):
            checked = subprocess.run(
                ["msgfmt", "--check-format", "--statistics", "--output-file=/dev/null",
                 f"{SOURCE}/polkit/po/{language}.po"], stderr=subprocess.PIPE, text=True,
                env=dict(os.environ, LC_ALL="C"), check=True).stderr
            self.assertRegex(checked, r"^\d+ translated messages\.$")

    def test_icon(self):
        icon = self.root.findtext("icon_name")
        picture = tree.parse(f"{SOURCE}/polkit/icons/{icon}.svg").getroot()
        self.assertEqual(picture.tag, "{http://www.w3.org/2000/svg}svg")


class Asked(TestCase):
    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.bus = self.start(Bus)
        self.start(Broker, self.swtpm)

    def prompt(self, caller, agent, profiles):
        """The one prompt that this request brings; it is closed."""
        caller.send_request(OPEN, profiles=profiles, flags=INTERACTIVE)
        prompt = agent.prompt()
        agent.no(prompt)
        self.assertNotEqual(caller.finish().status, OK)
        return prompt

    def open_with_prompts(self, caller, agent, profiles):
        """The messages of the prompts that are answered until there is a session."""
        messages = []
        caller.send_request(OPEN, profiles=profiles, flags=INTERACTIVE)
        for line in iter(agent.next_line, None):
            if not line.startswith("begin "):
                continue
            cookie, action, pid, _, message = line.split(" ", 5)[1:]
            messages.append((action[len(PREFIX):], message))
            prompt = type("Prompt", (), {"cookie": cookie, "pid": pid})
            agent.yes(prompt)
            if action == PREFIX + "sandboxed":
                break
        reply = caller.finish()
        self.assertEqual(reply.status, OK, reply)
        Tpm(reply.fd).close()
        return messages


class Texts(Asked):
    def test_each_profile_in_each_language(self):
        for locale, words in WORDS.items():
            caller = self.start(Caller, "user1")
            agent = self.start(Agent, caller, locale=locale)
            caller.call("rename", b"letterbox")
            for profile, word in words.items():
                with self.subTest(locale, profile=profile):
                    prompt = self.prompt(caller, agent, profile)
                    self.assertEqual(prompt.action, PREFIX + profile)
                    self.assertEqual(prompt.icon, "io.github.tpmgate")
                    self.assertIn(word, prompt.message)
                    self.assertRegex(prompt.message, "[“„\u00a0]letterbox[”“\u00a0]")
                    self.assertIn("TPM", prompt.message)
                    self.assertNotIn("$(", prompt.message)

    def test_program_that_lies(self):
        """The name is what polkit is to fill in, once; the rest of the message is ours."""
        table = {
            "$(device)": "$(device)",
            "$(program)": "$(program)",
            "$(action)$": "$(action)$",
            "%s%n$1": "%s%n$1",
            "a” needs “b": "a? needs ?b",
            "a“ is „b": "a? is ?b",
            "a » b « c": "a ? b ? c",
            "<b>&lt;": "?b??lt;",
            "a\n\tb\rc": "a??b?c",
            "\u202eab\u2066c": "?ab?c",
            "\u0338a": "?a",
            "\x1b]0;x\x07": "?]0;x?",
            "x" * 15: "x" * 15,
        }
        caller = self.start(Caller, "user1")
        agent = self.start(Agent, caller)
        caller.call("rename", b"plain")
        before, after = self.prompt(caller, agent, "attest").message.split("plain")
        self.assertEqual((before[-1], after[0]), ("“", "”"))
        for name, shown in table.items():
            with self.subTest(ascii(name)):
                caller.call("rename", name.encode())
                message = self.prompt(caller, agent, "attest").message
                self.assertEqual(message, before + shown + after)
                self.assertFalse([each for each in message
                                  if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp")])


class Sandboxed(Asked):
    """A sandboxed program has its user's uid and groups, and is not its user."""

    SCOPE = "app-flatpak-org.example.Mail\\x2dreader-77.scope"

    def sandbox(self, user, path=None):
        if not hierarchy():
            raise unittest.SkipTest("control groups cannot be made here")
        caller = Caller(user)
        unit = self.start(Unit, path or "user.slice/" + self.SCOPE)
        self.addCleanup(caller.stop)  # before its unit
        unit.add(caller.pid)
        return caller

    def test_group_does_not_open_it(self):
        caller = self.sandbox("carol")
        reply = caller.ask(OPEN, profiles="keys")
        self.assertEqual(reply.status, WOULD_PROMPT, reply)
        self.assertIn("sandboxed program 'org.example.Mail-reader'", reply.message)
        self.assertNotIn("gpasswd", reply.message)
        agent = self.start(Agent, caller)
        (action, message), = self.open_with_prompts(caller, agent, "keys+attest")
        self.assertEqual(action, "sandboxed")
        self.assertIn("The sandboxed program “org.example.Mail-reader” asks", message)
        self.assertIn("“keys+attest”", message)

    def test_sessions_outside_are_not_its_own(self):
        session = self.start(Caller, "carol").open("keys")
        reply = self.sandbox("carol").ask(REVOKE, session=session.session)
        self.assertIn(reply.status, (WOULD_PROMPT, DENIED, NO_SESSION), reply)
        session.random()

    def test_prompts_name_the_sandbox(self):
        """And not what the program in it calls itself."""
        caller = self.sandbox("user1")
        caller.call("rename", b"gnome-keyring")
        agent = self.start(Agent, caller)
        messages = self.open_with_prompts(caller, agent, "attest")
        self.assertEqual([action for action, _ in messages], ["attest", "sandboxed"])
        for _, message in messages:
            self.assertIn("“org.example.Mail-reader”", message)
            self.assertNotIn("gnome-keyring", message)

    def test_active_user(self):
        """Where polkit lets the active user pass, the sandboxed program is asked about."""
        log_in("user1", "c1")
        self.addCleanup(log_out, "user1", "c1")
        session = self.sandbox("user1", "user.slice/user-64101.slice/session-c1.scope")
        session.open("basic").close()
        for scope in (self.SCOPE, "snap.thing.thing-0c1d.scope"):
            caller = self.sandbox(
                "user1", "user.slice/user-64101.slice/user@64101.service/app.slice/" + scope)
            reply = caller.ask(OPEN, profiles="basic")
            self.assertEqual(reply.status, WOULD_PROMPT, reply)
            self.assertIn("sandboxed program", reply.message)

    @staticmethod
    def in_namespaces(flatpak):
        """The command `tpmgate`, as carol, in a pid namespace; FLATPAK with what that adds."""
        carol, members = str(USERS["carol"]), str(TPMGATE_USERS)
        directory = os.path.dirname(SOCKET)
        information, write = os.pipe()
        os.write(write, b"[Application]\nname=org.example.App\n")
        os.close(write)
        marked = ["--ro-bind-data", str(information), "/.flatpak-info"] if flatpak else []
        try:
            return subprocess.run(
                ["setpriv", f"--reuid={carol}", f"--regid={carol}", f"--groups={members}",
                 "bwrap", "--unshare-pid", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib",
                 "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
                 "--ro-bind", BUILD, BUILD, "--bind", directory, directory, *marked, CLI,
                 "stdio", "--profile", "keys", "--no-interaction"],
                pass_fds=[information], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        finally:
            os.close(information)

    if not SANITIZED:  # which needs to trace itself, and cannot in there
        def test_flatpak_without_a_unit(self):
            """Where no systemd of the user makes units, the mounts tell."""
            usable = run_as("carol", ["bwrap", "--unshare-pid", "--ro-bind", "/usr", "/usr",
                                      "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64",
                                      "/lib64", "/usr/bin/true"])
            if usable.returncode != 0:
                raise unittest.SkipTest("bubblewrap makes no user namespaces here")
            result = self.in_namespaces(flatpak=False)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            result = self.in_namespaces(flatpak=True)
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertIn("sandboxed program 'Flatpak'", result.stderr)

    def test_outside_nothing_changes(self):
        result = run_as("carol", [CLI, "stdio", "--profile", "keys"])
        self.assertEqual((result.returncode, result.stderr), (0, ""))
