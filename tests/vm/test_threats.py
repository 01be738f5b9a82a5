"""Threats that depend on the kernel's resource manager, on a kernel: on_node.py in the guest."""

from scenario import on_node


class Threats(on_node("Slots", "Others", "Long")):
    pass
