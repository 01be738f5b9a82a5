"""Units, users and directories, as systemd's own tools see them; no systemd runs here."""

import json
import os
import re
import shutil
import stat
import subprocess

from harness import BUILD, SOURCE, WORLD, TestCase

SERVICE = BUILD + "/packaging/tpmgate.service"
SOCKET_UNIT = SOURCE + "/packaging/systemd/tpmgate.socket"
EXPOSURE_MAX = 1.5
SYSUSERS = (SOURCE + "/packaging/sysusers.d/tpmgate-udev.conf", BUILD + "/packaging/sysusers.conf")
TMPFILES = (SOURCE + "/packaging/tmpfiles.d/tpmgate-udev.conf", BUILD + "/packaging/tmpfiles.conf")


def contents(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def run(*argv, **options):
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            check=False, **options)
    assert result.returncode == 0, f"{argv}: {result.stdout}{result.stderr}"
    return result.stdout


class Units(TestCase):
    def settings(self, path):
        return [line for line in contents(path).splitlines() if "=" in line and line[0] != "#"]

    def test_exposure(self):
        """What systemd-analyze counts against the service is said, with its reason, in the unit."""
        checks = json.loads(run("systemd-analyze", "security", "--offline=yes", "--no-pager",
                                "--json=short", SERVICE))
        against = [check for check in checks if check["set"] is False]
        comments = "".join(line for line in contents(SERVICE).splitlines(keepends=True)
                           if line.startswith("#"))
        for check in against:
            name = check["name"]
            with self.subTest(name):
                option, _, value = name.partition("=")
                self.assertIn(value.lstrip("~") if value.startswith("~") else option + "=",
                              comments)
        rating = run("systemd-analyze", "security", "--offline=yes", "--no-pager", SERVICE)
        exposure = float(re.search(r"Overall exposure level .*: ([0-9.]+) ", rating).group(1))
        self.assertLessEqual(exposure, EXPOSURE_MAX)
        self.assertGreater(exposure, 0)

    def test_nothing_that_breaks_identity_or_udev(self):
        """Each of these makes systemd-analyze happier, and callers or devices invisible."""
        table = dict(line.split("=", 1) for line in self.settings(SERVICE))
        for option, harmless in (("PrivateUsers", "no"), ("ProtectProc", "default"),
                                 ("PrivateNetwork", "no"), ("PrivateDevices", "no"),
                                 ("PrivatePIDs", "no"), ("DynamicUser", "no"),
                                 ("RootDirectory", ""), ("RuntimeDirectory", "")):
            self.assertEqual(table.get(option, harmless), harmless, option)
        self.assertIn("AF_NETLINK", table["RestrictAddressFamilies"].split())
        self.assertEqual(table["KillMode"], "process")
        self.assertIn("DeviceAllow=char-tpm rw", self.settings(SERVICE))

    def test_units_are_understood(self):
        """Where the broker is that the unit names."""
        units = WORLD + "/units"
        os.mkdir(units)
        self.addCleanup(shutil.rmtree, units)
        text = contents(SERVICE)
        command = re.search("^ExecStart=(.*)$", text, re.M).group(1)
        with open(units + "/tpmgate.service", "w", encoding="utf-8") as file:
            file.write(text.replace(command, BUILD + "/helper/broker/tpmgate-broker"))
        shutil.copy(SOCKET_UNIT, units)
        result = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", units + "/tpmgate.service",
             units + "/tpmgate.socket"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False)
        self.assertEqual([line for line in result.stdout.splitlines() if "tpmgate" in line], [])
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_socket_is_for_everybody_and_unconditional(self):
        """Who connects is told what is missing, be that the TPM."""
        lines = self.settings(SOCKET_UNIT)
        self.assertIn("SocketMode=0666", lines)
        self.assertIn("DirectoryMode=0755", lines)
        self.assertIn("ListenSequentialPacket=/run/tpmgate/broker.sock", lines)
        self.assertFalse([line for line in lines + self.settings(SERVICE)
                          if line.startswith(("Condition", "Assert", "BindsTo", "Requisite"))])


class System(TestCase):
    """Accounts and directories, made in a root of their own."""

    def setUp(self):
        self.root = WORLD + "/root"
        os.makedirs(self.root + "/etc")
        self.addCleanup(shutil.rmtree, self.root)
        self.write("passwd", "root:x:0:0::/root:/bin/sh\n")
        self.write("group", "root:x:0:\n")
        self.write("shadow", "root:*:1::::::\n")
        self.write("gshadow", "root:*::\n")

    def write(self, name, text):
        with open(f"{self.root}/etc/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def make_accounts(self):
        run("systemd-sysusers", "--root=" + self.root, *SYSUSERS)

    def entries(self, database):
        return {line.split(":")[0]: line.split(":")
                for line in contents(f"{self.root}/etc/{database}").splitlines()}

    def test_accounts(self):
        self.make_accounts()
        users, groups = self.entries("passwd"), self.entries("group")
        self.assertEqual(set(users), {"root", "tss", "tpmgate"})
        self.assertEqual(set(groups), {"root", "tss", "tpmgate", "tpmgate-users"})
        self.assertEqual(groups["tss"][3], "tpmgate")
        self.assertEqual(groups["tpmgate-users"][3], "")
        for name in ("tss", "tpmgate"):
            self.assertEqual(users[name][3], groups[name][2])
            self.assertTrue(users[name][6].endswith("nologin"), users[name])
        before = users, groups
        self.make_accounts()
        self.assertEqual((self.entries("passwd"), self.entries("group")), before)

    def test_accounts_that_exist(self):
        """tss as tpm-udev of Debian makes it, with a member of the administrator's."""
        self.write("passwd", contents(self.root + "/etc/passwd") +
                   "tss:x:104:111:TPM software stack,,,:/var/lib/tpm:/bin/false\n")
        self.write("group", contents(self.root + "/etc/group") + "tss:x:111:alice\n")
        self.make_accounts()
        self.assertEqual(self.entries("passwd")["tss"], [
            "tss", "x", "104", "111", "TPM software stack,,,", "/var/lib/tpm", "/bin/false"])
        name, _, number, members = self.entries("group")["tss"]
        self.assertEqual((name, number, sorted(members.split(","))),
                         ("tss", "111", ["alice", "tpmgate"]))

    def test_directories(self):
        self.make_accounts()
        log = self.root + "/sys/kernel/security/tpm0"
        os.makedirs(log)
        with open(log + "/binary_bios_measurements", "w", encoding="utf-8"):
            pass
        run("systemd-tmpfiles", "--create", "--root=" + self.root, *TMPFILES)
        users, groups = self.entries("passwd"), self.entries("group")

        def facts(path):
            found = os.stat(self.root + path)
            return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid

        owner = int(users["tpmgate"][2]), int(groups["tpmgate"][2])
        self.assertEqual(facts("/run/tpmgate"), (0o755, *owner))
        state = re.search(r"^d (\S+) 0700", contents(TMPFILES[1]), re.M).group(1)
        self.assertEqual(facts(state), (0o700, *owner))
        self.assertEqual(facts("/sys/kernel/security/tpm0/binary_bios_measurements"),
                         (0o440, 0, int(groups["tss"][2])))
