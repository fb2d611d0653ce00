"""What an object has beyond its bytes: ETag, headers, metadata and checksums, in an extended attribute of its file.

They appear and vanish with the file, in one rename. They hold only as long as the file is as it was when they were
written, which its size and its time of change tell: a file that was copied in, or edited, by hand has none.
"""

import errno
import os
import re
import struct
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

_NAME = "user.s3"
_HEAD = struct.Struct("<qq16s")
"""Size, time of change, MD5. Packed: ext4 keeps 60 bytes with the inode, and takes a block of the disk for more."""
_NONE_KEPT = (errno.ENOTSUP, errno.EPERM)
_TOO_LONG = (errno.ENOSPC, errno.E2BIG, errno.ERANGE)
_SMALL = 2048
_MOST_PARTS = 10_000
_SPREAD = 0x9E3779B97F4A7C15
_NOTHING: Mapping[str, str] = MappingProxyType({})
_UNSAFE = re.compile(rb'\x7f|(?<!\\)(?:\\\\)*\\[^"\\/t]')
"""In JSON: control characters but for tabs, which it can hold as escapes only. In a header they could begin another."""


class TooManyAttributes(Exception):
    """Headers and metadata are longer than the file system keeps for one file: about 4,000 bytes on ext4."""


class Attributes(NamedTuple):
    """What S3 remembers of an object.

    md5: of the bytes, or of the MD5s of the parts; empty for a file that did not come through S3.
    part_count: of a multipart upload, else 0.
    headers: by S3's names of the members (`ContentType`, `CacheControl` …).
    checksums: in base64, by algorithm; `checksum_type` is FULL_OBJECT or COMPOSITE.
    parts: (how many, bytes of each) in order, of a multipart upload; empty where they are too various to keep.
    upload: the id of the multipart upload.
    """

    md5: bytes = b""
    part_count: int = 0
    headers: Mapping[str, str] = _NOTHING
    metadata: Mapping[str, str] = _NOTHING
    checksums: Mapping[str, str] = _NOTHING
    checksum_type: str = "FULL_OBJECT"
    parts: Sequence[tuple[int, int]] = ()
    upload: str = ""


class Object(NamedTuple):
    """An object as it stands: `size` in bytes, `changed` in nanoseconds since the epoch, `etag` without quotes."""

    size: int
    changed: int
    etag: str
    attributes: Attributes


def write(file: int, attributes: Attributes) -> Object:
    """Gives an open file its attributes; it must not be written to any more.

    TooManyAttributes if they are too long. On a file system that keeps none, the object is as one copied in by hand.
    """
    status = os.fstat(file)
    return _write(file, status.st_size, status.st_mtime_ns, attributes) or _by_hand(status)


def mark_folder(folder: int, attributes: Attributes) -> Object:
    """Makes an open folder an object without bytes. TooManyAttributes; OSError where the file system keeps none."""
    marked = _write(_path(folder), 0, time.time_ns(), attributes)
    if marked is None:
        raise OSError(errno.ENOTSUP, "the file system of the data folder keeps no extended attributes")
    return marked


def unmark_folder(folder: int) -> None:
    """Makes an open folder a mere folder again."""
    os.removexattr(_path(folder), _NAME)


def read(file: int, status: os.stat_result, name: str | None = None) -> Object:
    """The object that an open file is, or that of this name in an open folder; no link is followed."""
    found = _read(file if name is None else f"{_path(file)}/{name}")
    if found is None or (found.size, found.changed) != (status.st_size, status.st_mtime_ns):
        return _by_hand(status)
    return found


def read_folder(folder: int) -> Object | None:
    """The object that an open folder was made; None for a mere folder."""
    return _read(f"{_path(folder)}/.")


def _path(folder: int) -> str:
    """Descriptors that were opened for their path alone have no attributes by themselves."""
    return f"/proc/self/fd/{folder}"


def _write(file: int | str, size: int, changed: int, attributes: Attributes) -> Object | None:
    document = _encode(attributes)
    try:
        os.setxattr(file, _NAME, _HEAD.pack(size, changed, attributes.md5) + document)
    except OSError as error:
        if error.errno in _TOO_LONG and len(document) > _SMALL:
            raise TooManyAttributes(f"{len(document)} bytes of headers and metadata are too many") from None
        if error.errno not in _NONE_KEPT:
            raise
        return None
    return Object(size, changed, _etag(attributes), attributes)


def _read(file: int | str) -> Object | None:
    """None for what cannot have been written here: a user may have written it."""
    try:
        size, changed, attributes = _decode(os.getxattr(file, _NAME, follow_symlinks=isinstance(file, int)))
    except (OSError, ValueError, TypeError, AttributeError, struct.error):
        return None
    return Object(size, changed, _etag(attributes), attributes)


def _by_hand(status: os.stat_result) -> Object:
    """A file without attributes. Its ETag ends as a multipart upload's do, so that no client takes it for an MD5."""
    which = (status.st_ino * _SPREAD + status.st_size) % 2**64
    etag = f"{status.st_mtime_ns % 2**64:016x}{which:016x}-1"
    return Object(status.st_size, status.st_mtime_ns, etag, Attributes())


def _etag(attributes: Attributes) -> str:
    digest = attributes.md5.hex()
    return f"{digest}-{attributes.part_count}" if attributes.part_count else digest


def _encode(attributes: Attributes) -> bytes:
    values = {
        "n": attributes.part_count,
        "h": attributes.headers,
        "m": attributes.metadata,
        "c": attributes.checksums,
        "t": "" if attributes.checksum_type == "FULL_OBJECT" else attributes.checksum_type,
        "p": attributes.parts,
        "u": attributes.upload,
    }
    return orjson.dumps({name: value for name, value in values.items() if value})


def _decode(data: bytes) -> tuple[int, int, Attributes]:
    size, changed, md5 = _HEAD.unpack_from(data)
    document = data[_HEAD.size :]
    values = orjson.loads(document)
    if (b"\\" in document or b"\x7f" in document) and _UNSAFE.search(document):  # slow, and hardly ever needed
        raise ValueError
    attributes = Attributes(
        md5,
        int(values.get("n", 0)),
        _strings(values.get("h")),
        _strings(values.get("m")),
        _strings(values.get("c")),
        _string(values.get("t", "FULL_OBJECT")),
        _runs(values["p"]) if "p" in values else (),
        _string(values.get("u", "")),
    )
    return size, changed, attributes


def _runs(values: Any) -> tuple[tuple[int, int], ...]:
    runs = tuple((int(count), int(size)) for count, size in values)
    if sum(count for count, _ in runs) > _MOST_PARTS or any(count < 0 or size < 0 for count, size in runs):
        raise ValueError
    return runs


def _strings(values: Any) -> Mapping[str, str]:
    if values is None:
        return _NOTHING
    strings: Mapping[str, str] = values
    for value in strings.values():
        _string(value)
    return strings


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
