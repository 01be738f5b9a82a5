"""The kernel's resource manager as far as TPM sessions go, over a software TPM: it loads those of a
descriptor before each command, and saves them after it."""

import struct
import threading

from commands import CONTEXT_LOAD, CONTEXT_SAVE
from wire import CC_START_AUTH_SESSION, Tpm, command, response_code

GONE = (0x18B, 0x910)  # the command has ended it


class Kernel:
    def __init__(self, swtpm):
        self.tpm = Tpm.direct(swtpm)
        self.saves = 0

    def execute(self, space, data):
        """Executes the command DATA; SPACE is the descriptor's, from handles to contexts."""
        for context in space.values():
            response = self.tpm.execute(command(CONTEXT_LOAD, parameters=context))
            assert response_code(response) == 0, response.hex()
        answer = self.tpm.execute(data)
        if (struct.unpack_from(">I", data, 6)[0] == CC_START_AUTH_SESSION and
                response_code(answer) == 0):
            space[struct.unpack_from(">I", answer, 10)[0]] = b""
        for handle in list(space):
            response = self.tpm.execute(command(CONTEXT_SAVE, [handle]))
            if response_code(response) == 0:
                self.saves += 1
                space[handle] = response[10:]
            else:
                assert response_code(response) in GONE, response.hex()
                del space[handle]
        return answer

    def serve(self, relay):
        """Plays the node that RELAY has open, until it closes it."""
        def run():
            space = {}
            while data := relay.tpm.recv(4096):
                relay.tpm.send(self.execute(space, data))

        threading.Thread(target=run, daemon=True).start()
