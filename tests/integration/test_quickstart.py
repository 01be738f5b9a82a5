"""packaging/quickstart on the programs of this build."""

import glob
import os
import subprocess

from harness import BUILD, SOURCE, WORLD, TestCase, status_of


class Quickstart(TestCase):
    def run_quickstart(self, source):
        return subprocess.run([source + "/packaging/quickstart", "--build", BUILD], timeout=300,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL, check=False)

    def processes(self):
        return {path for path in glob.glob("/proc/[0-9]*")
                if status_of(os.path.basename(path))["State"][0] != "Z"}

    def test_it(self):
        processes, files = self.processes(), set(os.listdir("/tmp"))
        result = self.run_quickstart(SOURCE)
        print(result.stdout)
        self.assertEqual(result.returncode, 0)
        self.assertIn("0x000B0120", result.stdout)
        self.assertIn("Everything was as promised", result.stdout)
        # It leaves nothing behind.
        self.assertEqual(self.processes(), processes)
        left = {name for name in set(os.listdir("/tmp")) - files if "tpmgate-quickstart" in name}
        self.assertEqual(left, set())

    def test_failure_is_loud(self):
        """With a profile that allows too much, the promise is broken and said to be."""
        broken = WORLD + "/broken"
        os.mkdir(broken)
        subprocess.run(["cp", "-r", SOURCE + "/packaging", broken], check=True)
        profile = broken + "/packaging/profiles.d/keys.profile"
        with open(broken + "/packaging/profiles.d/owner.profile", encoding="utf-8") as file:
            owner = file.read()
        with open(profile, "w", encoding="utf-8") as file:
            file.write(owner.replace("[Allow]", "Groups=tpmgate-users\n\n[Allow]", 1))
        result = self.run_quickstart(broken)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("quickstart: ", result.stdout)
