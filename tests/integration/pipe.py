#!/usr/bin/python3 -B
"""Joins standard input and output to a software TPM's socket: tools run over it as `cmd:`.

This is the way around tpmgate: tests use it to make what a user must not destroy.
"""

import os
import select
import socket
import sys


def main():
    tpm = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    tpm.connect(sys.argv[1])
    while True:
        for source in select.select([0, tpm], [], [])[0]:
            data = os.read(0, 4096) if source == 0 else tpm.recv(4096)
            if not data:
                return
            if source == 0:
                tpm.sendall(data)
            else:
                os.write(1, data)


main()
