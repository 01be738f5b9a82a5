#!/usr/bin/python3 -B
"""Builds the Debian packages of this source tree for a suite of Debian, in a tree of that suite.

The tree is made once by mmdebstrap, with what the build needs, and kept beside those of machine.py.
Beside the packages, in previous/, are the same ones as an earlier version, to upgrade from.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

from machine import HERE, KeptTree

SOURCE = os.path.realpath(f"{HERE}/../..")
PREVIOUS = "0.0.9"

# As build-deb itself would do it: what debian/control names, and a compiler.
CUSTOMIZE = """set -eu
mkdir -p "$1/root/tpmgate/debian"
cp "$CONTROL" "$1/root/tpmgate/debian/control"
chroot "$1" apt-get -qq -y --no-install-recommends build-dep /root/tpmgate
rm -r "$1/root/tpmgate"
"""
# In a mount namespace; the tree is given a copy of the sources and hands the packages back.
BUILD = """set -eu
tree=$1 source=$2 output=$3
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount -t tmpfs tmpfs "$tree/tmp"
mkdir "$tree/tmp/source" "$tree/tmp/output"
mount --bind "$source" "$tree/tmp/source"
mount --bind "$output" "$tree/tmp/output"
exec chroot "$tree" /tmp/source/packaging/build-deb /tmp/output
"""


class BuildTree(KeptTree):
    """Where packages for a suite are built."""

    def __init__(self, suite, cache):
        with open(f"{SOURCE}/packaging/debian/control", encoding="utf-8") as control:
            relations = control.read().split("\n\n")[0]
        super().__init__(suite, suite + "-build", cache, (CUSTOMIZE, relations))

    def make(self, work):
        self.mmdebstrap(work, ("dpkg-dev", "gcc", "libc6-dev", "make"), CUSTOMIZE,
                        {"CONTROL": f"{SOURCE}/packaging/debian/control"})

    def build(self, output):
        said = subprocess.run(
            ["unshare", "--mount", "sh", "-c", BUILD, "sh", self.directory + "/tree", SOURCE,
             output], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
        if said.returncode:
            raise RuntimeError("build-deb failed:\n" + said.stdout[-8000:])


def make_previous(packages, directory):
    """The same with an earlier version, as far as dpkg can tell."""
    os.mkdir(directory)
    for package in packages:
        version = subprocess.run(["dpkg-deb", "--field", package, "Version"], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout.strip()
        with tempfile.TemporaryDirectory() as work:
            subprocess.run(["dpkg-deb", "--raw-extract", package, work + "/package"], check=True)
            control = work + "/package/DEBIAN/control"
            with open(control, encoding="utf-8") as file:
                text = file.read()
            text = text.replace(f"Version: {version}\n", f"Version: {PREVIOUS}\n")
            with open(control, "w", encoding="utf-8") as file:
                file.write(text.replace(f"(= {version})", f"(= {PREVIOUS})"))
            subprocess.run(["dpkg-deb", "--build", "-Znone", work + "/package",
                            directory + "/" + os.path.basename(package)], check=True,
                           stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="bookworm", help="Debian's: bookworm or trixie")
    parser.add_argument("--cache", default=KeptTree.CACHE, help="where trees are kept")
    parser.add_argument("output", help="directory for the packages, which is made anew")
    arguments = parser.parse_args()
    missing = [program for program in ("mmdebstrap", "unshare", "dpkg-deb")
               if not shutil.which(program)]
    if missing or os.getuid() != 0:
        print("skipped: " + (f"not installed: {' '.join(missing)}" if missing else
                             "needs root, for the tree"))
        return 77
    tree = BuildTree(arguments.suite, os.path.realpath(arguments.cache))
    shutil.rmtree(arguments.output, ignore_errors=True)
    os.makedirs(arguments.output)
    tree.build(os.path.realpath(arguments.output))
    packages = glob.glob(arguments.output + "/*.deb")
    make_previous(packages, arguments.output + "/previous")
    print("\n".join(sorted(packages)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
