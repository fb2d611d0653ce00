"""What a request's Host header says: the address that the client used, and the bucket that S3's clients put into it."""

import re
from functools import lru_cache

_LONGEST = 300
"""Bytes of a Host header; what is longer is none."""
_HOST = re.compile(rb"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")

# bucket.s3.localhost, bucket.s3.us-west-2.amazonaws.com, bucket.s3-us-west-2.amazonaws.com; or bucket.localhost.
# An address in digits has no names before it, and "s3" alone is the service.
_BUCKET = re.compile(r"(?!s3\.)([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\.s3[.-][a-z0-9.-]+|(?<!\.s3)\.localhost)")


@lru_cache(maxsize=256)
def url(scheme: str, host: bytes) -> str | None:
    """The address of a host, None if it is none."""
    known = len(host) <= _LONGEST and _HOST.fullmatch(host)
    return f"{scheme}://{host.decode('ascii')}" if known else None


@lru_cache(maxsize=1024)
def bucket(host: bytes) -> str | None:
    """The bucket of a virtual-host style address, None for a host that is the service itself."""
    found = _HOST.fullmatch(host) if len(host) <= _LONGEST else None
    if found is None:
        return None
    named = _BUCKET.fullmatch(found[1].decode("ascii").lower().removesuffix("."))
    return named[1] if named else None
