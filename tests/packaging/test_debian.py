#!/usr/bin/python3 -B
"""The Debian packages: what is in them, what they need, and what they do to a system.

They are built from the source tree, and installed into chroots that mmdebstrap makes from Debian's
archive, in a mount namespace. The machine is not changed. There is no systemd running in a chroot: what an upgrade does to
open sessions is not tested here.

Exit status: 0 all passed, 1 something failed, 77 it cannot run here (a failure where MUST_WORK=1 is
in the environment).
"""

import argparse
import glob
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

TOOLS = ("mmdebstrap", "lintian", "dpkg-buildpackage", "dh")
OWN = ("libtpmgate-dev", "libtpmgate0", "libtss2-tcti-tpmgate0", "tpmgate", "tpmgate-rm",
       "tpmgate-udev")
PROFILES = ("admin", "attest", "basic", "keys", "owner", "persist", "unseal")

# What a purge leaves behind as any other does: dpkg's own records and logs, accounts, caches.
NOT_COMPARED = re.compile(
    r"/(var/lib/dpkg|var/log|proc)(/.*)?"
    r"|/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|\.pwd\.lock|ld\.so\.cache)"
    r"|/var/lib/systemd/catalog/database"  # made anew by a trigger
    r"|/var/cache/ldconfig(/.*)?|/root(/.*)?|/run/mount(/.*)?")

options = None
work = None


def output(*command, **arguments):
    """What COMMAND prints; it has to succeed."""
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False, **arguments)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {result.returncode}\n{result.stdout}")
    return result.stdout


def package(name):
    """The file of the package NAME."""
    found = glob.glob(f"{options.output}/{name}_*.deb")
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def field(name, key):
    return output("dpkg-deb", "--field", package(name), key).strip()


def needed(name, *keys):
    """Names of the packages that NAME depends on, of alternatives the first."""
    relations = ",".join(field(name, key) for key in keys or ("Depends", "Pre-Depends"))
    return {relation.split("|")[0].split("(")[0].strip()
            for relation in relations.split(",") if relation.strip()}


def contents(name):
    """Mode and owner of each file and link of the package NAME, by its path."""
    lines = (line.split(None, 5) for line in
             output("dpkg-deb", "--contents", package(name)).splitlines())
    return {path.split(" -> ")[0][1:]: (mode, owner) for mode, owner, _, _, _, path in lines
            if not mode.startswith("d")}


def build():
    shutil.rmtree(options.output, ignore_errors=True)
    return output(options.source + "/packaging/build-deb", options.output)


class Contents(unittest.TestCase):
    def expected(self):
        libraries = "/usr/lib/" + output("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
        units = output("pkg-config", "--variable=systemdsystemunitdir", "systemd").strip()
        rules = output("pkg-config", "--variable=udevdir", "udev").strip() + "/rules.d"
        manual = "/usr/share/man"
        files = {
            "libtpmgate-dev": {
                "/usr/include/tpmgate.h", libraries + "/libtpmgate.so",
                libraries + "/pkgconfig/tpmgate.pc", manual + "/man3/libtpmgate.3.gz"},
            "libtpmgate0": {
                libraries + "/libtpmgate.so.0", f"{libraries}/libtpmgate.so.{options.version}"},
            "libtss2-tcti-tpmgate0": {
                libraries + "/libtss2-tcti-tpmgate.so.0",
                f"{libraries}/libtss2-tcti-tpmgate.so.{options.version}",
                manual + "/man7/libtss2-tcti-tpmgate.7.gz"},
            "tpmgate": {
                "/usr/bin/tpmgate", "/usr/libexec/tpmgate-broker", "/usr/libexec/tpmgate-relay",
                units + "/tpmgate.service", units + "/tpmgate.socket",
                "/usr/lib/systemd/catalog/tpmgate.catalog",
                "/usr/lib/sysusers.d/tpmgate.conf", "/usr/lib/tmpfiles.d/tpmgate.conf",
                "/usr/lib/tpmgate/tpmgate.conf",
                "/usr/share/polkit-1/actions/io.github.tpmgate.policy",
                "/usr/share/icons/hicolor/scalable/apps/io.github.tpmgate.svg",
                "/usr/share/lintian/overrides/tpmgate", "/etc/apparmor.d/tpmgate",
                "/usr/share/bash-completion/completions/tpmgate",
                "/usr/share/fish/vendor_completions.d/tpmgate.fish",
                "/usr/share/zsh/vendor-completions/_tpmgate"},
            "tpmgate-rm": {"/etc/apparmor.d/tpmgate-rm", "/usr/libexec/tpmgate-rm",
                           manual + "/man8/tpmgate-rm.8.gz"},
            "tpmgate-udev": {
                rules + "/60-tpmgate.rules", rules + "/60-tpmgate-usb.rules",
                "/usr/lib/sysusers.d/tpmgate-udev.conf", "/usr/lib/tmpfiles.d/tpmgate-udev.conf",
                "/usr/lib/dracut/modules.d/60tpmgate-udev/module-setup.sh",
                "/usr/share/initramfs-tools/hooks/tpmgate-udev"},
        }
        files["tpmgate"] |= {f"/usr/lib/tpmgate/profiles.d/{name}.profile" for name in PROFILES}
        files["tpmgate"] |= {f"{manual}/man{page[-1]}/{page}.gz" for page in (
            "tpmgate.1", "tpmgate.conf.5", "tpmgate-profile.5", "tpmgate-broker.8")}
        files["tpmgate"] |= {"/usr/share/doc/tpmgate/" + name for name in (
            "README.md", "NEWS.md", "SECURITY.md", "architecture.md", "clients.md", "hacking.md",
            "packaging.md", "profiles.md", "protocol.md", "security-review.md", "threat-model.md",
            "examples/49-tpmgate-no-ssh.rules", "examples/50-tpmgate-group.rules",
            "examples/50-tpmgate-service.rules")}
        for name, paths in files.items():
            paths |= {f"/usr/share/doc/{name}/copyright", f"/usr/share/doc/{name}/changelog.gz"}
        return files

    def test_packages(self):
        built = {os.path.basename(path).split("_")[0] for path in glob.glob(options.output + "/*.deb")}
        self.assertEqual(built, set(OWN))
        for name in OWN:
            self.assertEqual(field(name, "Version"), options.version)
            self.assertEqual(field(name, "Architecture") == "all", name == "tpmgate-udev")

    def test_files(self):
        for name, paths in self.expected().items():
            with self.subTest(name):
                self.assertEqual(sorted(contents(name)), sorted(paths))

    def test_modes(self):
        """Nothing is setuid or setgid, and all is root's."""
        for name in OWN:
            for path, (mode, owner) in contents(name).items():
                with self.subTest(path):
                    self.assertEqual(owner, "root/root")
                    program = any(each in path for each in (
                        "/bin/", "/libexec/", "/dracut/", "/initramfs-tools/hooks/"))
                    self.assertIn(mode, ("-rwxr-xr-x",) if program else
                                  ("-rw-r--r--", "lrwxrwxrwx"))

    def test_dependencies(self):
        accounts = {"systemd"}  # has systemd-sysusers
        libraries = {
            "libtpmgate-dev": {"libtpmgate0"},
            "libtpmgate0": {"libc6"},
            "libtss2-tcti-tpmgate0": {"libc6"},
            "tpmgate": {"libc6", "libglib2.0-0", "libseccomp2", "libudev1", "tpmgate-udev"} | accounts,
            "tpmgate-rm": {"libc6", "libseccomp2"},
            "tpmgate-udev": {"udev"} | accounts,
        }
        for name in OWN:
            with self.subTest(name):
                # libglib2.0-0t64 and its like are the same libraries with 64 bits of time
                self.assertEqual({re.sub("t64$", "", each) for each in needed(name)},
                                 libraries[name])
        wanting = {name for name in OWN
                   if any("tss2" in each and each not in OWN for each in
                          needed(name, "Depends", "Pre-Depends", "Recommends", "Suggests"))}
        self.assertEqual(wanting, {"libtss2-tcti-tpmgate0", "tpmgate-rm"})

    def test_lintian(self):
        changes = glob.glob(options.output + "/*.changes")
        self.assertEqual(len(changes), 1)
        said = output("lintian", "--allow-root", "--fail-on", "error,warning", *changes)
        self.assertEqual([line for line in said.splitlines() if not line.startswith("N:")], [])


class System:
    """A chroot over a base that is kept; what changes is in memory, and gone with it."""

    bases = {}

    def __init__(self, *packages):
        """With PACKAGES of Debian's, and what ours depend on."""
        if packages not in self.bases:
            self.bases[packages] = self.make_base(packages)
        layers = tempfile.mkdtemp(dir=work)
        output("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", layers)
        self.root = layers + "/root"
        for name in ("root", "upper", "work"):
            os.mkdir(f"{layers}/{name}")
        output("mount", "-t", "overlay", "-o", f"lowerdir={self.bases[packages]},"
               f"upperdir={layers}/upper,workdir={layers}/work", "overlay", self.root)
        for name in OWN:
            shutil.copy(package(name), self.root + "/root")

    @staticmethod
    def make_base(packages):
        base = tempfile.mkdtemp(dir=work)
        include = set(packages) | {"adduser"}  # which tpm-udev needs
        for name in OWN:
            include |= needed(name)
        with open("/etc/os-release", encoding="utf-8") as file:
            release = re.search("^VERSION_CODENAME=(.*)$", file.read(), re.M).group(1)
        output("mmdebstrap", "--variant=minbase", "--include=" + ",".join(include - set(OWN)),
               "--customize-hook=chroot \"$1\" sh -c 'cd /root && apt-get -q download tpm-udev'",
               release, base)
        return base

    def stop(self):
        output("umount", "--lazy", self.root, os.path.dirname(self.root))

    def run(self, *command):
        """Runs it in the chroot, with processes and a network of its own."""
        return output("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "chroot",
                      self.root, "sh", "-c", 'mount -t proc proc /proc && exec "$@"', "sh",
                      *command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                     "DEBIAN_FRONTEND": "noninteractive"})

    def install(self, *names):
        return self.run("sh", "-c", "cd /root && exec dpkg -i " +
                        " ".join(f"{name}_*.deb" for name in names))

    def accounts(self, database):
        """The fields of each line of /etc/passwd or /etc/group, by name."""
        with open(f"{self.root}/etc/{database}", encoding="utf-8") as file:
            return {line.split(":")[0]: line.rstrip("\n").split(":") for line in file}

    def snapshot(self):
        """What is where: kind, mode and owner, of files also size and time."""
        found = {}
        for directory, directories, files in os.walk(self.root):
            for name in directories + files:
                path = os.path.join(directory, name)
                shown = path[len(self.root):]
                if NOT_COMPARED.fullmatch(shown):
                    continue
                status = os.lstat(path)
                found[shown] = (status.st_mode, status.st_uid, status.st_gid)
                if stat.S_ISREG(status.st_mode):
                    found[shown] += (status.st_size, status.st_mtime_ns)
        return found


class Installed(unittest.TestCase):
    maxDiff = None

    def system(self, *packages):
        system = System(*packages)
        self.addCleanup(system.stop)
        return system

    def assert_whole(self, system, *names):
        """Every file of the packages is there as it was packed, and so are the accounts."""
        self.assertEqual(system.run("dpkg", "--verify", *names), "")
        users, groups = system.accounts("passwd"), system.accounts("group")
        self.assertEqual(users["tss"][3], groups["tss"][2])
        if "tpmgate" in names:
            self.assertEqual(users["tpmgate"][3], groups["tpmgate"][2])
            self.assertEqual(groups["tss"][3].split(","), ["tpmgate"])
            self.assertEqual(groups["tpmgate-users"][3], "", "nobody is put into it")
            self.assertTrue(os.path.islink(
                system.root + "/etc/systemd/system/sockets.target.wants/tpmgate.socket"))
            status = system.run("sh", "-c", "tpmgate status; echo status $?")
            self.assertTrue(status.endswith("status 4\n"), status)  # no broker in a chroot

    def assert_same(self, before, after):
        self.assertEqual({path: (before.get(path), after.get(path))
                          for path in before.keys() | after.keys()
                          if before.get(path) != after.get(path)}, {})

    def test_before_tpm_udev(self):
        """Installed first and removed last."""
        system = self.system()
        before, users = system.snapshot(), system.accounts("passwd")
        system.install(*OWN)
        self.assert_whole(system, *OWN)
        self.assertEqual(system.accounts("passwd").keys() - users.keys(), {"tss", "tpmgate"})
        ours = system.accounts("passwd")["tss"]
        system.install("tpm-udev")
        self.assertEqual(system.accounts("passwd")["tss"], ours)
        self.assert_whole(system, "tpm-udev", *OWN)
        system.run("dpkg", "--purge", "tpm-udev")
        self.assert_whole(system, *OWN)

        # What came into being at run time goes with the package, but what is recorded of the TPM and
        # what was configured stays until a purge.
        for path in ("/run/tpmgate/broker.sock", "/var/lib/tpmgate/registry",
                     "/etc/tpmgate/tpmgate.conf"):
            os.makedirs(os.path.dirname(system.root + path), exist_ok=True)
            with open(system.root + path, "w", encoding="utf-8") as file:
                file.write("something\n")
        said = system.run("dpkg", "--remove", *OWN)
        self.assertIn("the broker did not say what users keep in the TPM", said)
        kept = {path for path in system.snapshot().keys() - before.keys()
                if not path.startswith(("/etc/systemd/", "/var/lib/systemd/", "/etc/apparmor.d"))}
        self.assertEqual(kept, {"/var/lib/tpmgate", "/var/lib/tpmgate/registry", "/etc/tpmgate",
                                "/etc/tpmgate/tpmgate.conf"})
        said = system.run("dpkg", "--purge", *OWN)
        self.assertIn("forgetting what is whose in the TPM", said)
        self.assert_same(before, system.snapshot())

    def test_after_tpm_udev(self):
        """Installed last and removed first."""
        system = self.system()
        system.install("tpm-udev")
        before, theirs = system.snapshot(), system.accounts("passwd")["tss"]
        system.install(*OWN)
        self.assertEqual(system.accounts("passwd")["tss"], theirs)
        self.assert_whole(system, "tpm-udev", *OWN)
        system.run("dpkg", "--purge", *OWN)
        self.assert_same(before, system.snapshot())
        self.assertEqual(system.run("dpkg", "--verify", "tpm-udev"), "")
        self.assertEqual(system.accounts("passwd")["tss"], theirs)

    def test_accounts_that_exist(self):
        """A user tss that somebody else made stays as it is."""
        system = self.system()
        system.run("groupadd", "--gid", "777", "tss")
        system.run("useradd", "--uid", "778", "--gid", "777", "--home-dir", "/srv/tss",
                   "--shell", "/bin/sh", "tss")
        theirs = system.accounts("passwd")["tss"]
        system.install(*OWN)
        self.assert_whole(system, *OWN)
        self.assertEqual(system.accounts("passwd")["tss"], theirs)
        self.assertEqual(system.accounts("group")["tss"][2], "777")

    def test_udev_alone(self):
        """The rules need nothing else of ours, and libtpmgate and the TCTI need no broker."""
        system = self.system()
        system.install("tpmgate-udev")
        self.assert_whole(system, "tpmgate-udev")
        self.assertNotIn("tpmgate", system.accounts("passwd"))
        for name in ("libtpmgate0", "libtss2-tcti-tpmgate0", "tpmgate-rm"):
            system.install(name)
        self.assert_whole(system, "tpmgate-udev", "libtpmgate0", "libtss2-tcti-tpmgate0",
                          "tpmgate-rm")

    def test_upgrade(self):
        """The same version over itself: nothing moves and no account changes."""
        system = self.system()
        system.install(*OWN)
        before, users = system.snapshot(), system.accounts("passwd")
        system.install(*OWN)
        self.assert_whole(system, *OWN)
        self.assert_same({path: about[:4] for path, about in before.items()},
                         {path: about[:4] for path, about in system.snapshot().items()})
        self.assertEqual(system.accounts("passwd"), users)

    def test_nothing_is_stopped_by_an_upgrade(self):
        """Sessions outlive one: no script of the package stops anything but where it is removed."""
        directory = tempfile.mkdtemp(dir=work)
        output("dpkg-deb", "--control", package("tpmgate"), directory)
        for script in ("preinst", "postinst", "prerm", "postrm"):
            if not os.path.exists(f"{directory}/{script}"):
                continue
            with open(f"{directory}/{script}", encoding="utf-8") as file:
                text = file.read()
            # each "stop" stands in an if or case that is about removal
            for found in re.finditer(r"invoke stop", text):
                self.assertRegex(text[:found.start()].rsplit("\nif ", 1)[-1].split("\n")[0],
                                 r'\[ "\$1" = "?remove"? \]')

    def test_use(self):
        """The packages' own tests, with tpm2-tools and a compiler."""
        system = self.system("tpm2-tools", "swtpm", "gcc", "libc6-dev", "pkgconf")
        system.install(*OWN)
        for name in ("keys", "library"):
            with self.subTest(name):
                shutil.copy(f"{options.source}/packaging/debian/tests/{name}", system.root + "/root")
                system.run("/root/" + name)


def main():
    global options, work
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--output", required=True, help="where the packages go")
    parser.add_argument("tests", nargs="*", help="CLASS or CLASS.TEST; default: all")
    options = parser.parse_args()

    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        print("skipped: " + (f"needs {', '.join(missing)}" if missing else "needs root"))
        return 1 if os.environ.get("MUST_WORK") == "1" else 77
    if "TPMGATE_PACKAGES_WORLD" not in os.environ:  # mounts are made out of the machine's sight
        os.environ["TPMGATE_PACKAGES_WORLD"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, "-B", *sys.argv])
    work = tempfile.mkdtemp()
    os.chmod(work, 0o755)
    try:
        build()
        program = unittest.main(argv=[sys.argv[0], "--verbose", *options.tests], exit=False)
    finally:
        shutil.rmtree(work)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
