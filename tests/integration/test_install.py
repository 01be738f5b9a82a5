"""`cmake --install` into a directory of its own: every file where it belongs, and no other."""

import os
import stat
import subprocess

from harness import BUILD, WORLD, TestCase

LIBRARY_VERSIONS = ("so", "so.0", "so.0.1.0")
PROFILES = ("basic", "keys", "unseal", "attest", "persist", "admin", "owner")


def cache():
    """The build's CMake variables."""
    with open(BUILD + "/CMakeCache.txt", encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if ":" in line and "=" in line]
    return {line.split(":", 1)[0]: line.split("=", 1)[1] for line in lines}


class Install(TestCase):
    def expected(self):
        """Absolute paths of what is installed."""
        variables = cache()
        prefix = variables["CMAKE_INSTALL_PREFIX"]

        def path(variable, fallback):
            return os.path.join(prefix, variables.get("CMAKE_INSTALL_" + variable) or fallback)

        binaries, libexec = path("BINDIR", "bin"), path("LIBEXECDIR", "libexec")
        libraries, headers = path("LIBDIR", "lib"), path("INCLUDEDIR", "include")
        manual = path("MANDIR", "share/man")
        documents = path("DOCDIR", "share/doc/tpmgate")
        own = variables["TPMGATE_LIB_DIR"]
        files = {
            f"{binaries}/tpmgate", f"{libexec}/tpmgate-broker", f"{libexec}/tpmgate-relay",
            f"{libexec}/tpmgate-rm",
            f"{headers}/tpmgate.h", f"{libraries}/pkgconfig/tpmgate.pc",
            path("DATADIR", "share") + "/icons/hicolor/scalable/apps/io.github.tpmgate.svg",
            variables["POLKIT_ACTION_DIR"] + "/io.github.tpmgate.policy",
            variables["SYSTEMD_UNIT_DIR"] + "/tpmgate.socket",
            variables["SYSTEMD_UNIT_DIR"] + "/tpmgate.service",
            variables["CATALOG_DIR"] + "/tpmgate.catalog",
            variables["UDEV_DIR"] + "/rules.d/60-tpmgate.rules",
            variables["UDEV_DIR"] + "/rules.d/60-tpmgate-usb.rules",
            variables["DRACUT_DIR"] + "/60tpmgate-udev/module-setup.sh",
            variables["INITRAMFS_TOOLS_DIR"] + "/hooks/tpmgate-udev",
            f"{own}/tpmgate.conf",
            variables["BASH_COMPLETION_DIR"] + "/tpmgate",
            variables["FISH_COMPLETION_DIR"] + "/tpmgate.fish",
            variables["ZSH_COMPLETION_DIR"] + "/_tpmgate",
        }
        files |= {f"{own}/profiles.d/{name}.profile" for name in PROFILES}
        files |= {f"{variables[directory]}/{name}.conf" for directory in (
            "SYSUSERS_DIR", "TMPFILES_DIR") for name in ("tpmgate", "tpmgate-udev")}
        files |= {f"{libraries}/{name}.{version}" for version in LIBRARY_VERSIONS
                  for name in ("libtpmgate", "libtss2-tcti-tpmgate")}
        files |= {f"{manual}/man{page[-1]}/{page}" for page in (
            "tpmgate.1", "libtpmgate.3", "tpmgate.conf.5", "tpmgate-profile.5", "libtss2-tcti-tpmgate.7",
            "tpmgate-broker.8", "tpmgate-rm.8")}
        files |= {f"{documents}/{name}" for name in (
            "README.md", "NEWS.md", "SECURITY.md", "architecture.md", "clients.md", "hacking.md",
            "packaging.md", "profiles.md", "protocol.md", "security-review.md", "threat-model.md",
            "examples/49-tpmgate-no-ssh.rules", "examples/50-tpmgate-group.rules",
            "examples/50-tpmgate-service.rules")}
        return files

    def test_files(self):
        root = WORLD + "/install"
        result = subprocess.run(["cmake", "--install", BUILD], env=dict(os.environ, DESTDIR=root),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stdout)
        installed = {os.path.join(directory, name)[len(root):]
                     for directory, _, names in os.walk(root) for name in names}
        self.assertEqual(sorted(installed), sorted(self.expected()))
        for path in installed:
            with self.subTest(path):
                mode = os.lstat(root + path).st_mode
                if stat.S_ISLNK(mode):
                    self.assertTrue(os.path.exists(root + path), "a dangling link")
                    continue
                # Nothing is setuid, and nothing is writable by others.
                self.assertEqual(stat.S_IMODE(mode) & 0o7022, 0)
                if ".so." not in path:  # distributions differ about libraries
                    program = any(each in path for each in (
                        "/bin/", "/libexec/", "/dracut/", "/initramfs-tools/hooks/"))
                    self.assertEqual(bool(mode & 0o111), program)

    def test_programs_are_hardened(self):
        for name in ("helper/broker/tpmgate-broker", "helper/relay/tpmgate-relay",
                     "helper/rm/tpmgate-rm", "helper/cli/tpmgate"):
            with self.subTest(name):
                headers = subprocess.run(["readelf", "-Wdl", f"{BUILD}/{name}"], check=True,
                                         stdout=subprocess.PIPE, text=True).stdout
                self.assertIn("GNU_RELRO", headers)
                self.assertIn("BIND_NOW", headers)
                self.assertRegex(headers, "Flags:.*PIE")
                self.assertRegex(headers, "GNU_STACK.* RW ")

    def test_nothing_of_glib_where_it_is_not_wanted(self):
        """The relay, the library and the TCTI depend on as little as was promised."""
        for name, allowed in (
                ("helper/relay/tpmgate-relay", {"libseccomp.so.2", "libc.so.6"}),
                ("helper/rm/tpmgate-rm", {"libseccomp.so.2", "libc.so.6"}),
                ("helper/client/libtpmgate.so.0", {"libc.so.6"}),
                ("helper/tcti/libtss2-tcti-tpmgate.so.0", {"libc.so.6"})):
            with self.subTest(name):
                table = subprocess.run(["readelf", "-Wd", f"{BUILD}/{name}"], check=True,
                                       stdout=subprocess.PIPE, text=True).stdout
                needed = {line.split("[")[1].rstrip("]") for line in table.splitlines()
                          if "(NEEDED)" in line}
                self.assertLessEqual(needed, allowed)
