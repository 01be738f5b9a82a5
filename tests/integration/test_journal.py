"""What the journal gets: lines with fields, and the identifiers that its catalog explains."""

import os
import re
import shutil
import socket

from asking import Requests
from harness import SOURCE, USERS, readable
from wire import CC_CLEAR, DENIED, EMPTY_PASSWORD, LOCKOUT, OK, OPEN, REFUSED, REVOKE, command

JOURNAL = "/run/systemd/journal"


def events():
    """Name -> identifier, of those that the broker and its relays log."""
    with open(SOURCE + "/helper/common/events.h", encoding="utf-8") as file:
        return dict(re.findall(r'^#define EVENT_(\w+)\s+"(\w+)"', file.read(), flags=re.MULTILINE))


class Journal:
    """What journald listens on; standard error that leads to it is what the broker looks for."""

    def __init__(self):
        os.makedirs(JOURNAL)
        self.stdout = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stdout.bind(JOURNAL + "/stdout")
        self.stdout.listen()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(JOURNAL + "/socket")
        os.chmod(JOURNAL + "/socket", 0o666)
        self.stderr = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stderr.connect(JOURNAL + "/stdout")
        self.names = {identifier: name for name, identifier in events().items()}

    def wait_for(self, name):
        """The fields of the next line that is about NAME; lines before it are dropped."""
        while True:
            if not readable(self.socket):
                raise AssertionError(f"nothing came about {name}")
            lines = self.socket.recv(65536).decode().splitlines()
            fields = dict(line.split("=", 1) for line in lines)
            assert len(fields) == len(lines), lines
            if self.names.get(fields.get("MESSAGE_ID")) == name:
                return fields

    def stop(self):
        for end in (self.stdout, self.stderr, self.socket):
            end.close()
        shutil.rmtree(JOURNAL)


class Lines(Requests):
    def setUp(self):
        super().setUp()
        self.journal = self.start(Journal)

    def serve(self, *arguments, **options):
        return self.broker("--no-polkit", *arguments, fds={2: self.journal.stderr.fileno()},
                           **options)

    def about(self, name, user, **wanted):
        """The next line about NAME, which is about USER and has the fields WANTED."""
        fields = self.journal.wait_for(name)
        self.assertEqual(fields.get("TPMGATE_UID"), str(USERS[user]))
        for field, value in wanted.items():
            self.assertEqual(fields.get("TPMGATE_" + field), value, fields)
        return fields

    def test_a_session(self):
        self.serve()
        carol = self.caller("carol")
        tpm = carol.open("keys")
        number = str(tpm.session)
        fields = self.about("SESSION_OPENED", "carol", SESSION=number, PROFILES="keys", DEVICE="rm")
        self.assertEqual(fields["PRIORITY"], "5")
        self.assertEqual(tpm.code(command(CC_CLEAR, [LOCKOUT], EMPTY_PASSWORD)), REFUSED)
        fields = self.about("COMMAND_REFUSED", "carol", SESSION=number, COMMAND="Clear",
                            RULE="command", CODE="0x000b0120")
        self.assertEqual(fields["SYSLOG_IDENTIFIER"], "tpmgate-relay")
        tpm.close()
        self.about("SESSION_ENDED", "carol", SESSION=number)

    def test_a_session_that_is_revoked(self):
        self.serve()
        carol = self.caller("carol")
        tpm = carol.open("keys")
        self.assertEqual(carol.ask(REVOKE, session=tpm.session).status, OK)
        self.about("SESSION_REVOKED", "carol", SESSION=str(tpm.session))
        tpm.close()

    def test_who_is_refused(self):
        self.serve()
        self.assertEqual(self.ask("alice", OPEN, profiles="keys").status, DENIED)
        self.about("CALLER_REFUSED", "alice", PROFILES="keys", VERDICT="refused")

    def test_what_is_faulty(self):
        self.serve(profiles={"mine": "broken\nTPMGATE_UID=0"})
        fields = self.journal.wait_for("CONFIG_PROBLEM")
        self.assertIn("mine.profile:1", fields["MESSAGE"])
        self.assertNotIn("TPMGATE_UID", fields)

