"""A folder that is filled with files from a stranger's archive: nothing is written, followed or removed outside it.

Names are resolved as by a process that has the folder as its root: `..` ends there, and an absolute link starts there.
Users, devices, named pipes and the bits that lend rights do not come along; everything can be read by anyone.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from modelyard.images.folder import BadImage

LARGEST = 64 * 2**30
"""Bytes of all files of an image."""
MOST = 2_000_000
"""Files, folders and links of an image."""
_PIECE = 2**20
_DEEPEST = 128
"""Folders within each other."""
_LINKS = 40
"""How many links one path may lead through; the kernel's own limit."""


class Root:
    """The folder, which must exist and be empty, and how much it may still take."""

    def __init__(self, path: Path, largest: int = LARGEST, most: int = MOST) -> None:
        self.path = path
        self.size = 0
        self.count = 0
        self._largest = largest
        self._most = most

    def folder(self, name: str) -> None:
        """Makes a folder, and all above it."""
        path = self._place(name)
        if path == self.path:
            return
        if not stat.S_ISDIR(_kind(path)):
            self._clear(path)
            self._made(name)
            path.mkdir()
        path.chmod(0o755)

    def file(self, name: str, content: BinaryIO, size: int, mode: int, modified: float) -> None:
        """Writes a file of `size` bytes, which may be run if anyone may by `mode`."""
        path = self._new(name)
        self.size += size
        if size < 0 or self.size > self._largest:
            raise BadImage(
                f"{name}: with it the image has more than {self._largest:,} bytes unpacked, the most allowed"
            )
        with path.open("xb") as stream:
            while size > 0:
                if not (piece := content.read(min(_PIECE, size))):
                    raise BadImage(f"{name}: the archive ends in the middle of this file; copy it again")
                stream.write(piece)
                size -= len(piece)
        path.chmod(0o755 if mode & 0o111 else 0o644)
        with suppress(ValueError, OverflowError, OSError):
            os.utime(path, (modified, modified))

    def link(self, name: str, target: str) -> None:
        """Makes a symbolic link, whatever it points at: only a process that has this folder as its root follows it."""
        path = self._new(name)
        try:
            path.symlink_to(target)
        except (OSError, ValueError) as error:
            raise BadImage(f"{name}: no link can be made to {target[:200]!r}: {error}") from None

    def hard_link(self, name: str, target: str) -> None:
        """Gives a file of the folder another name."""
        source = self._place(target)
        if not stat.S_ISREG(_kind(source)):
            raise BadImage(f"{name}: it is another name of {target[:200]!r}, which is no file of the image")
        if self._place(name) != source:
            os.link(source, self._new(name), follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Removes what has a name, if anything has."""
        path = self._place(name)
        if path != self.path:
            self._clear(path)

    def children(self, name: str) -> list[str]:
        """The names in a folder, with the folder's before them."""
        path = self._place(name)
        return [f"{name}/{child}" for child in os.listdir(path)] if stat.S_ISDIR(_kind(path)) else []

    def _new(self, name: str) -> Path:
        """Where something new goes; what was there is gone."""
        path = self._place(name)
        if path == self.path:
            raise BadImage(f"{name[:200]!r}: the root of the image is to be a folder")
        self._clear(path)
        self._made(name)
        return path

    def _made(self, name: str) -> None:
        self.count += 1
        if self.count > self._most:
            raise BadImage(f"{name[:200]}: the image has more than {self._most:,} files and folders, the most allowed")

    def _clear(self, path: Path) -> None:
        if stat.S_ISDIR(_kind(path)):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        """The path of a name, whose parents exist then; its last part is not followed, should it be a link."""
        *above, last = [part for part in name.split("/") if part not in ("", ".")] or [""]
        if last == ".." or "\0" in name:
            raise BadImage(f"{name[:200]!r}: no file can have this name")
        return self._folder(above, name) / last

    def _folder(self, parts: list[str], name: str) -> Path:
        here, rest, links = self.path, list(reversed(parts)), 0
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                here = here if here == self.path else here.parent
                continue
            path = here / part
            kind = _kind(path)
            if stat.S_ISLNK(kind):
                links += 1
                if links > _LINKS:
                    raise BadImage(f"{name[:200]!r}: its links lead nowhere")
                target = os.readlink(path)
                here = self.path if target.startswith("/") else here
                rest += reversed(target.split("/"))
                continue
            if not stat.S_ISDIR(kind):
                self._clear(path)
                self._made(name)
                path.mkdir(mode=0o755)
            here = path
            if len(here.parts) - len(self.path.parts) > _DEEPEST:
                raise BadImage(f"{name[:200]!r}: folders lie more than {_DEEPEST} deep, the most allowed")
        return here


def entries(path: Path) -> Iterator[Path]:
    """All that lies in a folder, in the order of their names, folders before what is in them. No link is followed."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from entries(Path(entry.path))


def _kind(path: Path) -> int:
    """The type of what has a path; 0 if there is nothing."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return 0
        raise BadImage(f"{path.name[:200]!r}: {error.strerror}") from None
