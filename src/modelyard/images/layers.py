"""Layers of an image: archives, each of which adds files to those before it, and takes some away.

https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

import tarfile
import zlib
from typing import BinaryIO

from modelyard.images.folder import BadImage
from modelyard.images.root import Root

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


def apply(layer: BinaryIO, root: Root, whiteouts: bool = True) -> None:
    """Unpacks an archive over what is there; BadImage if it is damaged, too large, or of a kind that is not read.

    layer: the archive, plain or compressed. whiteouts: whether names such as `.wh.old` take files away.
    """
    ours: set[str] = set()
    try:
        with tarfile.open(fileobj=layer, mode="r|*") as archive:
            for member in archive:
                name = member.name.strip("/")
                folder, _, last = name.rpartition("/")
                if whiteouts and last.startswith(_WHITEOUT):
                    _white_out(root, folder, last, ours)
                    continue
                _add(root, archive, member)
                ours.add(name)
    except (tarfile.TarError, EOFError, zlib.error, OSError, UnicodeError, OverflowError, MemoryError) as error:
        raise BadImage(f"a layer cannot be unpacked: {str(error)[:300] or type(error).__name__}") from None


def _add(root: Root, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    if member.isdir():
        root.folder(member.name)
    elif member.issym():
        root.link(member.name, member.linkname)
    elif member.islnk():
        root.hard_link(member.name, member.linkname)
    elif member.isreg():
        content = archive.extractfile(member)
        assert content is not None
        root.file(member.name, content, member.size, member.mode, member.mtime)  # type: ignore[arg-type]  # typeshed says IO[bytes]
    elif not (member.ischr() or member.isblk() or member.isfifo()):
        raise BadImage(f"{member.name[:200]}: an archive's entry of type {member.type!r} is not known")


def _white_out(root: Root, folder: str, last: str, ours: set[str]) -> None:
    if last == _OPAQUE:
        for name in root.children(folder):
            if not any(own == name.strip("/") or own.startswith(name.strip("/") + "/") for own in ours):
                root.remove(name)
    elif (gone := last.removeprefix(_WHITEOUT)) not in ("", ".", ".."):
        root.remove(f"{folder}/{gone}")
