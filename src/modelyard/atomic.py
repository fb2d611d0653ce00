"""Writing a file so that a reader sees the old one, none, or the whole new one; never half of it."""

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Writes a file by rename."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_bytes(data)
    os.replace(half, path)
