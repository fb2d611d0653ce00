"""Unix sockets at any path: a socket's address holds 108 bytes, and a data folder may be deeper than that.

The folder is opened first, and the socket is addressed through the folder's descriptor, which is short.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")


def bind(path: Path, backlog: int = 128) -> socket.socket:
    """A listening socket at `path`, for its owner only; whatever lay at `path` is replaced.

    The name appears when the socket already listens: whoever finds it can connect.
    FileNotFoundError if the folder does not exist.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _addressable(path.parent) as folder:
            temporary = folder / f".{os.getpid()}.{path.name}"[:80]
            temporary.unlink(missing_ok=True)
            listener.bind(str(temporary))
            temporary.chmod(0o600)
            listener.listen(backlog)
            temporary.rename(folder / path.name)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path, timeout: float | None = None) -> socket.socket:
    """A socket connected to the one that listens at `path`.

    It has `timeout`, in seconds (None: it blocks, 0: never waits). FileNotFoundError if there is no socket,
    ConnectionRefusedError if nobody listens any more, BlockingIOError or TimeoutError if the queue is full.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        with _addressable(path.parent) as folder:
            connection.connect(str(folder / path.name))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _addressable(folder: Path) -> Iterator[Path]:
    """A short path of `folder`, valid inside the `with`; the path itself where the system has no /proc."""
    if not _DESCRIPTORS.is_dir():
        yield folder
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _DESCRIPTORS / str(descriptor)
    finally:
        os.close(descriptor)
