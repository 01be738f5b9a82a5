#!/usr/bin/python3
"""A window that shows a quote of this computer's TPM: an example of a desktop program.

It opens a session with the profile `attest` through libtpmgate, for which polkit may ask for a
password, and speaks to the TPM in bytes: a signing key in the endorsement hierarchy, and what the
PCRs 0 to 7 are, signed by it. Needs python3-gi, gir1.2-gtk-3.0 and libtpmgate0.
"""

import ctypes
import os
import socket
import struct
import sys
import threading

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import GLib, Gtk, Pango  # noqa: E402

ENDORSEMENT = 0x4000000B
CREATE_PRIMARY, QUOTE = 0x131, 0x158
NO_PASSWORD = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
# An ECDSA key on P-256 that signs only what the TPM itself says
SIGNING_KEY = struct.pack(">HHIHHHHHHHH", 0x23, 0x0B, 0x00050472, 0, 0x10, 0x18, 0x0B, 3, 0x10, 0, 0)
BOOT_PCRS = struct.pack(">IHB3B", 1, 0x0B, 3, 0xFF, 0, 0)


class Options(ctypes.Structure):
    """struct tpmgate_options of tpmgate.h"""
    _fields_ = [("size", ctypes.c_size_t), ("socket", ctypes.c_char_p),
                ("profiles", ctypes.c_char_p), ("device", ctypes.c_char_p),
                ("interactive", ctypes.c_int), ("timeout_ms", ctypes.c_int)]


def open_tpm():
    library = ctypes.CDLL("libtpmgate.so.0")
    options = Options(size=ctypes.sizeof(Options), profiles=b"attest", interactive=1)
    message = ctypes.create_string_buffer(512)
    fd = library.tpmgate_open(ctypes.byref(options), message)
    if fd < 0:
        raise OSError(message.value.decode())
    return socket.socket(fileno=fd)


def execute(tpm, code, handle, parameters):
    """Sends one command with an empty password; returns what follows the response's header."""
    body = struct.pack(">I", handle) + NO_PASSWORD + parameters
    tpm.sendall(struct.pack(">HII", 0x8002, 10 + len(body), code) + body)
    response = tpm.recv(10, socket.MSG_WAITALL)
    _, size, result = struct.unpack(">HII", response)
    if result:
        raise OSError(f"the TPM refused command {code:#x}: {result:#010x}")
    return tpm.recv(size - 10, socket.MSG_WAITALL)


def sized(data, offset):
    """The bytes behind a size of two bytes at OFFSET, and the offset after them."""
    end = offset + 2 + struct.unpack_from(">H", data, offset)[0]
    return data[offset + 2:end], end


def quote():
    """What to show: (name, value) pairs."""
    nonce = os.urandom(16)
    with open_tpm() as tpm:
        response = execute(tpm, CREATE_PRIMARY, ENDORSEMENT,
                           struct.pack(">HHH", 4, 0, 0) + struct.pack(">H", len(SIGNING_KEY)) +
                           SIGNING_KEY + struct.pack(">HI", 0, 0))
        key = struct.unpack_from(">I", response)[0]
        response = execute(tpm, QUOTE, key,
                           struct.pack(">H", len(nonce)) + nonce + struct.pack(">H", 0x10) +
                           BOOT_PCRS)
    attest, end = sized(response, 4)
    r, end = sized(response, end + 4)
    s, _ = sized(response, end)
    signer, end = sized(attest, 6)
    answered, end = sized(attest, end)
    if answered != nonce:
        raise OSError("the quote answers another question")
    clock, resets, restarts = struct.unpack_from(">QII", attest, end)
    digest, _ = sized(attest, end + 25 + 10)
    return (("Signed by", signer.hex()), ("Nonce", nonce.hex()),
            ("PCRs 0 to 7", digest.hex()),
            ("TPM's clock", f"{clock / 1000:.0f} s, {resets} resets, {restarts} restarts"),
            ("Signature", (r + s).hex()))


class Window(Gtk.Window):
    def __init__(self):
        super().__init__(title="Who is this computer?", border_width=18)
        self.grid = Gtk.Grid(row_spacing=8, column_spacing=16)
        self.button = Gtk.Button(label="Ask the TPM for a quote", halign=Gtk.Align.CENTER)
        self.button.connect("clicked", self.ask)
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=18)
        box.pack_start(self.button, False, False, 0)
        box.pack_start(self.grid, False, False, 0)
        self.add(box)
        self.connect("destroy", Gtk.main_quit)
        self.show_all()

    def ask(self, _):
        self.button.set_sensitive(False)
        # it may take as long as somebody looks for their password
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        try:
            rows = quote()
        except OSError as problem:
            rows = (("Not possible", str(problem)),)
        GLib.idle_add(self.show_rows, rows)

    def show_rows(self, rows):
        self.button.set_sensitive(True)
        for child in self.grid.get_children():
            self.grid.remove(child)
        for row, (name, value) in enumerate(rows):
            label = Gtk.Label(label=name, xalign=0, yalign=0)
            shown = Gtk.Label(label=value, xalign=0, wrap=True, selectable=True,
                              wrap_mode=Pango.WrapMode.CHAR, width_chars=68)
            shown.get_style_context().add_class("monospace")
            self.grid.attach(label, 0, row, 1, 1)
            self.grid.attach(shown, 1, row, 1, 1)
        self.set_title("A quote" if len(rows) > 1 else "No quote")
        self.grid.show_all()


if __name__ == "__main__":
    Window()
    sys.exit(Gtk.main())
