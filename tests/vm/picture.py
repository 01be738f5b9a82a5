#!/usr/bin/python3 -B
"""Takes the pictures in docs/pictures: a desktop program asks for `attest`, and polkit prompts.

On a machine with an X server, somebody logged in who is in no group, and an agent of a desktop.
It fails where the prompt or the quote does not come. Not part of tests/run: it wants many packages.
"""

import argparse
import base64
import os
import shutil
import sys

from machine import HERE, PACKAGES, KeptTree, Machine, Tree

SOURCE = os.path.realpath(f"{HERE}/../..")
DESKTOP = ("xvfb openbox mate-polkit adwaita-icon-theme fonts-dejavu-core python3-gi "
           "gir1.2-gtk-3.0 xdotool imagemagick")
PROMPT, WINDOW, SHOWN = "Authenticate", "Who is this computer", "A quote"


class Desktop:
    """What somebody sees and does who is logged in."""

    def __init__(self, machine, user):
        self.machine = machine
        self.user = user
        self.session = machine.login(user)
        self.start("Xvfb :1 -screen 0 900x560x24")
        self.eventually("xdotool getmouselocation")
        self.start("openbox")
        self.start("$(find /usr/lib* -name polkit-mate-authentication-agent-1)")

    def do(self, command, check=True):
        return self.machine.run(command, user=self.user, session=self.session, check=check, env={
            "DISPLAY": ":1", "NO_AT_BRIDGE": "1", "XDG_RUNTIME_DIR": "/run/user/" + self.number(),
            "GDK_BACKEND": "x11"})

    def number(self):
        return self.machine.run(f"id -u {self.user}").output.strip()

    def start(self, command):
        self.do(f"exec {command} >>~/desktop.log 2>&1 &")

    def eventually(self, command):
        self.machine.eventually(lambda: self.do(command, check=False).status == 0, command)

    def see(self, title):
        """Waits for a window, which then has the keyboard."""
        self.eventually(f"xdotool search --onlyvisible --name '{title}' windowactivate --sync")
        self.do("sleep 2")  # for what is drawn in it, of which nothing tells

    def picture(self, name):
        # of what is before the background
        said = self.do("import -window root png:- | convert - -trim +repage -strip png:- | base64").output
        with open(f"{SOURCE}/docs/pictures/{name}.png", "wb") as file:
            file.write(base64.b64decode(said))


def take(machine):
    machine.install()
    with open(f"{SOURCE}/docs/examples/quote.py", encoding="utf-8") as file:
        machine.write("/usr/local/bin/quote", file.read(), 0o755)
    desktop = Desktop(machine, "bob")
    desktop.start("quote")
    desktop.see(WINDOW)
    desktop.do("xdotool key Tab space")
    desktop.see(PROMPT)
    desktop.do("xdotool type bob")
    desktop.picture("prompt")
    desktop.do("xdotool key Return")
    desktop.see(SHOWN)
    desktop.picture("quote")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", required=True, help="from packages.py")
    parser.add_argument("--suite", default="bookworm", help="Debian's: bookworm or trixie")
    parser.add_argument("--cache", default=KeptTree.CACHE, help="where trees are kept")
    arguments = parser.parse_args()
    if os.getuid() != 0 or not shutil.which("qemu-system-x86_64"):
        print("needs root, and what `tests/run --vm` installs")
        return 1
    tree = Tree(arguments.suite, os.path.realpath(arguments.cache), kind="desktop",
                packages=PACKAGES + " " + DESKTOP)
    machine = Machine(tree, arguments.packages, console=os.devnull)
    try:
        take(machine)
    finally:
        machine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
