"""What the tests of the broker's requests begin with: a broker, callers, and the command."""

import os
import shutil
import struct

from harness import CLI, USERS, WORLD, Broker, Swtpm, TestCase, run_as
from wire import ADOPT, KIND_NV, Caller, adopt_part

INDEX, OBJECT = 0x01800123, 0x81000123
# OWNERWRITE, AUTHWRITE, OWNERREAD, AUTHREAD, NO_DA
ATTRIBUTES = 0x2 | 0x4 | 0x20000 | 0x40000 | 0x2000000
AREA = struct.pack(">IHIHH", INDEX, 0x0B, ATTRIBUTES, 0, 8)


class Requests(TestCase):
    def setUp(self):
        self.swtpm = self.start(Swtpm)
        self.logs = WORLD + "/eventlogs"
        os.mkdir(self.logs)
        self.addCleanup(shutil.rmtree, self.logs)

    def broker(self, *arguments, **options):
        return self.start(Broker, self.swtpm, arguments=[
            "--eventlog-dir", self.logs, *arguments], **options)

    def caller(self, user, groups=None):
        return self.start(Caller, user, groups)

    def ask(self, user, kind, **fields):
        return self.caller(user).ask(kind, **fields)

    def adopt(self, caller, uid=USERS["alice"], device="", flags=0):
        return caller.ask(ADOPT, device=device, flags=flags,
                          tail=adopt_part(uid, KIND_NV, INDEX, AREA, 8))

    def tool(self, user, *arguments):
        return run_as(user, [CLI, *arguments], cwd=WORLD if user == 0 else None)
