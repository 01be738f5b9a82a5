"""What a resource manager that its TPM has taken over can still do: next to nothing."""

import os
import signal

from harness import BUILD, Swtpm, TestCase
from test_rm_attack import Manager

ATTEMPT = BUILD + "/helper/rm/tpmgate-rm-attempt"
REFUSED = 41  # tests/unit/attempt.h


class Confinement(TestCase):
    def setUp(self):
        self.swtpm = self.start(Swtpm)

    def end_of(self, tpm, name):
        """How the manager of TPM ends that tries NAME."""
        manager = Manager(tpm, ATTEMPT, dict(os.environ, TPMGATE_ATTEMPT=name))
        status = manager.process.wait()
        manager.stop()
        return status, manager.process.logged()

    def attempts(self, tpm):
        status, names = self.end_of(tpm, "list")
        self.assertEqual(status, 0, names)
        return names.split()

    def test_unix_socket(self):
        """Each try ends it."""
        tpm = "unix:" + self.swtpm.socket
        names = self.attempts(tpm)
        for name in ("open", "socket", "connect", "execve", "fork", "ptrace", "kill", "mmap"):
            self.assertIn(name, names)
        for name in names:
            with self.subTest(name):
                status, log = self.end_of(tpm, name)
                self.assertEqual(status, -signal.SIGSYS, log)

    def test_tcti(self):
        """A TCTI may open files and sockets; programs, processes and new code it may not."""
        tpm = f"tcti:swtpm:path={self.swtpm.socket}"
        for name in self.attempts(tpm)[:8]:
            with self.subTest(name):
                status, log = self.end_of(tpm, name)
                self.assertEqual(status, REFUSED, log)

    def test_attempt_program_is_otherwise_a_manager(self):
        """So that the tests above cannot pass because the program dies anyway."""
        environment = {name: value for name, value in os.environ.items()
                       if name != "TPMGATE_ATTEMPT"}
        manager = self.start(Manager, "unix:" + self.swtpm.socket, ATTEMPT, environment)
        tpm = self.start(manager.open)
        tpm.random()
