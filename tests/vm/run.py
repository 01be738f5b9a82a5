#!/usr/bin/python3 -B
"""Boots a machine, runs scenarios on it, and ends it.

Each scenario is tests/vm/test_NAME.py; they share the boot and run in the order given.
"""

import argparse
import importlib
import os
import shutil
import sys
import time
import unittest

import scenario
from machine import KeptTree, Machine, Tree

SKIPPED = 77
PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "swtpm", "mkfs.ext4", "setpriv")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", required=True,
                        help="directory of the packages to install, from packages.py")
    parser.add_argument("--suite", default="bookworm", help="Debian's: bookworm or trixie")
    parser.add_argument("--tpm", default="crb", choices=("crb", "tis"))
    parser.add_argument("--cache", default=KeptTree.CACHE, help="where trees are kept")
    parser.add_argument("--console", help="file for the kernel's messages")
    parser.add_argument("--shell", action="store_true",
                        help="installs tpmgate and leaves you to a root shell; ends with poweroff")
    parser.add_argument("scenario", nargs="*", help="NAME of test_NAME.py")
    arguments = parser.parse_args()

    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing or os.getuid() != 0:
        print("skipped: " + (f"not installed: {' '.join(missing)}" if missing else
                             "needs root, for the tree"))
        return SKIPPED
    began = time.monotonic()
    tree = Tree(arguments.suite, os.path.realpath(arguments.cache))
    print(f"tree: {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    console = None if arguments.shell else arguments.console or os.devnull
    machine = Machine(tree, arguments.packages, arguments.tpm, console)
    try:
        print(f"boot: {time.monotonic() - began:.0f} s", flush=True)
        if arguments.shell:
            machine.install()
            machine.wait()
            return 0
        scenario.here = machine
        suite = unittest.TestSuite()
        for name in arguments.scenario:
            suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(
                importlib.import_module("test_" + name)))
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
        return 0 if result.wasSuccessful() and result.testsRun else 1
    finally:
        machine.stop()


if __name__ == "__main__":
    sys.exit(main())
