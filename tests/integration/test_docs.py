"""The Python client that docs/protocol.md shows, run as it stands there."""

import re

from harness import SOURCE, WORLD, Broker, Swtpm, TestCase, run_as


class Documentation(TestCase):
    def client(self):
        """The marked code block."""
        with open(SOURCE + "/docs/protocol.md", encoding="utf-8") as file:
            blocks = re.findall(r"^```python\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)
        self.assertEqual(len(blocks), 1, "docs/protocol.md has one block marked python")
        path = WORLD + "/client.py"
        with open(path, "w", encoding="utf-8") as file:
            file.write(blocks[0])
        return path

    def test_python_client(self):
        swtpm = self.start(Swtpm)
        self.start(Broker, swtpm, arguments=["--no-polkit"])
        path = self.client()
        outputs = set()
        for _ in range(2):
            result = run_as("carol", ["/usr/bin/python3", path])
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertRegex(result.stdout, "[0-9a-f]{8}")
            outputs.add(result.stdout)
        self.assertEqual(len(outputs), 2, "random numbers differ")
        refused = run_as("user1", ["/usr/bin/python3", path])
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("tpmgate-users", refused.stdout + refused.stderr)
