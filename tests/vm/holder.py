"""In the guest: holds a session and uses it ten times a second, until the TPM is gone or it is killed.

Arguments: a file for what happens (the session's number, then a line for each response code), and
the TPM's name, empty for the default.
"""

import os
import socket
import struct
import sys
import time

GET_RANDOM = bytes.fromhex("8001 0000000c 0000017b 0008")

broker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
broker.connect("/run/tpmgate/broker.sock")
broker.send(struct.pack("=IHHIIQ128s64s", 0x474D5054, 1, 1, 216, 0, 0, b"keys",
                        sys.argv[2].encode()))
packet, fds, _, _ = socket.recv_fds(broker, 65536, 1)
with open(sys.argv[1], "w", encoding="ascii", buffering=1) as log:
    if not fds:
        sys.exit(packet[40:552].rstrip(b"\0").decode())
    log.write(f"{struct.unpack_from('=Q', packet, 32)[0]}\n")
    tpm = socket.socket(fileno=fds[0])
    while True:
        tpm.send(GET_RANDOM)
        response = tpm.recv(4096)
        log.write(f"{response[6:10].hex() or 'closed'}\n")
        if not response:
            sys.exit("the session's other end closed first")
        time.sleep(0.1)
