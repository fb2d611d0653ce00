"""Names of buckets, keys and `s3://` URIs: hostile until checked."""

import re
from collections.abc import Sequence

_BUCKET = re.compile(r"(?!xn--|(?:[0-9]+\.){3}[0-9]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""As in S3: no addresses, and no names that an address bar would show otherwise."""
LONGEST_KEY = 1024
"""Bytes of UTF-8, as in S3."""
_LONGEST_NAME = 255
_ALWAYS_FITS = _LONGEST_NAME // 4
_NO_NAMES = frozenset(("", ".", ".."))


class ObjectError(Exception):
    """A URI names nothing that may be read or written; the message says why."""


class KeyTooLong(ObjectError):
    """A key has more bytes than S3 allows."""


def is_bucket(name: str) -> bool:
    """Whether a bucket may have this name."""
    return bool(_BUCKET.fullmatch(name)) and ".." not in name


def join(uri: str, *names: str) -> str:
    """The URI of something below another."""
    return "/".join([uri.rstrip("/"), *names])


def prefixes(uri: str) -> list[str]:
    """A URI and those of all folders above it in its bucket, the uppermost first; ObjectError as in `parts`."""
    bucket, names = parts(uri)
    return [join(f"s3://{bucket}", *names[: n + 1]) for n in range(len(names))]


def parts(uri: str) -> tuple[str, list[str]]:
    """The bucket of a URI, and the names of folders and file that its key is made of.

    ObjectError if it is no `s3://` URI, or if a folder can hold no such name.
    """
    scheme, separator, rest = uri.partition("://")
    if scheme != "s3" or not separator:
        raise ObjectError(f"{uri!r} is not of the form s3://bucket/key")
    bucket, _, key = rest.partition("/")
    if not is_bucket(bucket):
        raise ObjectError(f"{bucket!r} in {uri!r} is no bucket name: 3 to 63 of a-z, 0-9, hyphen and dot")
    keys = key.rstrip("/").split("/") if key.rstrip("/") else []
    _check(keys, uri)
    return bucket, keys


def key_parts(key: str) -> list[str]:
    """The names of the folders and the file that a key is made of; a key that ends with a slash is a folder's.

    ObjectError if a folder can hold no such names, KeyTooLong above 1024 bytes of UTF-8.
    """
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise ObjectError(f"the key {key!a} is not UTF-8") from None
    if length > LONGEST_KEY:
        raise KeyTooLong(f"the key has {length} bytes of UTF-8; {LONGEST_KEY} is the most")
    names = key.removesuffix("/").split("/")
    _check(names, key)
    return names


def _check(names: Sequence[str], whole: str) -> None:
    for name in names:
        if name in _NO_NAMES or "\0" in name or (len(name) > _ALWAYS_FITS and len(name.encode()) > _LONGEST_NAME):
            raise ObjectError(f"{name!r} in {whole!r} cannot be part of a key here: a folder holds no such name")
