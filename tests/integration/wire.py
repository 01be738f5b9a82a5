"""The client protocol and TPM commands as bytes, and callers that speak them under their own uid."""

import collections
import ctypes
import os
import pickle
import socket
import struct

from harness import PATIENCE, SOCKET, Process, readable

MAGIC = 0x474D5054
VERSION = 1
OPEN, PROFILES, DEVICES, SESSIONS, REVOKE, NONCE = 1, 2, 3, 4, 5, 16
REFUSALS, RECORDS, ADOPT, FORGET, EVENTLOG, ACCOUNT = range(6, 12)
INTERACTIVE, EVERYBODY = 1, 2
(OK, DENIED, WOULD_PROMPT, NO_PROFILE, NO_DEVICE, BUSY, LIMIT, BAD_REQUEST, BAD_VERSION, FAILED,
 NO_SESSION) = range(1, 12)
VERDICT_NO, VERDICT_YES, VERDICT_PROMPT, VERDICT_FAULTY = range(4)

REQUEST = struct.Struct("=IHHIIQ128s64s")
NONCE_PACKET = struct.Struct("=IHHI16s")
REPLY = struct.Struct("=IHHIIHHIIIQ512s")
PROFILE_ITEM = struct.Struct("=32sI220sI32s64s")
DEVICE_ITEM = struct.Struct("=64s108sII76s")
SESSION_ITEM = struct.Struct("=QqIi128s64s")
ADOPT_PART = struct.Struct("=6I80s")
REFUSAL_ITEM = struct.Struct("=qQ4I32s")
RECORD_ITEM = struct.Struct("=q6I64s")
ACCOUNT_ITEM = struct.Struct("=64s12I")
KIND_NV, KIND_PERSISTENT, KIND_SEALED = 1, 2, 3
STATE_OWN = 2

Reply = collections.namedtuple(
    "Reply", "status message session type version_min version_max items fd")


def text(field):
    return field.split(b"\0", 1)[0].decode()


def request(kind, profiles="", device="", flags=0, session=0, tail=b""):
    return REQUEST.pack(MAGIC, VERSION, kind, REQUEST.size + len(tail), flags, session,
                        profiles.encode(), device.encode()) + tail


def adopt_part(uid, kind, handle, data, nv_size=0):
    """What follows the request ADOPT."""
    return ADOPT_PART.pack(uid, kind, handle, nv_size, len(data), 0, data)


def decode_reply(packet, fds=()):
    """A Reply; every length in it must be exact."""
    (magic, version, kind, length, status, version_min, version_max, count, size, reserved,
     session, message) = REPLY.unpack_from(packet)
    assert magic == MAGIC and version == VERSION and reserved == 0, packet[:64].hex()
    assert length == len(packet) == REPLY.size + count * size, (length, len(packet), count, size)
    assert len(fds) <= 1, "more than one descriptor"
    assert bool(fds) == (status == OK and kind in (OPEN, EVENTLOG)), (status, kind, fds)
    items = [packet[REPLY.size + i * size:REPLY.size + (i + 1) * size] for i in range(count)]
    return Reply(status, text(message), session, kind, version_min, version_max, items,
                 fds[0] if fds else -1)


def receive_packet(sock, timeout):
    """(bytes, descriptors), or (None, ()) at a timeout; b"" at the end."""
    if not readable(sock, timeout):
        return None, ()
    for _ in range(2):
        try:
            data, fds, _, _ = socket.recv_fds(sock, 65536, 8)
            return data, fds
        except ConnectionResetError:
            pass  # said once where the broker left our request unread; its reply comes after that
    return b"", ()


class Caller:
    """A process under a uid of its own that connects to the broker and speaks when told to."""

    def __init__(self, user, groups=None, path=SOCKET, sock=None):
        """SOCK: a connection that somebody else made, to go on with."""
        self.user = user
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = {3: theirs}
        if sock is not None:
            fds[4] = sock
        self.process = Process([self._serve, path, sock is not None], user=user, groups=groups,
                               fds=fds, name=f"caller-{user}")
        theirs.close()

    @property
    def pid(self):
        return self.process.pid

    # In the child.

    @staticmethod
    def _serve(path, has_socket):
        control = socket.socket(fileno=3)
        caller = Caller.__new__(Caller)
        caller.path = path
        caller.sock = socket.socket(fileno=4) if has_socket else None
        caller.more = []
        while True:
            data = control.recv(65536)
            if not data:
                os._exit(0)
            name, arguments = pickle.loads(data)
            fds = ()
            try:
                value = getattr(caller, "_" + name)(*arguments)
                if isinstance(value, tuple):
                    value, fds = value
            except BaseException as problem:
                value = problem
            socket.send_fds(control, [pickle.dumps(value)], list(fds))
            for fd in fds:
                os.close(fd)

    def _connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(self.path)

    def _connect_more(self, count):
        """Connections that nothing is ever sent on."""
        for _ in range(count):
            self._connect()
            self.more.append(self.sock)

    def _count_open(self):
        """How many of those the broker has not closed and not answered."""
        return sum(not readable(sock, 0) for sock in self.more)

    def _close_more(self):
        for sock in self.more:
            sock.close()
        self.more = []

    def _rename(self, name):
        pr_set_name = 15
        ctypes.CDLL(None).prctl(pr_set_name, name, 0, 0, 0)

    def _give_socket(self):
        return None, (os.dup(self.sock.fileno()),)

    def _send(self, data):
        try:
            self.sock.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it asked: the reply is there to be read

    def _receive(self, timeout):
        """One packet; nonces are sent back, as an honest client does."""
        while True:
            data, fds = receive_packet(self.sock, timeout)
            if data and len(data) == NONCE_PACKET.size:
                self.sock.send(data)
                continue
            return data, fds

    def _receive_raw(self, timeout):
        return receive_packet(self.sock, timeout)

    def _close(self):
        self.sock.close()
        self.sock = None

    # In the test.

    def post(self, name, *arguments):
        """Tells the caller to do something; result() brings what came of it."""
        self.control.send(pickle.dumps((name, arguments)))

    def result(self, timeout=PATIENCE):
        if not readable(self.control, timeout):
            raise AssertionError(f"{self.user} got no answer in {timeout} s")
        data, fds, _, _ = socket.recv_fds(self.control, 1 << 18, 8)
        if not data:
            raise AssertionError(f"{self.user}'s process has ended")
        value = pickle.loads(data)
        if isinstance(value, BaseException):
            raise value
        return value, fds

    def call(self, name, *arguments, timeout=PATIENCE):
        self.post(name, *arguments)
        return self.result(timeout)

    def send_request(self, kind, **fields):
        """Connects and sends a request, whose reply finish() brings."""
        self.call("connect")
        self.call("send", request(kind, **fields))
        self.post("receive", PATIENCE * 2)

    def finish(self, timeout=PATIENCE * 2 + 5):
        data, fds = self.result(timeout)
        if not data:
            raise AssertionError(f"{self.user} got no reply: {data!r}")
        self.call("close")
        return decode_reply(data, fds)

    def ask(self, kind, **fields):
        """One request and its Reply, on a connection of its own."""
        self.send_request(kind, **fields)
        return self.finish()

    def open(self, profiles="keys", **fields):
        """A session that must be given: a Tpm."""
        reply = self.ask(OPEN, profiles=profiles, **fields)
        if reply.status != OK:
            raise AssertionError(f"{self.user} was refused: {reply.status} {reply.message}")
        return Tpm(reply.fd, reply.session)

    def sessions(self):
        reply = self.ask(SESSIONS)
        assert reply.status == OK, reply
        return [SESSION_ITEM.unpack(item) for item in reply.items]

    def profiles(self):
        """Names with verdict and summary, for this caller."""
        reply = self.ask(PROFILES)
        assert reply.status == OK, reply
        table = {}
        for item in reply.items:
            name, verdict, summary = PROFILE_ITEM.unpack(item)[:3]
            table[text(name)] = (verdict, text(summary))
        return table

    def reasons(self):
        """Names with what their verdicts come from: (reason, group, action)."""
        items = [PROFILE_ITEM.unpack(item) for item in self.ask(PROFILES).items]
        return {text(item[0]): (item[3], text(item[4]), text(item[5])) for item in items}

    def records(self):
        """(uid, kind, handle, bytes of an NV index, state, count), and the message."""
        reply = self.ask(RECORDS)
        assert reply.status == OK, reply
        return [RECORD_ITEM.unpack(item)[1:-1] for item in reply.items], reply.message

    def refusals(self):
        """(session, uid, command, response code, how many untold, rule), the newest last."""
        reply = self.ask(REFUSALS)
        assert reply.status == OK, reply
        items = [REFUSAL_ITEM.unpack(item) for item in reply.items]
        return [(*item[1:6], text(item[6])) for item in items]

    def account(self, device=""):
        """What is left of a TPM, by name."""
        reply = self.ask(ACCOUNT, device=device)
        assert reply.status == OK and len(reply.items) == 1, reply
        names = ("device counter maximum limit interval charge charge_limit charge_falls "
                 "tpm_sessions tpm_sessions_max nv_writes nv_writes_max reserved").split()
        return dict(zip(names, ACCOUNT_ITEM.unpack(reply.items[0])))

    def stop(self):
        self.control.close()
        return self.process.wait()


# ---- TPM commands ----------------------------------------------------------------------------

NO_SESSIONS, SESSIONS_TAG = 0x8001, 0x8002
OWNER, NULL, LOCKOUT, ENDORSEMENT, PLATFORM = (0x40000001, 0x40000007, 0x4000000A, 0x4000000B,
                                               0x4000000C)
CC_CLEAR, CC_GET_CAPABILITY, CC_GET_RANDOM, CC_PCR_READ = 0x126, 0x17A, 0x17B, 0x17E
CC_STARTUP, CC_FLUSH_CONTEXT, CC_CREATE_PRIMARY, CC_START_AUTH_SESSION = (0x144, 0x165, 0x131,
                                                                          0x176)
REFUSED = 0x000B0120
EMPTY_PASSWORD = struct.pack(">IHBH", 0x40000009, 0, 0, 0)


def command(code, handles=(), authorization=None, parameters=b"", tag=None):
    """A command; AUTHORIZATION is its authorization area without the size."""
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    if authorization is not None:
        body += struct.pack(">I", len(authorization)) + authorization
    body += parameters
    if tag is None:
        tag = NO_SESSIONS if authorization is None else SESSIONS_TAG
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def get_random(size):
    return command(CC_GET_RANDOM, parameters=struct.pack(">H", size))


def get_capability(capability, first, count):
    return command(CC_GET_CAPABILITY, parameters=struct.pack(">III", capability, first, count))


def tpm2b(data):
    return struct.pack(">H", len(data)) + data


ECC_STORAGE_TEMPLATE = struct.pack(
    ">HHIHHHHHHHHH", 0x23, 0x0B, 0x00030472, 0, 0x0006, 128, 0x0043, 0x0010, 0x0003, 0x0010, 0, 0)


def create_primary(hierarchy=OWNER, template=ECC_STORAGE_TEMPLATE, authorization=EMPTY_PASSWORD):
    """CreatePrimary of an ECC storage key that the dictionary attack protection leaves alone."""
    parameters = tpm2b(tpm2b(b"") + tpm2b(b"")) + tpm2b(template) + tpm2b(b"") + bytes(4)
    return command(CC_CREATE_PRIMARY, [hierarchy], authorization, parameters)


def start_session(kind=0, tpm_key=NULL, bind=NULL):
    """StartAuthSession; KIND is 0 for HMAC, 1 for policy, 3 for trial."""
    return command(CC_START_AUTH_SESSION, [tpm_key, bind], None,
                   tpm2b(bytes(16)) + tpm2b(b"") + struct.pack(">BHH", kind, 0x10, 0x0B))


def response_code(response):
    return struct.unpack_from(">I", response, 6)[0]


class Tpm:
    """One stream to a TPM: a session's descriptor, or a software TPM's socket itself."""

    def __init__(self, fd, session=0):
        self.socket = socket.socket(fileno=fd)
        self.session = session

    @classmethod
    def direct(cls, swtpm):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(swtpm.socket)
        return cls(sock.detach())

    def fileno(self):
        return self.socket.fileno()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, timeout=PATIENCE):
        """One response; nothing may follow it."""
        data = b""
        size = 10
        while len(data) < size:
            if not readable(self.socket, timeout):
                raise AssertionError(f"no response; so far {data.hex()}")
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError(f"the session ended; so far {data.hex()}")
            data += part
            if len(data) == 10:
                size = struct.unpack_from(">I", data, 2)[0]
                assert 10 <= size <= 4096, f"response size {size}"
        assert not readable(self.socket, 0), "bytes after the response"
        return data

    def execute(self, data, timeout=PATIENCE):
        self.send(data)
        return self.receive(timeout)

    def code(self, data, timeout=PATIENCE):
        return response_code(self.execute(data, timeout))

    def random(self, size=8):
        """GetRandom, which must succeed."""
        response = self.execute(get_random(size))
        assert response_code(response) == 0 and len(response) == 12 + size, response.hex()
        return response[12:]

    def capability(self, capability, first, count=254):
        """Every property or handle of one kind: the list's bytes, page after page."""
        response = self.execute(get_capability(capability, first, count))
        assert response_code(response) == 0, response.hex()
        return response[11:]

    def handles(self, first):
        """The handles that it tells of, of the kind that FIRST is one of."""
        listed = self.capability(1, first)
        return list(struct.unpack_from(f">{struct.unpack_from('>I', listed, 4)[0]}I", listed, 8))

    def state(self):
        """What a destructive command would change, as the TPM itself tells it."""
        properties = self.capability(6, 0x200)
        count = struct.unpack_from(">I", properties, 4)[0]
        table = dict(struct.unpack_from(">II", properties, 8 + 8 * i) for i in range(count))
        return {
            "properties": table,
            "persistent": self.capability(1, 0x81000000),
            "nv": self.capability(1, 0x01000000),
            "transient": self.capability(1, 0x80000000),
            "pcrs": [self.execute(command(CC_PCR_READ, parameters=struct.pack(
                ">IHB", 1, 0x0B, 3) + bytes(mask)))[14:] for mask in (
                    (0xFF, 0, 0), (0, 0xFF, 0), (0, 0, 0xFF))],
        }

    def close(self):
        self.socket.close()

    stop = close


def allow_failures(swtpm, tries=32):
    """Lets the TPM bear so many wrong authorizations; swtpm begins with 3."""
    tpm = Tpm.direct(swtpm)
    try:
        data = command(0x13A, [LOCKOUT], EMPTY_PASSWORD, struct.pack(">III", tries, 1000, 1000))
        assert tpm.code(data) == 0
    finally:
        tpm.close()


def state_of(swtpm):
    """The state read over a connection of its own, while no session is open."""
    tpm = Tpm.direct(swtpm)
    try:
        return tpm.state()
    finally:
        tpm.close()
