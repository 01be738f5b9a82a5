"""A hundred thousand bad commands to a relay, and as many bad requests to a broker.

TPMGATE_STORM_ROUNDS and TPMGATE_STORM_SEED in the environment choose others.
"""

import os

from harness import (BUILD, SANITIZED, SOCKET, Broker, Process, Swtpm, TestCase, children,
                     descriptors_of, eventually)
from wire import Caller, state_of

ROUNDS = int(os.environ.get("TPMGATE_STORM_ROUNDS", 5000 if SANITIZED else 100000))
SEED = os.environ.get("TPMGATE_STORM_SEED", "20261123")
STORM = BUILD + "/tests/integration/storm-"
TIMEOUT = 500
GROWTH = 512  # KiB that the allocator may keep


def dirty_memory(pid):
    """KiB that only this process has and has written to."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return int(fields["Private_Dirty"].split()[0])


class Storm(TestCase):
    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.before = state_of(self.swtpm)
        self.broker = self.start(Broker, self.swtpm, arguments=["--no-polkit"])
        self.carol = self.start(Caller, "carol")
        self.pid = self.broker.process.pid

    def storm(self, name, *arguments, **options):
        process = Process([STORM + name, *map(str, arguments)], **options)
        status = process.wait(TIMEOUT)
        print(process.logged())
        self.assertEqual(status, 0)

    def is_unharmed(self, descriptors, memory):
        self.assertTrue(self.broker.process.running())
        eventually(lambda: not children(self.pid), "the relays end")
        eventually(lambda: len(descriptors_of(self.pid)) <= len(descriptors),
                   f"descriptors as before: {descriptors}")
        if not SANITIZED:  # a sanitizer keeps what was freed
            self.assertLess(dirty_memory(self.pid) - memory, GROWTH)
        tpm = self.carol.open()
        tpm.random()
        tpm.close()
        eventually(lambda: not children(self.pid), "the relay ends")
        self.assertEqual(state_of(self.swtpm), self.before)

    def measure(self):
        """Descriptors and memory, after everything was used once."""
        self.carol.open().close()
        eventually(lambda: not children(self.pid), "the relay ends")
        return descriptors_of(self.pid), dirty_memory(self.pid)

    def test_relay(self):
        descriptors, memory = self.measure()
        tpm = self.carol.open("keys")
        relay = children(self.pid)[0]
        tpm.random()
        relay_descriptors, relay_memory = descriptors_of(relay), dirty_memory(relay)
        self.storm("relay", 3, ROUNDS, SEED, fds={3: tpm.socket})
        tpm.random()
        self.assertEqual(descriptors_of(relay), relay_descriptors)
        if not SANITIZED:
            self.assertLess(dirty_memory(relay) - relay_memory, GROWTH)
        tpm.close()
        self.is_unharmed(descriptors, memory)

    def test_broker(self):
        self.storm("broker", SOCKET, 1000, 1, user="carol")
        descriptors, memory = self.measure()
        self.storm("broker", SOCKET, ROUNDS, SEED, user="carol")
        self.is_unharmed(descriptors, memory)
