#!/usr/bin/python3 -B
"""Packages of distributions other than Debian, as far as Debian's tools go.

The rpm packages are built by rpmbuild. Arch's and Alpine's recipes are run as makepkg and abuild run
them, each package into a directory of its own, with what they take of this machine's libraries.

Exit status: 0 all passed, 1 something failed, 77 it cannot run here (a failure where MUST_WORK=1 is
in the environment).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = ("rpmbuild", "rpm", "cmake", "ninja", "bash")
PROFILES = ("admin", "attest", "basic", "keys", "owner", "persist", "unseal")

options = None
work = None


def output(*command, **arguments):
    """What COMMAND prints; it has to succeed."""
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False, **arguments)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {result.returncode}\n{result.stdout}")
    return result.stdout


def copy_source(target):
    """The tree as it lies here, without what was built of it."""
    shutil.copytree(options.source, target,
                    ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
    return target


def expected(libexec, libraries, rules, systemd):
    """Files of each package, by what it has; documents are left out."""
    version, manual = options.version, "/usr/share/man"
    files = {
        "broker": {
            "/usr/bin/tpmgate", libexec + "/tpmgate-broker", libexec + "/tpmgate-relay",
            "/usr/lib/tpmgate/tpmgate.conf", "/usr/share/polkit-1/actions/io.github.tpmgate.policy",
            "/usr/share/icons/hicolor/scalable/apps/io.github.tpmgate.svg",
            "/usr/share/bash-completion/completions/tpmgate",
            "/usr/share/fish/vendor_completions.d/tpmgate.fish",
            "/usr/share/zsh/site-functions/_tpmgate",
            manual + "/man1/tpmgate.1", manual + "/man5/tpmgate.conf.5",
            manual + "/man5/tpmgate-profile.5", manual + "/man8/tpmgate-broker.8"}
                  | {f"/usr/lib/tpmgate/profiles.d/{name}.profile" for name in PROFILES},
        "udev": {rules + "/60-tpmgate.rules", rules + "/60-tpmgate-usb.rules"},
        "rm": {libexec + "/tpmgate-rm", manual + "/man8/tpmgate-rm.8"},
        "library": {libraries + "/libtpmgate.so.0", f"{libraries}/libtpmgate.so.{version}"},
        "headers": {"/usr/include/tpmgate.h", libraries + "/libtpmgate.so",
                    libraries + "/pkgconfig/tpmgate.pc", manual + "/man3/libtpmgate.3"},
        "tcti": {libraries + "/libtss2-tcti-tpmgate.so.0",
                 f"{libraries}/libtss2-tcti-tpmgate.so.{version}",
                 manual + "/man7/libtss2-tcti-tpmgate.7"},
    }
    if systemd:
        files["broker"] |= {systemd + "/tpmgate.service", systemd + "/tpmgate.socket",
                            "/usr/lib/sysusers.d/tpmgate.conf", "/usr/lib/tmpfiles.d/tpmgate.conf"}
        files["broker"] |= {"/usr/lib/systemd/catalog/tpmgate.catalog"}
        files["udev"] |= {"/usr/lib/dracut/modules.d/60tpmgate-udev/module-setup.sh",
                          "/usr/lib/sysusers.d/tpmgate-udev.conf",
                          "/usr/lib/tmpfiles.d/tpmgate-udev.conf"}
    return files


def is_document(path):
    return path.startswith(("/usr/share/doc/", "/usr/share/licenses/"))


def tree(directory):
    """What lies below DIRECTORY, without documents."""
    found = {os.path.join(where, name)[len(directory):]
             for where, _, names in os.walk(directory) for name in names}
    return {path for path in found if not is_document(path)}


class Recipes(unittest.TestCase):
    maxDiff = None

    def assert_same(self, found, wanted):
        self.assertEqual({name: sorted(paths) for name, paths in found.items()},
                         {name: sorted(paths) for name, paths in wanted.items()})


class Rpm(Recipes):
    NAMES = {"broker": "tpmgate", "udev": "tpmgate-udev", "rm": "tpmgate-rm",
             "library": "libtpmgate", "headers": "libtpmgate-devel",
             "tcti": "libtss2-tcti-tpmgate"}

    @classmethod
    def setUpClass(cls):
        top = work + "/rpm"
        os.makedirs(top + "/SOURCES")
        name = f"tpmgate-{options.version}"
        copy_source(f"{top}/{name}")
        output("tar", "--create", "--gzip", "--directory", top, "--file",
               f"{top}/SOURCES/{name}.tar.gz", name)
        # Debian's rpm knows of none of the packages that are installed here.
        output("rpmbuild", "-bb", "--nodeps", "--define", f"_topdir {top}",
               f"{options.source}/packaging/rpm/tpmgate.spec")
        cls.packages = {}
        for where, _, names in os.walk(top + "/RPMS"):
            for file in names:
                path = os.path.join(where, file)
                cls.packages[cls.ask(path, "%{NAME}")] = path

    @staticmethod
    def ask(path, what):
        return output("rpm", "--query", "--package", "--queryformat", what, path)

    def test_packages(self):
        self.assertEqual(set(self.packages), set(self.NAMES.values()))
        for name, path in self.packages.items():
            self.assertEqual(self.ask(path, "%{VERSION}"), options.version)
            self.assertEqual(self.ask(path, "%{ARCH}") == "noarch", name == "tpmgate-udev")

    def test_files(self):
        libraries = output("rpm", "--eval", "%{_libdir}").strip()
        wanted = expected("/usr/libexec", libraries, "/usr/lib/udev/rules.d",
                          "/usr/lib/systemd/system")
        found = {}
        for name, package in self.NAMES.items():
            listed = self.ask(self.packages[package],
                              "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}\n]")
            found[name] = set()
            for line in listed.splitlines():
                path, mode, owner = line.split()
                self.assertEqual(owner, "root", path)
                self.assertNotRegex(mode, "[sS]", path)
                if not mode.startswith("d") and not is_document(path) and \
                        not path.startswith("/usr/lib/.build-id/"):  # rpmbuild's own
                    found[name].add(path.removesuffix(".gz") if "/man/" in path else path)
        self.assert_same(found, wanted)

    def test_tpm2_tss_is_nobodys_requirement(self):
        for name, path in self.packages.items():
            with self.subTest(name):
                wanted = output("rpm", "--query", "--package", "--requires", path)
                self.assertNotIn("tss2", wanted)

    def test_nothing_is_stopped_by_an_upgrade(self):
        scripts = output("rpm", "--query", "--package", "--scripts", self.packages["tpmgate"])
        preun = scripts.split("preuninstall scriptlet")[1].split("scriptlet")[0]
        self.assertIn("systemctl stop tpmgate.socket tpmgate.service", preun)
        self.assertLess(preun.index('if [ "$1" -eq 0 ]'), preun.index("systemctl stop"))
        self.assertEqual(scripts.count("systemctl stop"), 1)
        self.assertIn("systemctl try-restart tpmgate.service", scripts)


class Arch(Recipes):
    NAMES = {"broker": "tpmgate", "udev": "tpmgate-udev", "rm": "tpmgate-rm",
             "library": "libtpmgate", "tcti": "libtss2-tcti-tpmgate"}
    DRIVER = """
        set -eu
        export startdir=$1/packaging/arch srcdir=$2/src
        mkdir -p "$srcdir"
        cd "$startdir"
        . ./PKGBUILD
        build
        for name in "${pkgname[@]}"; do
            (pkgname=$name pkgdir=$2/pkg/$name; mkdir -p "$pkgdir"; "package_$name")
        done
        """

    def test_files(self):
        source = copy_source(work + "/arch-source")
        output("bash", "-c", self.DRIVER, "driver", source, work + "/arch")
        wanted = expected("/usr/lib/tpmgate", "/usr/lib", "/usr/lib/udev/rules.d",
                          "/usr/lib/systemd/system")
        wanted["library"] |= wanted.pop("headers")
        wanted["broker"] |= {"/etc/apparmor.d/tpmgate"}
        wanted["rm"] |= {"/etc/apparmor.d/tpmgate-rm"}
        found = {name: tree(f"{work}/arch/pkg/{package}")
                 for name, package in self.NAMES.items()}
        self.assert_same(found, wanted)


class Alpine(Recipes):
    NAMES = {"broker": "tpmgate", "udev": "tpmgate-udev", "rm": "tpmgate-rm",
             "library": "libtpmgate", "headers": "libtpmgate-dev", "tcti": "libtss2-tcti-tpmgate"}
    # abuild makes subpackages in the order of the list; those without a function of their own are
    # its own business, and stay with the main package here.
    DRIVER = """
        set -eu
        export startdir=$1/packaging/alpine srcdir=$2/src pkgdir=$2/pkg/tpmgate
        mkdir -p "$srcdir" "$pkgdir"
        cd "$startdir"
        . ./APKBUILD
        amove() {
            for pattern in "$@"; do
                (cd "$pkgdir" && tar --create $pattern) | tar --extract --directory "$subpkgdir"
                (cd "$pkgdir" && rm -r $pattern)
            done
        }
        build
        package
        for each in $subpackages; do
            name=${each%%:*} rest=${each#*:}
            [ "$name" != "$each" ] || continue
            (subpkgdir=$2/pkg/$name; mkdir -p "$subpkgdir"; "${rest%%:*}")
        done
        """

    def test_files(self):
        source = copy_source(work + "/alpine-source")
        output("bash", "-c", self.DRIVER, "driver", source, work + "/alpine")
        rules = output("pkg-config", "--variable=udevdir", "udev").strip() + "/rules.d"
        wanted = expected("/usr/libexec", "/usr/lib", rules, None)
        wanted["broker"] |= {"/etc/init.d/tpmgate"}
        found = {name: tree(f"{work}/alpine/pkg/{package}")
                 for name, package in self.NAMES.items()}
        # abuild's -doc takes every manual page
        pages = {path for paths in wanted.values() for path in paths if "/man/" in path}
        wanted = {name: paths - pages for name, paths in wanted.items()}
        found["broker"] -= pages
        for name in ("headers", "tcti", "rm"):
            self.assertFalse(found[name] & pages)
        self.assert_same(found, wanted)

    def test_scripts_exist(self):
        recipe = f"{options.source}/packaging/alpine"
        named = output("bash", "-c", 'cd "$1" && . ./APKBUILD && echo $install', "sh", recipe)
        self.assertEqual(set(named.split()),
                         {name for name in os.listdir(recipe) if name.endswith("-install")})


def main():
    global options, work
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("tests", nargs="*", help="CLASS or CLASS.TEST; default: all")
    options = parser.parse_args()

    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        print(f"skipped: needs {', '.join(missing)}")
        return 1 if os.environ.get("MUST_WORK") == "1" else 77
    work = tempfile.mkdtemp()
    try:
        program = unittest.main(argv=[sys.argv[0], "--verbose", *options.tests], exit=False)
    finally:
        shutil.rmtree(work)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
