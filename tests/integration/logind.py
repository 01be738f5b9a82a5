"""What polkitd reads of systemd, where none runs: control groups, and logind's files in /run."""

import os

from harness import USERS, eventually


def hierarchy():
    """Where the kernel's one hierarchy of control groups is mounted and can be changed, or None."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split() for line in file]
    found = [fields[1] for fields in mounts if fields[2] == "cgroup2"]
    if not found:
        return None
    options = os.statvfs(found[0]).f_flag
    return None if options & os.ST_RDONLY else found[0]


class Unit:
    """A control group with the path of a unit of systemd, for processes to be put into."""

    def __init__(self, path):
        self.top = hierarchy()
        self.path = f"{self.top}/{path}"
        os.makedirs(self.path, exist_ok=True)

    def add(self, pid):
        with open(self.path + "/cgroup.procs", "w", encoding="utf-8") as file:
            file.write(str(pid))

    def stop(self):
        """Its processes have to be gone, or on their way."""
        eventually(self.remove, f"{self.path} is removed")

    def remove(self):
        path = self.path
        try:
            while path != self.top:
                os.rmdir(path)
                path = os.path.dirname(path)
        except OSError:
            return path != self.path  # others are in what is above it
        return True


def log_in(user, session, remote=False):
    """Files as logind writes them: a session at a seat, or one that came over the network."""
    uid = USERS[user]
    for directory in ("sessions", "users", "seats", "machines"):
        os.makedirs(f"/run/systemd/{directory}", exist_ok=True)
    place = ["REMOTE=1", "SERVICE=sshd"] if remote else ["REMOTE=0", "SEAT=seat0", "VTNR=1"]
    write(f"sessions/{session}", f"UID={uid}", f"USER={user}", "ACTIVE=1", "STATE=active",
          "IS_DISPLAY=1", "TYPE=tty", "CLASS=user", *place)
    write(f"users/{uid}", f"NAME={user}", "STATE=active", f"DISPLAY={session}",
          f"SESSIONS={session}", f"ACTIVE_SESSIONS={session}")


def write(name, *lines):
    with open("/run/systemd/" + name, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def log_out(user, session):
    os.unlink(f"/run/systemd/sessions/{session}")
    os.unlink(f"/run/systemd/users/{USERS[user]}")
