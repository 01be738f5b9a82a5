#!/usr/bin/python3 -B
"""What packages are made of: versions, completions, security modules, scripts of distributions.

A check whose tool is missing is skipped (a failure where MUST_WORK=1 is in the environment).
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ABI = "/etc/apparmor.d/abi/3.0"

options = None


def run(*command, **arguments):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, **arguments)


def output(*command, **arguments):
    """What COMMAND prints to standard output; it has to succeed."""
    result = run(*command, **arguments)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {result.returncode}\n"
                             f"{result.stdout}{result.stderr}")
    return result.stdout


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def source(path):
    return f"{options.source}/{path}"


def built(path):
    return f"{options.build}/{path}"


class TestCase(unittest.TestCase):
    maxDiff = None

    def need(self, tool):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            if os.environ.get("MUST_WORK") == "1":
                self.fail(f"needs {tool}")
            self.skipTest(f"needs {tool}")

    def directory(self):
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return directory


class Versions(TestCase):
    """CMakeLists.txt has the version; what does not take it from there has the same."""

    def test_programs(self):
        for name, path in (("tpmgate", "helper/cli/tpmgate"),
                           ("tpmgate-broker", "helper/broker/tpmgate-broker")):
            self.assertEqual(output(built(path), "--version"), f"{name} {options.version}\n")

    def test_manual_pages(self):
        pages = glob.glob(built("docs/man/*.[1-8]"))
        self.assertEqual(len(pages), len(glob.glob(source("docs/man/*.[1-8]"))))
        for page in pages:
            with self.subTest(page):
                self.assertRegex(read(page).split("\n", 1)[0],
                                 rf'^\.TH .* "tpmgate {re.escape(options.version)}" ')

    def test_documents(self):
        self.assertRegex(read(source("NEWS.md")), rf"(?m)^## {re.escape(options.version)}$")
        self.assertIn(f"\nVersion {options.version}. ", read(source("README.md")))

    def test_pkg_config(self):
        self.assertIn(f"\nVersion: {options.version}\n", read(built("helper/client/tpmgate.pc")))

    def test_rpm(self):
        self.assertRegex(read(source("packaging/rpm/tpmgate.spec")),
                         rf"(?m)^Version: +{re.escape(options.version)}$")

    def test_recipes(self):
        for directory, name in (("arch", "PKGBUILD"), ("alpine", "APKBUILD")):
            with self.subTest(name):
                self.assertEqual(output("bash", "-c", f"set -eu; . ./{name}; echo $pkgver",
                                        cwd=source("packaging/" + directory)),
                                 options.version + "\n")

    def test_nix(self):
        self.need("nix-instantiate")
        # the two functions that it gets, and nothing of its dependencies
        expression = (f"({source('packaging/nix/package.nix')}) {{ lib = {{ cleanSource = x: x; "
                      "licenses.bsd2 = 0; platforms.linux = []; }; stdenv.mkDerivation = x: x; "
                      "cmake = 0; gettext = 0; ninja = 0; pkg-config = 0; glib = 0; libseccomp = 0; "
                      "tpm2-tss = 0; udev = 0; }")
        self.assertEqual(output("nix-instantiate", "--eval", "--expr", f"(import {expression}).version",
                                env=dict(os.environ, HOME=self.directory())),
                         f'"{options.version}"\n')


class Scripts(TestCase):
    def test_shellcheck(self):
        self.need("shellcheck")
        scripts = ["packaging/build-deb", "packaging/arch/PKGBUILD",
                   "packaging/alpine/APKBUILD", "packaging/openrc/tpmgate.in",
                   "packaging/completions/tpmgate.bash"]
        for pattern in ("packaging/debian/*.p*[mt]", "packaging/debian/tests/[!c]*",
                        "packaging/alpine/*-install"):
            found = [path[len(options.source) + 1:] for path in glob.glob(source(pattern))]
            self.assertTrue(found, pattern)
            scripts += found
        for script in scripts:
            with self.subTest(script):
                output("shellcheck", source(script))

    def test_nix(self):
        self.need("nix-instantiate")
        for path in glob.glob(source("packaging/nix/*.nix")):
            output("nix-instantiate", "--parse", path,
                   env=dict(os.environ, HOME=self.directory()))

    def test_openrc_is_configured(self):
        script = read(built("packaging/openrc/tpmgate"))
        self.assertNotIn("@", script.replace("tpmgate:tpmgate", ""))
        self.assertRegex(script, r'(?m)^command="/.*/tpmgate-broker"$')
        for option in re.findall(r"--[a-z-]+", re.search('(?m)^command_args=.*', script).group()):
            self.assertIn(option, output(built("helper/broker/tpmgate-broker"), "--help"))


class Musl(TestCase):
    def test_compiles(self):
        """Nothing of glibc's own. GLib's headers are this machine's, and of its C library no more."""
        self.need("musl-gcc")
        headers = self.directory()
        triplet = output("cc", "-print-multiarch").strip()
        for name in ("linux", "asm-generic", "seccomp.h", "seccomp-syscalls.h", "tss2", "libudev.h"):
            os.symlink(f"/usr/include/{name}", f"{headers}/{name}")
        os.symlink(f"/usr/include/{triplet}/asm", headers + "/asm")
        files = [path for part in ("common", "relay", "rm", "broker", "client", "tcti", "cli")
                 for path in sorted(glob.glob(source(f"helper/{part}/*.c")))]
        self.assertGreater(len(files), 50)
        glib = output("pkg-config", "--cflags", "gio-unix-2.0").replace("-I", "-isystem ").split()
        output("musl-gcc", "-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
               "-D_GNU_SOURCE", '-DTPMGATE_VERSION=""', '-DTPMGATE_LIB_DIR=""',
               '-DTPMGATE_USER=""', '-DTPMGATE_RELAY=""', '-DTPMGATE_RM=""',
               '-DTPMGATE_STATE_DIR=""', *glib, "-isystem", headers, "-I", source("helper"), *files)


class SecurityModules(TestCase):
    def test_apparmor(self):
        self.need("apparmor_parser")
        names = set()
        for name in ("tpmgate", "tpmgate-rm"):
            profile = built("packaging/apparmor/" + name)
            parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
            # with all that a kernel may know: this one may have no AppArmor
            output(parser, "--skip-kernel-load", "--skip-cache", "--warn=all", "--Werror",
                   f"--kernel-features={ABI}", f"--policy-features={ABI}", profile)
            names |= set(output(parser, "--skip-kernel-load", "--names", profile).split())
        self.assertEqual(names, {"tpmgate-broker", "tpmgate-relay", "tpmgate-rm"})
        self.assertIn("\nAppArmorProfile=-tpmgate-broker\n",
                      read(source("packaging/systemd/tpmgate.service.in")))

    def test_apparmor_adds_profiles(self):
        """Under no_new_privs one that replaces the broker's is refused, and with it each session."""
        broker = read(built("packaging/apparmor/tpmgate"))
        targets = re.findall(r"^\t/\S+/(tpmgate-\S+) \w*Pix -> (\S+),$", broker, re.M)
        self.assertEqual(targets, [("tpmgate-relay", "&tpmgate-relay"), ("tpmgate-rm", "&tpmgate-rm")])

    def test_selinux(self):
        makefile = "/usr/share/selinux/devel/Makefile"
        if not os.path.exists(makefile):
            if os.environ.get("MUST_WORK") == "1":
                self.fail("needs selinux-policy-dev")
            self.skipTest("needs selinux-policy-dev")
        directory = self.directory()
        for name in ("tpmgate.te", "tpmgate.if", "tpmgate.fc"):
            shutil.copy(built("packaging/selinux/" + name), directory)
        output("make", "-f", makefile, "tpmgate.pp", cwd=directory)
        self.assertGreater(os.path.getsize(directory + "/tpmgate.pp"), 0)
        self.assertNotIn("@", read(directory + "/tpmgate.fc"))


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("tests", nargs="*", help="CLASS or CLASS.TEST; default: all")
    options = parser.parse_args()
    options.source = os.path.abspath(options.source)
    options.build = os.path.abspath(options.build)
    program = unittest.main(argv=[sys.argv[0], "--verbose", *options.tests], exit=False)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
