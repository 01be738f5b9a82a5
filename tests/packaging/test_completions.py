#!/usr/bin/python3 -B
"""Completions of bash, fish and zsh: what each shell itself offers, against what --help says.

Exit status: 0 all passed, 1 something failed. A shell that is missing is a skip, and with MUST_WORK=1
in the environment a failure.
"""

import argparse
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

options = None
work = None

# Answers of a broker, in place of one; what the shells do with them is what is tested.
STAND_IN = """#!/bin/sh
case "$*" in
"profiles --no-interaction") printf 'PROFILE    ALLOWED WHAT\\nbasic      yes     x\\nkeys       yes     y\\n' ;;
devices) printf 'tpmrm0     TPM 2.0, x, 0 open\\n' ;;
sessions) printf '77                   alice      pid 1\\n' ;;
*) exec "$TPMGATE_REAL" "$@" ;;
esac
"""

BASH = """
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$(($# - 2))
_tpmgate tpmgate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(name):
    return f"{options.source}/packaging/completions/{name}"


def environment():
    return dict(os.environ, PATH=work + ":" + os.environ["PATH"], HOME=work, TERM="dumb",
                TPMGATE_REAL=options.tpmgate)


def output(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=True, env=environment()).stdout


def help_text(*verb):
    return output("tpmgate", *verb, "--help")


def verbs():
    listed = help_text().split("Verbs:\n")[1].split("\n\n")[0]
    return re.findall(r"^  ([a-z-]+)", listed, re.M)


def long_options(*verb):
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", help_text(*verb), re.M))


class Completions:
    """What each shell has to offer; a subclass says how it is asked."""

    def test_verbs(self):
        self.assertGreater(len(verbs()), 5)
        self.assertEqual(set(self.offers("")), set(verbs()))
        self.assertEqual(set(self.offers("--socket", "/x", "")), set(verbs()))

    def test_options(self):
        self.assertEqual(set(self.offers("--")), long_options())
        for verb in verbs():
            with self.subTest(verb):
                self.assertEqual(set(self.offers(verb, "--")), long_options(verb))

    def test_values(self):
        self.assertEqual(set(self.offers("stdio", "--profile", "")), {"basic", "keys"})
        self.assertEqual(self.offers("stdio", "--device", ""), ["tpmrm0"])
        self.assertEqual(self.offers("revoke", ""), ["77"])

    def test_options_with_a_value_are_known(self):
        """The word behind one of these is not the verb."""
        known = {option for verb in ((), *((verb,) for verb in verbs()))
                 for option in re.findall(r"^ +(?:-\w, )?(--[a-z-]+) [A-Z]", help_text(*verb), re.M)}
        self.assertGreater(len(known), 3)
        for option in known:
            with self.subTest(option):
                self.assertEqual(set(self.offers(option, "x", "")), set(verbs()))


class TestCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        if not shutil.which(self.SHELL):
            if os.environ.get("MUST_WORK") == "1":
                self.fail(f"needs {self.SHELL}")
            self.skipTest(f"needs {self.SHELL}")


class Bash(Completions, TestCase):
    SHELL, SCRIPT = "bash", "tpmgate.bash"

    def offers(self, *words):
        return output("bash", "-c", BASH, "bash", script(self.SCRIPT), "tpmgate", *words).split()

    def test_joined_profiles(self):
        self.assertEqual(self.offers("stdio", "--profile", "keys+b"), ["keys+basic"])
        self.assertEqual(self.offers("stdio", "--profile", "=", "k"), ["keys"])


class Fish(Completions, TestCase):
    SHELL, SCRIPT = "fish", "tpmgate.fish"

    def offers(self, *words):
        line = " ".join(("tpmgate", *words))
        said = output("fish", "--no-config", "-c", 'source $argv[1]; complete -C $argv[2]',
                      script(self.SCRIPT), line)
        return [each.split("\t")[0] for each in said.splitlines()]

    def test_joined_profiles(self):
        self.assertIn("keys+basic", self.offers("stdio", "--profile", "keys+b"))


class Zsh(Completions, TestCase):
    SHELL, SCRIPT = "zsh", "_tpmgate"
    # What is offered goes into a file: a terminal shows it in columns of its own making.
    START = """PS1= PS2= RPS1=
        fpath=({directory} $fpath)
        autoload -Uz compinit && compinit -u -D
        _describe() {{
            local last=$argv[-1]
            print -rl -- ${{(P)last}} >>{answer}
        }}
        _tell() {{ _main_complete; print done >>{answer} }}
        zle -C tell complete-word _tell
        bindkey '^I' tell
        print start''ed
        """

    def read_until(self, terminal, text):
        said = b""
        end = time.monotonic() + 30
        while text not in said and time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                said += os.read(terminal, 65536)
        self.assertIn(text, said)

    def offers(self, *words):
        answer = work + "/answer"
        with open(answer, "wb"):
            pass
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe("zsh", ["zsh", "-f"], environment())
        try:
            start = self.START.format(directory=os.path.dirname(script(self.SCRIPT)), answer=answer)
            with open(work + "/start", "w", encoding="utf-8") as file:
                file.write(start)
            os.write(terminal, f". {work}/start\n".encode())
            self.read_until(terminal, b"started")
            os.write(terminal, " ".join(("tpmgate", *words)).encode() + b"\t")
            end = time.monotonic() + 30
            lines = []
            while "done" not in lines and time.monotonic() < end:
                select.select([terminal], [], [], 0.05)
                with open(answer, encoding="utf-8") as file:
                    lines = file.read().splitlines()
            self.assertIn("done", lines)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)
        return [line.split(":")[0] for line in lines if line != "done"]


def main():
    global options, work
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--tpmgate", required=True, help="the command that was built")
    parser.add_argument("tests", nargs="*", help="CLASS or CLASS.TEST; default: all")
    options = parser.parse_args()
    options.source = os.path.abspath(options.source)
    options.tpmgate = os.path.abspath(options.tpmgate)
    work = tempfile.mkdtemp()
    try:
        with open(work + "/tpmgate", "w", encoding="utf-8") as file:
            file.write(STAND_IN)
        os.chmod(work + "/tpmgate", 0o755)
        program = unittest.main(argv=[sys.argv[0], "--verbose", *options.tests], exit=False)
    finally:
        shutil.rmtree(work)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
