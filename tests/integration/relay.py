"""A relay without a broker: the test gives it its descriptors and plays the TPM where it likes."""

import fcntl
import os
import queue
import socket
import struct
import threading

from harness import PATIENCE, RELAY, Process, readable
from wire import Tpm

# common/policy.h
IMAGE = struct.Struct("=IIIIQIiIIIIII")
POLICY = struct.Struct("=32s3Q6I48I")
IMAGE_MAGIC, IMAGE_VERSION, FIRST_CODE = 0x59504D54, 3, 0x11F
BACKEND_DEVICE, BACKEND_STREAM = 1, 2
HIERARCHY_OWNER, HIERARCHY_NULL = 1, 4

# common/account-protocol.h
ACCOUNT = struct.Struct("=10I80s")
ACCOUNT_MAGIC = 0x32504D54
READY, REVOKE, REVOKED, CLOSED = 1, 2, 3, 4
QUESTIONS, ANSWER = range(16, 31), 31
SAVES, STATE = 37, 39
FLUSH, RESUME = 48, 49
YES = 1
REASON_REVOKED, REASON_DEVICE_GONE = 1, 2

# GetRandom, GetCapability, CreatePrimary, FlushContext, StartAuthSession, ReadPublic, PCR_Read
COMMANDS = (0x17B, 0x17A, 0x131, 0x165, 0x176, 0x173, 0x17E)


def policy_image(backend, commands=COMMANDS, idle=0, lifetime=0, secrets=0, pcrs=0):
    """A sealed memfd with one policy that allows COMMANDS in the owner and NULL hierarchies."""
    bits = [0, 0, 0]
    for code in commands:
        bits[(code - FIRST_CODE) // 64] |= 1 << (code - FIRST_CODE) % 64
    policy = POLICY.pack(b"test", *bits, 0xFFFF, HIERARCHY_OWNER | HIERARCHY_NULL, secrets,
                         pcrs, 0, 0, *([0] * 48))
    image = IMAGE.pack(IMAGE_MAGIC, IMAGE_VERSION, IMAGE.size + 8 * POLICY.size, backend, 1,
                       os.getuid(), os.getpid(), idle, lifetime, 1, 3, 3, 0)
    fd = os.memfd_create("policy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, image + policy + bytes(7 * POLICY.size))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK |
                fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


class Relay:
    """One relay as a child of the test, which has the other ends of all its descriptors.

    Every question of the relay's is answered YES: there is no other session to think of.

    client: a Tpm over the client's end; account: the broker's end; tpm: what plays the TPM, or
    None where SWTPM is a software TPM that the relay is connected to.
    """

    def __init__(self, swtpm=None, program=RELAY, wait=True, environment=None, more_fds=None,
                 **image):
        self.tpm = None
        if swtpm is None:
            backend = BACKEND_DEVICE
            self.tpm, tpm_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            backend = BACKEND_STREAM
            tpm_side = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            tpm_side.connect(swtpm.socket)
        client, client_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.account, account_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = {3: client_side, 4: tpm_side, 5: policy_image(backend, **image), 6: account_side}
        fds.update(more_fds or {})
        self.client = Tpm(client.detach())
        self.saves = 0  # of TPM sessions, as it told
        self.said = queue.Queue()
        self.facts = queue.Queue()
        self.listener = threading.Thread(target=self._answer, daemon=True)
        self.listener.start()
        self.process = Process([program], user="tpmgate", fds=fds, env=environment or {})
        for side in (client_side, tpm_side, account_side):
            side.close()
        os.close(fds[5])
        if wait:
            self.expect(READY)

    def _answer(self):
        """Answers questions, and keeps what is said about the session's life and what is told."""
        while True:
            try:
                data = self.account.recv(ACCOUNT.size + 1)
            except OSError:
                return
            if not data:
                return
            magic, kind, serial, argument = ACCOUNT.unpack(data)[:4]
            if kind == SAVES:
                self.saves += argument
            if magic == ACCOUNT_MAGIC and kind in QUESTIONS:
                self.account.send(ACCOUNT.pack(ACCOUNT_MAGIC, ANSWER, serial, YES, *[0] * 6, b""))
            elif magic != ACCOUNT_MAGIC or kind < ANSWER:
                self.said.put(kind)
            else:
                self.facts.put(kind)

    def expect(self, kind, timeout=PATIENCE):
        try:
            said = self.said.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no message {kind} from the relay") from None
        if said != kind:
            raise AssertionError(f"the relay said {said}: {self.process.logged()}")

    def leave(self):
        """The client leaves; all that the relay says before it exits is heard."""
        self.client.close()
        if self.process.wait() != 0:
            raise AssertionError(f"the relay failed: {self.process.logged()}")
        self.listener.join(PATIENCE)

    def order_flush(self, handle):
        self.account.send(ACCOUNT.pack(ACCOUNT_MAGIC, FLUSH, 0, 0, 0, handle, *[0] * 4, b""))

    def resume(self):
        """Asks as a broker that starts anew; the kinds of all facts that it was told before."""
        self.account.send(ACCOUNT.pack(ACCOUNT_MAGIC, RESUME, *[0] * 8, b""))
        told = []
        while STATE not in told:
            try:
                told.append(self.facts.get(timeout=PATIENCE))
            except queue.Empty:
                raise AssertionError("the relay does not say what it holds") from None
        return told[:-1]

    def revoke(self, reason=REASON_REVOKED):
        self.account.send(ACCOUNT.pack(ACCOUNT_MAGIC, REVOKE, 0, reason, *[0] * 6, b""))
        self.expect(REVOKED)

    def command_arrives(self):
        """The next command, at the TPM that the test plays."""
        if not readable(self.tpm):
            raise AssertionError("no command reached the TPM")
        return self.tpm.recv(4096)

    def stop(self):
        self.client.close()
        if self.tpm:
            self.tpm.close()
        self.account.shutdown(socket.SHUT_RDWR)
        self.account.close()
        return self.process.wait()
