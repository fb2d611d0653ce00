"""What a container left behind, taken over as plain files and folders, and nothing else that a file system can hold.

Its author is not trusted: links could lead out of the folder, devices and pipes could be read without end, names could
write elsewhere where somebody unpacks them, and modes, times and attributes could carry what nobody counted.
"""

import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MOST_ENTRIES = 100_000
LONGEST_PATH = 1024
"""Bytes: what S3 allows a key."""
DEEPEST = 64
"""Folders within each other."""


GIGABYTE = 10**9
DEFAULT_LIMIT = 10 * GIGABYTE
"""Where a policy names none."""


class TooLarge(Exception):
    """More than may leave. `size` is what was counted when the limit was passed, `limit` what is allowed, in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size:,} bytes or more, and at most {limit:,} are allowed")
        self.size = size
        self.limit = limit


@dataclass(frozen=True)
class Entry:
    """A regular file or a folder: `path` below the folder that was walked, `size` in bytes (of a folder 0)."""

    path: str
    folder: bool
    size: int

    @property
    def counted(self) -> int:
        """What leaves with it, in bytes: the contents, and the name, which can say as much as contents do."""
        return self.size + len(self.path.encode())


@dataclass(frozen=True)
class Contents:
    """What a folder holds that may be taken, in the order of the paths, and how many things are `skipped`."""

    entries: tuple[Entry, ...]
    skipped: int

    @property
    def size(self) -> int:
        """Bytes of contents and names."""
        return sum(entry.counted for entry in self.entries)


def limit(size: Mapping[str, Any] | None) -> int:
    """A policy's size (`{"unit": "GB", "value": 0.5}`) in bytes, DEFAULT_LIMIT if it names none."""
    return round(size["value"] * GIGABYTE) if size else DEFAULT_LIMIT


def contents(folder: Path, limit: int) -> Contents:
    """Looks through a folder that nobody changes any more, and reads no file. A link in its place holds nothing.

    Raises TooLarge when contents and names come to more than `limit` bytes, or the entries to more than MOST_ENTRIES.
    """
    entries: list[Entry] = []
    size = skipped = 0
    for entry in _walk(folder):
        if entry is None:
            skipped += 1
            continue
        entries.append(entry)
        size += entry.counted
        if size > limit:
            raise TooLarge(size, limit)
        if len(entries) + skipped > MOST_ENTRIES:
            raise TooLarge(len(entries), MOST_ENTRIES)
    return Contents(tuple(sorted(entries, key=lambda entry: entry.path)), skipped)


def copy(source: Path, found: Contents, destination: Path) -> None:
    """Copies contents of `source` to a folder, with modes, owner and times of our own. What is there already stays."""
    destination.mkdir(parents=True, exist_ok=True)
    for entry in found.entries:
        with suppress(FileExistsError, NotADirectoryError):
            if entry.folder:
                (destination / entry.path).mkdir()
                continue
            with _open(source / entry.path) as read, (destination / entry.path).open("xb") as written:
                shutil.copyfileobj(read, written, 1 << 20)


def pack(source: Path, found: Contents, archive: Path) -> None:
    """Packs contents of `source` into a `.tar.gz`, the same bytes for the same contents."""
    with (
        archive.open("xb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for entry in found.entries:
            member = tarfile.TarInfo(entry.path)
            member.mode = 0o755 if entry.folder else 0o644
            member.type = tarfile.DIRTYPE if entry.folder else tarfile.REGTYPE
            member.size = entry.size
            if entry.folder:
                tar.addfile(member)
                continue
            with _open(source / entry.path) as read:
                tar.addfile(member, read)


def _walk(folder: Path) -> Iterator[Entry | None]:
    """The regular files and folders below a folder; None for all else."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        yield None
        return
    waiting = [""]
    while waiting:
        above = waiting.pop()
        with os.scandir(folder / above) as found:
            for entry in found:
                path = f"{above}/{entry.name}" if above else entry.name
                told = entry.stat(follow_symlinks=False)
                if not (_plain(path) and (stat.S_ISREG(told.st_mode) or stat.S_ISDIR(told.st_mode))):
                    yield None
                elif stat.S_ISDIR(told.st_mode):
                    waiting.append(path)
                    yield Entry(path, folder=True, size=0)
                else:
                    yield Entry(path, folder=False, size=told.st_size)


def _plain(path: str) -> bool:
    """Whether a name means the same everywhere: UTF-8 that can be printed, of a length that S3 takes, no backslash."""
    if path.count("/") >= DEEPEST:
        return False
    try:
        return len(path.encode()) <= LONGEST_PATH and path.isprintable() and "\\" not in path
    except UnicodeEncodeError:
        return False


def _open(path: Path) -> BinaryIO:
    """Opens a regular file; a link or a pipe in its place is an OSError, not a wait."""
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
