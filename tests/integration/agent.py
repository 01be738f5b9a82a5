"""An authentication agent that a test commands: see auth-agent.c."""

import collections
import os

from harness import BUILD, PATIENCE, Process, readable, status_of

PROGRAM = BUILD + "/tests/integration/auth-agent"
Prompt = collections.namedtuple("Prompt", "cookie action pid icon message")


class Agent:
    """The agent of the given callers, as if each had a terminal where somebody sits."""

    def __init__(self, *callers, locale="C"):
        commands, self.commands = os.pipe()
        self.output, output = os.pipe()
        self.lines = b""
        self.process = Process([PROGRAM, locale, *(str(caller.pid) for caller in callers)],
                               fds={0: commands, 1: output})
        os.close(commands)
        os.close(output)
        if self.next_line() != "ready":
            raise AssertionError("the agent did not start")

    def next_line(self, timeout=PATIENCE):
        """The next line, or None where none comes."""
        while b"\n" not in self.lines:
            if not readable(self.output, timeout):
                return None
            data = os.read(self.output, 65536)
            if not data:
                raise AssertionError("the agent ended")
            self.lines += data
        line, self.lines = self.lines.split(b"\n", 1)
        return line.decode()

    def prompt(self, timeout=PATIENCE):
        """The next prompt."""
        line = self.next_line(timeout)
        if line is None or not line.startswith("begin "):
            raise AssertionError(f"no prompt, but: {line}")
        return Prompt(*line.split(" ", 5)[1:])

    def cancelled(self, *cookies):
        """Waits until polkit has taken these prompts back."""
        left = set(cookies)
        while left:
            line = self.next_line()
            if line is None or not line.startswith("cancel "):
                raise AssertionError(f"no prompt was taken back, but: {line}")
            left.discard(line.split()[1])

    def order(self, *words):
        os.write(self.commands, " ".join(words).encode() + b"\n")

    def yes(self, prompt):
        """Authenticates as the administrator."""
        try:
            uid = status_of(prompt.pid)["Uid"].split()[0]
        except FileNotFoundError:
            uid = "0"  # the process that the prompt is about has ended
        self.order("yes", prompt.cookie, uid)

    def no(self, prompt):
        """Closes the prompt without an answer."""
        self.order("no", prompt.cookie)

    def stop(self):
        os.close(self.commands)
        os.close(self.output)
        return self.process.wait()
