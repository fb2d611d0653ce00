"""What keeps a container apart on this machine: bubblewrap where it can, else Podman, else nothing runs."""

from typing import Literal

Isolation = Literal["bubblewrap", "podman"]


class NoSandbox(Exception):
    """Nothing on this machine can isolate a program; the message says what is missing and what to do."""


def isolation() -> Isolation:
    """What isolates containers here: a program was really run in it, once in this process. NoSandbox if none can."""
    raise NoSandbox("no sandbox is built")
