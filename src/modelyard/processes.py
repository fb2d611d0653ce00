"""Processes as Linux knows them: who one is, whether it lives, and how it ends.

A pid alone names nobody, since the kernel uses it again: a process is its pid, its start time and the boot it lives in.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard import atomic


@dataclass(frozen=True)
class Process:
    """One process of this machine, for as long as the machine is up.

    start: clock ticks between the boot and the start of the process (field 22 of /proc/<pid>/stat).
    group: its process group.
    """

    pid: int
    start: int
    boot: str
    group: int

    @classmethod
    def current(cls) -> "Process":
        """The process that asks."""
        stat = _stat(os.getpid())
        assert stat is not None
        return cls(os.getpid(), stat[1], _boot(), os.getpgrp())

    @classmethod
    def read(cls, path: Path) -> "Process | None":
        """The process that `write` named in a file; None without a readable file."""
        try:
            return cls(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Names the process in a file."""
        atomic.write(path, json.dumps(asdict(self)).encode())

    def alive(self) -> bool:
        """Whether this very process still runs, or holds anything: one that only waits to be reaped does not."""
        stat = _stat(self.pid)
        if stat is None or stat[1] != self.start or _boot() != self.boot:
            return False
        return stat[0] not in "ZX" or _threads(self.pid) > 1

    def terminate(self) -> None:
        """Asks the process to end (SIGTERM)."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill_group(self) -> None:
        """Ends the process and all of its group (SIGKILL).

        The group outlives its leader, and its number is not used again while a member lives. Once it is empty, the
        number may pass on to a stranger, hence a group whose leader is gone is only killed in the same boot and while
        no other process carries the leader's pid.
        """
        stat = _stat(self.pid)
        if _boot() == self.boot and (stat is None or stat[1] == self.start):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, signal.SIGKILL)


def spawn(
    module: str, arguments: Sequence[str], log: Path, inherited: int | None = None, environment: Mapping[str, str] = {}
) -> int:
    """Starts `python -m module` in a session of its own, so that it outlives us; returns its pid.

    It writes to the end of `log`, inherits one descriptor, under its number, and is collected when it ends.
    """
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", module, *arguments],
        {**os.environ, **environment},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *([(os.POSIX_SPAWN_DUP2, inherited, inherited)] if inherited is not None else []),
        ],
        setsid=True,
    )
    threading.Thread(target=os.waitpid, args=(pid, 0), daemon=True).start()
    return pid


def be_gentle() -> None:
    """Lets every other process go first.

    Nice alone has no effect between sessions where the kernel groups by session: each has a nice value of its own.
    """
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process; None if there is none."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return after_name[0], int(after_name[19])


def _threads(pid: int) -> int:
    """A killed process is a zombie as soon as its first thread is gone; the others may still hold its files."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
