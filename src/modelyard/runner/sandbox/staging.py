"""Folders of a root user's machine, for a process that is to be nobody before it builds a container's root of them.

Where we are root, a container's user must be another: an attack that gets out of the container then owns nothing. But
a nobody cannot reach what lies below folders of root's. So a thread leaves the machine's view of its files for one of
its own, in which what the container may see has short paths that anyone can walk; children of that thread share it.
"""

import ctypes
import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534
"""The user inside."""
_NOBODIES, _FIRST_NOBODY = 0x0F000000, 0x70000000
"""Numbers of users that no system gives out: https://systemd.io/UIDS-GIDS"""
STAGE = "/tmp"
"""In the thread's own view this is a small folder in memory, with a bind for each source: `0`, `1` …"""

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18


def stage(sources: Sequence[Path]) -> list[Path]:
    """Moves this thread, which must do nothing else ever after, to a view of its own; the sources' new paths.

    OSError if the kernel does not allow that.
    """
    _call("unshare", ctypes.c_int(_CLONE_NEWNS))
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    opened = [os.open(source, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) for source in sources]
    try:
        _mount("none", STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
        return [_bind(descriptor, f"{STAGE}/{number}") for number, descriptor in enumerate(opened)]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def nobody(name: str) -> int:
    """A user of this machine who owns nothing and runs nothing but the container `name`."""
    return _FIRST_NOBODY + zlib.crc32(name.encode()) % _NOBODIES


def give_away(path: Path, user: int) -> None:
    """Makes a folder, or file, with all that is in it the property of a user."""
    os.chown(path, user, user, follow_symlinks=False)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), user, user, follow_symlinks=False)


def _bind(descriptor: int, target: str) -> Path:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    _mount(f"/proc/thread-self/fd/{descriptor}", target, None, _MS_BIND | _MS_REC)
    return Path(target)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
