"""Names of buckets, keys and `s3://` URIs: hostile until checked."""

import re

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ObjectError(Exception):
    """A URI names nothing that may be read or written; the message says why."""


def is_bucket(name: str) -> bool:
    """Whether a bucket may have this name."""
    return bool(_BUCKET.fullmatch(name)) and ".." not in name


def join(uri: str, *names: str) -> str:
    """The URI of something below another."""
    return "/".join([uri.rstrip("/"), *names])


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
    for part in keys:
        if part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255:
            raise ObjectError(f"{part!r} in {uri!r} cannot be part of a key here: a folder holds no such name")
    return bucket, keys
