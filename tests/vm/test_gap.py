"""As test_threats.py, what takes 65,535 saved contexts: five minutes, and so in no ctest."""

from scenario import on_node


class Gap(on_node("Gap", timeout=600)):
    pass
