"""Digests of objects: MD5, of which S3's ETags are made, and the checksums that clients send along and ask for.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, Protocol


class Hash(Protocol):
    """A digest that grows with what it is shown, as `hashlib` has them."""

    def update(self, data: bytes, /) -> None:
        """Shows it more."""

    def digest(self) -> bytes:
        """The digest of all that was shown."""


class _Crc:
    """A cyclic redundancy check; its digest is big-endian, as S3 writes it."""

    def __init__(self, name: str, size: int) -> None:
        self._step: Callable[[bytes, int], int] = zlib.crc32 if name == "crc32" else getattr(_library(), name)
        self._size = size
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


class _XXHash:
    def __init__(self, name: str) -> None:
        grown = getattr(_library().XXHash, f"new_{name}")()
        self.update: Callable[[bytes], None] = grown.update
        self.digest: Callable[[], bytes] = grown.finalize


def _library() -> Any:
    """AWS's checksums in C; imported late, since most clients ask for none of them."""
    from awscrt import checksums

    return checksums


_ALGORITHMS: dict[str, Callable[[], Hash]] = {
    "CRC32": partial(_Crc, "crc32", 4),
    "CRC32C": partial(_Crc, "crc32c", 4),
    "CRC64NVME": partial(_Crc, "crc64nvme", 8),
    "SHA1": partial(hashlib.sha1, usedforsecurity=False),
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
    "MD5": partial(hashlib.md5, usedforsecurity=False),
    "XXHASH64": partial(_XXHash, "xxhash64"),
    "XXHASH3": partial(_XXHash, "xxhash3_64"),
    "XXHASH128": partial(_XXHash, "xxhash3_128"),
}
ALGORITHMS = frozenset(_ALGORITHMS)
"""S3's names of the checksums."""
LINEAR = frozenset({"CRC32", "CRC32C", "CRC64NVME"})
"""Checksums of a whole that follow from those of its parts."""


class Digests:
    """MD5 and the checksums of one object or part; it must be shown every byte, in order."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        self._hashes = {name: _ALGORITHMS[name]() for name in ("MD5", *algorithms)}

    def update(self, data: bytes) -> None:
        """Shows more bytes; without the interpreter's lock for as long as that takes, where they are many."""
        for grown in self._hashes.values():
            grown.update(data)

    def digests(self) -> dict[str, bytes]:
        """What came out, by the algorithm's name."""
        return {name: grown.digest() for name, grown in self._hashes.items()}


def encode(digest: bytes) -> str:
    """A digest as headers and answers hold it."""
    return base64.b64encode(digest).decode()


def decode(text: str, algorithm: str) -> bytes:
    """The digest in a header; ValueError if it is none of this algorithm."""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != size(algorithm):
        raise ValueError(f"{text[:100]!r} is not the base64 form of the {size(algorithm)} bytes of {algorithm}")
    return digest


@cache
def size(algorithm: str) -> int:
    """The bytes of an algorithm's digests."""
    return len(_ALGORITHMS[algorithm]().digest())


def of_digests(algorithm: str, digests: Sequence[bytes]) -> bytes:
    """The digest of digests: what S3 calls a composite checksum, and what ETags of multipart uploads are made of."""
    whole = _ALGORITHMS[algorithm]()
    whole.update(b"".join(digests))
    return whole.digest()


def of_whole(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> bytes:
    """The checksum of a whole out of its parts' checksums and sizes in bytes, for the LINEAR algorithms."""
    combine = getattr(_library(), f"combine_{algorithm.lower()}")
    value = 0
    for digest, length in parts:
        value = combine(value, int.from_bytes(digest, "big"), length)
    return int(value).to_bytes(size(algorithm), "big")
