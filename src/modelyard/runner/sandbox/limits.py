"""What a container may use of a machine, and what it sees of its files."""

from dataclasses import dataclass
from pathlib import Path

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
    """A folder, file or named pipe that a container sees at `target`: `/opt/ml`, or something below it.

    A source that is itself a link is refused. What is `writable` must be the container's alone: where we are root, it
    becomes the property of the container's user.
    """

    source: Path
    target: str
    writable: bool = False
