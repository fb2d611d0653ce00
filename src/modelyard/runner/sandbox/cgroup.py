"""Control groups: the kernel's own limits on memory and processor time, where we may make groups.

Version 2 wants a group of which no process of ours is a member, hence one beside our own; version 1 one below it.
https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from modelyard.runner.sandbox.limits import Limits

ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
"""Microseconds for which processor time is handed out."""
_EMPTY_SECONDS = 2.0
_PREFIX = "modelyard-"
_OLD_SECONDS = 60.0


class Cgroup:
    """The groups of one container: one, or in version 1 one for each controller."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    @classmethod
    def make(cls, name: str, limits: Limits, pid: int) -> "Cgroup | None":
        """Groups with these limits around a process, and what it starts from now on.

        None where we may not make one that limits memory, or may not put a process into it.
        """
        places = _places()
        _sweep(places.values())
        made = cls({controller: place / f"{_PREFIX}{name}" for controller, place in places.items()})
        try:
            for controller, folder in made._folders.items():
                folder.mkdir(exist_ok=True)
                _limit(folder, controller, limits)
                (folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            made.remove()
            return None
        return made if made._folders else None

    @classmethod
    def of(cls, pid: int) -> "Cgroup":
        """The groups that a process is in, which others have made."""
        memory = {"": ROOT, "memory": ROOT / "memory"}
        return cls({name: memory[name] / path.lstrip("/") for name, path in _own(pid) if name in memory})

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a member for its memory."""
        for folder in self._folders.values():
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    lines = (folder / name).read_text().splitlines()
                    return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)
        return False

    def remove(self) -> None:
        """Removes the groups, as soon as the kernel sees that they are empty."""
        deadline = time.monotonic() + _EMPTY_SECONDS
        for folder in self._folders.values():
            while True:
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.005)


def _places() -> dict[str, Path]:
    """Where groups can be made, by controller; version 2 has one place for all, called ''."""
    places: dict[str, Path] = {}
    for controllers, own in _own():
        if controllers == "":
            place = (ROOT / own.lstrip("/")).parent if own != "/" else ROOT
            if "memory" in _words(place / "cgroup.subtree_control"):
                return {"": place}
        for controller in {"memory", "cpu"} & set(controllers.split(",")):
            places[controller] = ROOT / controller / own.lstrip("/")
    return places if "memory" in places else {}


def _own(pid: int | None = None) -> Iterator[tuple[str, str]]:
    """A process's groups, or our own: the controllers, with commas between, and the path."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid or 'self'}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            yield controllers, path


def _sweep(places: Iterable[Path]) -> None:
    """Removes empty groups that somebody made who was killed; one that was made just now may be about to be used."""
    for place in places:
        for folder in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > _OLD_SECONDS:
                    folder.rmdir()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _limit(folder: Path, controller: str, limits: Limits) -> None:
    quota = limits.cores * _PERIOD
    if controller == "memory":
        (folder / "memory.limit_in_bytes").write_text(str(limits.memory))
        with suppress(OSError):  # only where swap is counted
            (folder / "memory.memsw.limit_in_bytes").write_text(str(limits.memory))
    elif controller == "cpu":
        (folder / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (folder / "memory.max").write_text(str(limits.memory))
        (folder / "memory.oom.group").write_text("1")
        with suppress(OSError):
            (folder / "memory.swap.max").write_text("0")
        with suppress(OSError):
            (folder / "cpu.max").write_text(f"{quota} {_PERIOD}")
