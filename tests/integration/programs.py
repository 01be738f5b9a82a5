"""Programs that people use, run as a person who is in tpmgate-users, and what root does beside.

What the tests here start has the shipped profiles, where a test does not say otherwise.
"""

import os
import shutil
import subprocess
import tempfile
import unittest

from harness import (SOCKET, SOURCE, TCTI, USERS, WORLD, Broker, Swtpm, TestCase, run_as,
                     user_environment)

# As much room for one session as the kernel's resource manager has.
KERNELS_ROOM = "[ResourceManager]\nMaxObjects=3\nMaxTpmSessions=3\n"
OPEN_TO_MEMBERS = "Groups=tpmgate-users\n\n[Allow]"


def needs(program, package):
    """Skips a class where PROGRAM, a name or a path, is not there."""
    there = os.path.exists(program) if program.startswith("/") else shutil.which(program)
    return unittest.skipUnless(there, f"needs {program}, of Debian's package {package}")


def tcti_of(profile):
    return f"{TCTI}:socket={SOCKET},profile={profile}"


def direct_environment(swtpm):
    """For root's programs, which reach the TPM past tpmgate. They wait while it is in use."""
    pipe = f"/usr/bin/python3 -B {SOURCE}/tests/integration/pipe.py {swtpm.socket}"
    return {"PATH": os.environ["PATH"], "HOME": WORLD, "LANG": "C.UTF-8",
            "TPM2TOOLS_TCTI": "cmd:" + pipe,
            # systemd 252 asks a TCTI for its size without configuration, which `cmd` refuses
            "SYSTEMD_TPM2_DEVICE": "swtpm:path=" + swtpm.socket}


def run_directly(swtpm, argv, cwd, data=None):
    return subprocess.run(argv, env=direct_environment(swtpm), cwd=cwd, input=data,
                          stdin=subprocess.DEVNULL if data is None else None,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=not isinstance(data, bytes), check=False)


def profile_for_members(name):
    """The shipped profile NAME, which asks polkit, with the group let in."""
    with open(f"{SOURCE}/packaging/profiles.d/{name}.profile", encoding="utf-8") as file:
        text = file.read()
    if "\nGroups=" in text:
        raise AssertionError(f"{name} lets groups in by itself")
    return text.replace("[Allow]", OPEN_TO_MEMBERS, 1).replace("\n\nGroups", "\nGroups", 1)


class Programs(TestCase):
    """A broker and a software TPM; carol's programs run in a directory of the test's own."""

    profile = "keys"
    profiles = {}  # instead of shipped ones
    config = ""  # of the broker

    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.directory = self.directory_of("carol")
        self.prepare()
        self.start_broker()
        self.env = self.environment(self.profile)

    def prepare(self):
        """What the TPM is to have before the broker starts."""

    def start_broker(self, **options):
        self.broker = self.start(Broker, self.swtpm, arguments=["--no-polkit"],
                                 profiles=self.profiles, config=self.config, **options)

    def environment(self, profile):
        """All the ways in which the programs are told about a TCTI."""
        tcti = tcti_of(profile)
        return user_environment(
            "carol", TPM2TOOLS_TCTI=tcti, TPM2OPENSSL_TCTI=tcti, TPM2_PKCS11_TCTI=tcti,
            TPM2_PKCS11_STORE=self.directory, SYSTEMD_TPM2_DEVICE="tpmgate:profile=" + profile,
            LD_LIBRARY_PATH=os.path.dirname(TCTI), TMPDIR=self.directory)

    @staticmethod
    def directory_of(user):
        directory = tempfile.mkdtemp(dir=f"{WORLD}/home/{user}")
        os.chown(directory, USERS[user], USERS[user])
        return directory

    def write(self, name, data):
        with open(f"{self.directory}/{name}", "wb") as file:
            file.write(data)
        os.chmod(f"{self.directory}/{name}", 0o644)

    def read(self, name):
        with open(f"{self.directory}/{name}", "rb") as file:
            return file.read()

    # Lines are commands of words that contain no space; lists are taken as they are.

    def run_line(self, line, data=None, env=None, user="carol", cwd=None):
        argv = line.split() if isinstance(line, str) else line
        return run_as(user, argv, env=env or self.env, cwd=cwd or self.directory, data=data)

    def works(self, *lines, data=None, env=None, user="carol"):
        """Runs LINES one after the other, all of which must work: what the last one printed."""
        for line in lines:
            result = self.run_line(line, data, env, user)
            self.assertEqual(result.returncode, 0, f"{line}: {result.stdout}{result.stderr}")
        return result.stdout

    def refused(self, line, reason, data=None, env=None):
        """A program that must fail and say REASON, in small letters or large ones."""
        result = self.run_line(line, data, env)
        self.assertNotEqual(result.returncode, 0, f"{line} went through: {result.stdout}")
        self.assertIn(reason.lower(), (result.stdout + result.stderr).lower(), line)

    def directly(self, *lines, data=None):
        """The same by root, past tpmgate, in the same directory."""
        for line in lines:
            argv = line.split() if isinstance(line, str) else line
            result = run_directly(self.swtpm, argv, self.directory, data)
            self.assertEqual(result.returncode, 0, f"{line}: {result.stdout}{result.stderr}")
        return result.stdout
