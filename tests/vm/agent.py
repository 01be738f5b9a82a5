"""The guest's side of machine.py: runs commands that come as lines of JSON and answers each.

Without an argument it serves the host on the virtio port, as root. With the path of a Unix socket it
does so there, for the first: started inside a login session it runs commands as programs of that
session.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile

PORT = "/dev/virtio-ports/tpmgate.vm"


def execute(request):
    # To a file and not to a pipe: what is left in the background would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(request["argv"], stdin=subprocess.PIPE, stdout=output,
                                   stderr=subprocess.STDOUT, cwd=request.get("cwd"),
                                   start_new_session=True)
        try:
            process.communicate(request.get("input", "").encode(), timeout=request["timeout"])
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = "timeout"
        output.seek(0)
        return {"status": status, "output": output.read().decode(errors="replace")}


def forward(request):
    with socket.socket(socket.AF_UNIX) as session:
        session.connect(request.pop("session"))
        session.sendall(json.dumps(request).encode() + b"\n")
        with session.makefile("r") as answers:
            return json.loads(answers.readline())


def answer(line):
    try:
        request = json.loads(line)
        return json.dumps(forward(request) if "session" in request else execute(request))
    except (OSError, ValueError) as problem:
        return json.dumps({"status": "agent", "output": repr(problem)})


def serve_port():
    with open(PORT, "r+b", buffering=0) as port, open("/proc/sys/kernel/random/boot_id",
                                                      encoding="ascii") as boot_id:
        port.write(json.dumps({"boot": boot_id.read().strip()}).encode() + b"\n")
        buffer = b""
        while True:
            while b"\n" not in buffer:
                buffer += port.read(65536)
            line, buffer = buffer.split(b"\n", 1)
            response = answer(line).encode() + b"\n"
            while response:
                response = response[port.write(response):]


def serve_socket(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as file:
            file.write(answer(file.readline()) + "\n")


if len(sys.argv) > 1:
    serve_socket(sys.argv[1])
else:
    serve_port()
