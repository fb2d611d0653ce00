"""A look at what a container uses, again and again, where the kernel does not hold it to its limits."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Literal

from modelyard.runner.sandbox.program import Program

_PERIOD = 0.05
"""Seconds between two looks at the memory."""
_SLOW = 20
"""Every so many looks, files are looked at too."""
_FILE_BYTES = 4096
"""What a file costs, however small it is."""
_INODE_BYTES = 1024
"""What a file in memory costs beyond what is in it."""
_PAGE = os.sysconf("SC_PAGE_SIZE")

Exceeded = Literal["memory", "disk"]


def watch(program: Program, root: int, ended: Event, memory: bool) -> Exceeded | None:
    """Looks until the container has ended, or uses too much: of what.

    root: its first process. memory: whether that is to be looked at, too.
    """
    look = 0
    while not ended.wait(_PERIOD):
        unnamed: dict[str, int] = {"memory": 0, "disk": 0}
        slow = look % _SLOW == 0
        if slow:
            unnamed = _unnamed(root)
        if memory and _too_much(program, root, _in_memory(program, root) + unnamed["memory"]):
            return "memory"
        if slow and written(program.writable, program.limits.disk) + unnamed["disk"] > program.limits.disk:
            return "disk"
        look += 1
    return None


def written(paths: list[Path], enough: int) -> int:
    """The bytes that folders and files take on the disk; it stops to count above `enough`."""
    total = 0
    rest: list[str] = [str(path) for path in paths]
    while rest and total <= enough:
        with suppress(OSError):
            found = os.lstat(path := rest.pop())
            total += _size(found)
            if stat.S_ISDIR(found.st_mode):
                with os.scandir(path) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            rest.append(entry.path)
                        else:
                            total += _size(entry.stat(follow_symlinks=False))
                        if total > enough:
                            break
    return total


def _size(found: os.stat_result) -> int:
    return found.st_blocks * 512 + _FILE_BYTES


def _too_much(program: Program, root: int, files: int) -> bool:
    """Whether the processes, and files in memory, take too much. Pages that several share are counted once."""
    pids, left = list(_tree(root)), program.limits.memory - files
    return sum(map(_resident, pids)) > left and sum(map(_proportional, pids)) > left


def _tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for thread in _names(f"/proc/{pid}/task"):
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                yield from _tree(int(child))


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _proportional(pid: int) -> int:
    """Resident bytes, of shared pages its part."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return _resident(pid)


def _in_memory(program: Program, root: int) -> int:
    """Bytes of the files that lie in memory."""
    total = 0
    for target in ("/dev/shm", *(step.target for step in program.view if step.kind == "memory")):
        with suppress(OSError):
            found = os.statvfs(f"/proc/{root}/root{target}")
            total += (found.f_blocks - found.f_bfree) * found.f_frsize + (found.f_files - found.f_ffree) * _INODE_BYTES
    return total


def _unnamed(root: int) -> dict[str, int]:
    """Bytes of files that are open and have no name any more, or never had one: in memory, and on the disk."""
    found: dict[tuple[int, int], tuple[Exceeded, int]] = {}
    for pid in _tree(root):
        for number in _names(f"/proc/{pid}/fd"):
            with suppress(OSError):
                link = f"/proc/{pid}/fd/{number}"
                file = os.stat(link)
                if stat.S_ISREG(file.st_mode) and file.st_nlink == 0:
                    kind: Exceeded = "memory" if os.readlink(link).startswith("/memfd:") else "disk"
                    found[file.st_dev, file.st_ino] = (kind, file.st_blocks * 512)
    totals = {"memory": 0, "disk": 0}
    for kind, size in found.values():
        totals[kind] += size
    return totals


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
