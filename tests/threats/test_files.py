"""Row 38: profiles, configuration and records that somebody else could have written."""

import os
import shutil
import signal

from commands import nv_define, nv_read, nv_write
from harness import BROKER, RELAY, RM, USERS, WORLD, Broker, Process, Swtpm, TestCase
from scenario import Machine, Scenario, done
from wire import NO_PROFILE, OPEN, REFUSED, VERDICT_FAULTY, Caller

INDEX = 0x01800001
TAKE_ALL = """[Profile]
Summary=everything
Groups=tpmgate-users
[Allow]
Commands=Clear
"""


def not_roots(path):
    """What makes a file one that is not the administrator's."""
    def writable():
        os.chmod(path, 0o666)

    def owned():
        os.chown(path, USERS["alice"], -1)

    def linked():
        target = f"{WORLD}/home/alice/{os.path.basename(path)}"
        shutil.copy(path, target)
        os.chown(target, USERS["alice"], -1)
        os.unlink(path)
        os.symlink(target, path)
    return {"writable": writable, "owned": owned, "linked": linked}


class Profiles(TestCase):
    def test_row_38_profile(self):
        """Whoever may write a profile may do what it says: it is as good as not there."""
        swtpm = self.start(Swtpm)
        for name in ("writable", "owned", "linked"):
            with self.subTest(name):
                broker = Broker(swtpm, arguments=["--no-polkit"], profiles={"take": TAKE_ALL})
                path = broker.profiles + "/take.profile"
                carol = Caller("carol")
                self.assertNotEqual(carol.profiles()["take"][0], VERDICT_FAULTY)
                broker.stop()
                not_roots(path)[name]()
                process = self.again(broker, swtpm)
                self.assertEqual(carol.profiles()["take"][0], VERDICT_FAULTY)
                reply = carol.ask(OPEN, profiles="take")
                self.assertEqual(reply.status, NO_PROFILE)
                self.assertIn("take.profile", reply.message)
                self.assertNotEqual(carol.profiles()["keys"][0], VERDICT_FAULTY)
                carol.stop()
                process.stop()

    def again(self, broker, swtpm):
        """The same files once more."""
        process = Process(
            [BROKER, "--config", broker.config, "--profiles-dir", broker.profiles, "--relay", RELAY,
             "--rm", RM, "--listen", broker.socket, "--tpm", "rm:unix:" + swtpm.socket,
             "--state-dir", broker.state, "--no-polkit"], user="tpmgate")
        process.wait_for_log("ready for connections")
        return process

    def test_row_38_configuration(self):
        """It has limits and PCRs in it: nothing is started on one that others have written."""
        swtpm = self.start(Swtpm)
        for name in ("writable", "owned", "linked"):
            with self.subTest(name):
                broker = Broker(swtpm, arguments=["--no-polkit"], config="[Session]\nPCRs=0-23\n")
                broker.stop()
                not_roots(broker.config)[name]()
                process = Process(
                    [BROKER, "--config", broker.config, "--profiles-dir", broker.profiles,
                     "--relay", RELAY, "--listen", broker.socket, "--tpm",
                     "unix:" + swtpm.socket, "--state-dir", broker.state, "--no-polkit"],
                    user="tpmgate")
                try:
                    self.assertNotEqual(process.wait(), 0)
                    self.assertIn("tpmgate.conf", process.logged())
                finally:
                    process.stop(signal.SIGKILL)


class Records(Scenario):
    """The registry says whose an index is; whoever writes it says so."""

    def setUp(self):
        self.machine = Machine(self)
        session = self.machine.open("persist")
        done(session, nv_define(INDEX))
        done(session, nv_write(INDEX, b"mine", INDEX))
        session.close()
        self.machine.end()
        self.path = self.machine.state + "/registry"

    def own(self):
        return self.machine.open("persist").code(nv_read(INDEX, 4, INDEX))

    def test_row_38_records_are_kept(self):
        """So that what follows is not about something else."""
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertEqual(self.own(), 0)

    def test_row_38_records_that_others_can_write(self):
        for name in ("writable", "owned", "linked"):
            with self.subTest(name):
                state = f"{WORLD}/state-{name}"
                shutil.copytree(self.machine.state, state)
                for path in (state, state + "/registry"):
                    os.chown(path, USERS["tpmgate"], USERS["tpmgate"])
                self.machine.state = state
                not_roots(state + "/registry")[name]()
                self.machine.serve()
                self.assertEqual(self.own(), REFUSED)
                self.assertIn("registry", self.machine.broker.process.logged())
                self.machine.end()

    def test_row_38_directory_that_others_can_write(self):
        os.chmod(self.machine.state, 0o777)
        broker = Broker("unix:/nowhere", arguments=["--no-polkit"], state=self.machine.state,
                        wait=False)
        try:
            # Whether it starts without records or not at all: with a reason, and not with these.
            broker.process.wait_for_log(self.machine.state)
        finally:
            broker.process.stop(signal.SIGKILL)

    def test_row_38_damaged_records(self):
        """Set aside and reported, never guessed."""
        with open(self.path, "r+b") as file:
            file.seek(-3, os.SEEK_END)
            byte = file.read(1)
            file.seek(-3, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        self.assertEqual(self.own(), REFUSED)
        self.assertIn("registry", self.machine.broker.process.logged())
