"""Writing a file so that a reader sees the old one, none, or the whole new one; never half of it."""

import os
from pathlib import Path


def write(path: Path, data: bytes, private: bool = False) -> None:
    """Writes a file by rename; one that is `private` can be read by its owner alone, at any moment."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with open(half, "wb", opener=_private if private else None) as stream:
        stream.write(data)
    os.replace(half, path)


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)  # a half that a killed writer left may be anybody's to read
    return descriptor
