"""What one container is to run, whatever runs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelyard.runner.sandbox.limits import Limits
from modelyard.runner.sandbox.view import Step


class NoSandbox(Exception):
    """Nothing on this machine can isolate a program; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Program:
    """A program and its surroundings. name: the container's, unlike all others. view: how its root is built.

    network: whether it has the machine's, and not one of its own that leads nowhere.

    ValueError for a text that no program can be given: a zero byte ends it, and what follows could be taken for an
    option of the sandbox itself.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    workdir: str
    hostname: str
    view: Sequence[Step]
    limits: Limits
    network: bool = False

    def __post_init__(self) -> None:
        texts = [*self.arguments, self.workdir, self.hostname, *self.environment, *self.environment.values()]
        for text in texts:
            if "\0" in text or not _can_be_encoded(text):
                raise ValueError(
                    "an argument or a variable has a zero byte or half a character: no program can be given that"
                )

    @property
    def writable(self) -> list[Path]:
        """The folders and files of the machine that it may write."""
        return [step.source for step in self.view if step.writable and step.source is not None]


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Running(Protocol):
    """A program that was started. Its constructor starts it, in the thread that calls `wait`, or raises NoSandbox.

    root: the first process of its own namespaces, as this machine counts, while it runs.
    """

    root: int

    def wait(self) -> int:
        """Waits for the end, and that nothing of it is left: the program's exit status, 128 + n for the signal n."""

    def terminate(self) -> None:
        """Asks the program to end (SIGTERM)."""

    def kill(self) -> None:
        """Ends everything in the container."""

    def network(self) -> int:
        """A new descriptor of its network; OSError if it has ended."""

    def out_of_memory(self) -> bool | None:
        """Whether the kernel killed one of its processes for its memory; None if it does not look after that here."""

    def close(self) -> None:
        """Forgets what is kept of it, once it has ended."""
