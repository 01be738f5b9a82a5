"""What the initramfs gets: rules for TPM nodes, and the accounts that they name."""

import os
import shutil
import subprocess
import unittest

from harness import BUILD, SOURCE, WORLD, TestCase
from test_install import cache as cmake_cache

HOOK = BUILD + "/packaging/initramfs-hook"
MODULE = SOURCE + "/packaging/dracut/module-setup.sh"
RULES = ("60-tpmgate.rules", "60-tpmgate-usb.rules")
USER = "tss:x:64030:64021:TPM devices:/:/usr/sbin/nologin"
GROUP = "tss:x:64021:tpmgate"


def contents(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def rewrite_file(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class Initramfs(TestCase):
    def setUp(self):
        for database, line in (("passwd", USER), ("group", GROUP)):
            self.keep("/etc/" + database)
            self.account(database, line)
        # The rules as they are installed, over what the machine has.
        self.directory = cmake_cache()["UDEV_DIR"] + "/rules.d"
        installed = WORLD + "/rules.d"
        shutil.rmtree(installed, ignore_errors=True)
        shutil.copytree(self.directory, installed, symlinks=True)
        for name in RULES:
            shutil.copy(f"{SOURCE}/udev-rules/{name}", installed)
        subprocess.run(["mount", "--bind", installed, self.directory], check=True)
        self.addCleanup(subprocess.run, ["umount", self.directory], check=True)
        self.image = WORLD + "/initramfs"
        os.mkdir(self.image)
        self.addCleanup(shutil.rmtree, self.image)

    def keep(self, path):
        self.addCleanup(rewrite_file, path, contents(path))

    @staticmethod
    def account(database, line):
        """The one LINE about tss, or none, in /etc/DATABASE."""
        kept = [each for each in contents("/etc/" + database).splitlines()
                if not each.startswith("tss:")]
        rewrite_file("/etc/" + database, "\n".join(kept + ([line] if line else [])) + "\n")

    def hook(self):
        result = subprocess.run([HOOK], env={"PATH": os.environ["PATH"], "DESTDIR": self.image},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                check=False)
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        return result.stderr

    def has_all(self):
        for name in RULES:
            self.assertEqual(contents(f"{self.image}{self.directory}/{name}"),
                             contents(f"{SOURCE}/udev-rules/{name}"))
        for database, line in (("passwd", USER), ("group", GROUP)):
            lines = contents(f"{self.image}/etc/{database}").splitlines()
            self.assertEqual([each for each in lines if each.startswith("tss:")], [line])

    def test_hook(self):
        self.assertEqual(self.hook(), "")
        self.has_all()
        # What others have put there stays, and nothing is there twice.
        with open(self.image + "/etc/passwd", "a", encoding="utf-8") as file:
            file.write("root:x:0:0::/root:/bin/sh\n")
        self.assertEqual(self.hook(), "")
        self.has_all()
        self.assertIn("\nroot:x:0:0::/root:/bin/sh\n", contents(self.image + "/etc/passwd"))

    def test_hook_without_accounts(self):
        """Rules that name nobody who is there are of no use, and make udev complain."""
        for database, line in (("passwd", USER), ("group", GROUP)):
            self.account(database, None)
            self.assertIn("tss", self.hook())
            self.assertEqual(os.listdir(self.image), [])
            self.account(database, line)

    def test_hook_with_a_rule_of_the_administrator(self):
        os.makedirs("/etc/udev/rules.d", exist_ok=True)
        path = "/etc/udev/rules.d/" + RULES[0]
        os.symlink("/dev/null", path)
        self.addCleanup(os.unlink, path)
        self.hook()
        self.assertEqual(contents(f"{self.image}{self.directory}/{RULES[0]}"), "")

    def test_hook_order(self):
        """After udev's own, which makes the directories."""
        result = subprocess.run([HOOK, "prereqs"], stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(result.stdout, "udev\n")

    @unittest.skipUnless(shutil.which("dracut"), "dracut is not installed")
    def test_dracut(self):
        """dracut itself makes an image with the module and what it depends on."""
        base = WORLD + "/dracut"
        shutil.copytree("/usr/lib/dracut", base, symlinks=True)
        self.addCleanup(shutil.rmtree, base)
        os.mkdir(base + "/modules.d/60tpmgate-udev")
        shutil.copy(MODULE, base + "/modules.d/60tpmgate-udev")
        output = WORLD + "/image"
        result = subprocess.run(
            ["dracut", "--no-kernel", "--force", "--no-compress", "--no-early-microcode",
             "--modules", "base tpmgate-udev", "--tmpdir", WORLD + "/tmp", output], env=dict(os.environ, dracutbasedir=base),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.addCleanup(os.unlink, output)
        with open(output, "rb") as file:
            subprocess.run(["cpio", "--extract", "--quiet", "--make-directories",
                            "--no-absolute-filenames"], cwd=self.image, stdin=file, check=True)
        self.has_all()

    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not installed")
    def test_scripts_are_sound(self):
        subprocess.run(["shellcheck", HOOK, MODULE], check=True)
