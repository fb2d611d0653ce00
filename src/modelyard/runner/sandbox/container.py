"""A container: one program of an image, alone with its files, its limits and a network that is loopback only."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.images.folder import OpenedImage

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    memory: bytes, of all its processes and of what they write outside its binds. cores: how many it keeps busy.
    processes: at once, threads among them. disk: bytes in the folders that it may write. files: open at once by one
    process.
    """

    memory: int
    cores: int
    processes: int = 512
    disk: int = 64 * GIB
    files: int = 4096


@dataclass(frozen=True)
class Bind:
    """A folder or file of this machine that a container sees, at `target`: `/opt/ml` or something below it.

    A source that is itself a link is refused.
    """

    source: Path
    target: str
    writable: bool = False


class Container:
    """A program from start to end, for a `with` statement: leaving it kills whatever still runs.

    It starts on entering: as the image's entry point, or `entrypoint` in its place, followed by `arguments` (without
    either, the image's own command). Its `environment` is the image's, this, and a few variables that every program
    needs; nothing of ours.
    name: of the task, unlike that of any other container that runs. output: called in a thread of its own with pieces
    of what the program says (standard output and error); as long as it does not return, the program waits.
    NoSandbox if nothing can isolate the program, ValueError if a bind cannot be.
    """

    def __init__(
        self,
        image: OpenedImage,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        binds: Sequence[Bind],
        limits: Limits,
        name: str,
        output: Callable[[bytes], None],
        entrypoint: Sequence[str] | None = None,
        hostname: str = "algo-1",
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def poll(self) -> int | None:
        """The program's exit status, 128 and the signal's number if one ended it; None while it runs."""
        raise NotImplementedError

    def wait(self, seconds: float | None = None) -> int | None:
        """Waits for the end, for so many seconds at most: the exit status; None if it still runs."""
        raise NotImplementedError

    def stop(self, grace: float = 120) -> int:
        """Asks the program to end (SIGTERM), and after `grace` seconds kills all of it: the exit status."""
        raise NotImplementedError

    def connect(self, port: int = 8080) -> socket.socket:
        """A connection to a port of the container's own loopback; ConnectionRefusedError until somebody listens."""
        raise NotImplementedError

    @property
    def memory_exceeded(self) -> bool:
        """Whether the container, or one of its processes, was killed because of its memory."""
        raise NotImplementedError

    @property
    def disk_exceeded(self) -> bool:
        """Whether the container was killed because of what it wrote."""
        raise NotImplementedError
