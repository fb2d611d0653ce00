"""What is in folders, sorted, and remembered while a folder does not change: to read a large one takes long.

A folder's time of change tells whether it did. Changes that are made here are noted as well, so that a large folder
need not be read again after each. Somebody else's change, at the very moment of one of ours, could pass unseen then:
hence a large folder that was changed here is compared with the disk once more, after it was listed.
"""

import os
import threading
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LARGE = 5_000
"""Names of a folder that is too large to be read again after each change."""
_REMEMBERED = 500_000
"""Names in memory, some 50 MB of them."""
_TICK = 50_000_000
_LONG_TICK = 2_500_000_000
"""Nanoseconds within which two changes may get the same time; the long one is for file systems without fractions."""
_SORTED_AT_ONCE = 8192
_COMPARED_AT_ONCE = 200

Identity = tuple[int, int]


@dataclass(slots=True)
class _Known:
    """A folder's names as of a time of change, and what was added (True) and removed here since.

    unsure: whether somebody else's change can have passed unseen. compared: whether that is being looked at.
    """

    changed: int
    names: list[str]
    noted: dict[str, bool] = field(default_factory=dict)
    unsure: bool = False
    compared: bool = False

    def __len__(self) -> int:
        return len(self.names) + len(self.noted) + 1


class Entries:
    """The names in folders; a folder's ends with a slash. Names that are not UTF-8 are left out."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._most = remembered
        self._count = 0
        self._known: OrderedDict[Identity, _Known] = OrderedDict()
        self._changing = threading.Lock()

    def of(self, folder: int) -> tuple[list[str], bool]:
        """The names in an open folder, in the order of the keys that they begin; and whether to `compare` it."""
        status = os.fstat(folder)
        settled = _is_settled(status)
        with self._changing:
            known = self._known.get(_identity(status))
            if known is not None and known.changed == status.st_mtime_ns and not (known.unsure and len(known) < LARGE):
                self._known.move_to_end(_identity(status))
                again = known.unsure and settled and not known.compared
                known.compared = known.compared or again
                return self._names(known), again
        names = _read(folder)
        if settled:
            with self._changing:
                self._remember(_identity(status), _Known(status.st_mtime_ns, names))
        return names, False

    def compare(self, folder: int) -> None:
        """Forgets what is remembered of an open folder, unless it is right. Takes its time, for others' sake."""
        status = os.fstat(folder)
        known = self._known.get(_identity(status))
        if known is None:
            return
        names = known.names
        right = known.changed == status.st_mtime_ns and not known.noted and _is_same(folder, names)
        with self._changing:
            known.compared = False
            if known.names is names and not known.noted:  # else it was changed here, and will be compared again
                known.unsure = False
                if not right and self._known.get(_identity(status)) is known:
                    self._forget(_identity(status))

    @contextmanager
    def change(self, folder: int, name: str, there: bool) -> Iterator[None]:
        """Notes that a name is put into an open folder, or taken out of it, meanwhile."""
        before = os.fstat(folder)
        yield
        with self._changing:
            known = self._known.get(_identity(before))
            if known is not None and known.changed == before.st_mtime_ns:
                known.changed, known.unsure = os.fstat(folder).st_mtime_ns, True
                self._count += name not in known.noted
                known.noted[name] = there
                if len(known.noted) == _SORTED_AT_ONCE:
                    self._names(known)
                self._shrink()

    def begin(self, folder: int) -> None:
        """Notes that an open folder was just made."""
        status = os.fstat(folder)
        with self._changing:
            self._remember(_identity(status), _Known(status.st_mtime_ns, [], unsure=True))

    def _names(self, known: _Known) -> list[str]:
        if known.noted:
            self._count -= len(known)
            kept = [name for name in known.names if name not in known.noted]
            known.names = _sort(kept + [name for name, there in known.noted.items() if there])
            known.noted = {}
            self._count += len(known)
        return known.names

    def _remember(self, identity: Identity, known: _Known) -> None:
        """Only what any later change will give another time, or what is unsure."""
        self._forget(identity)
        self._known[identity] = known
        self._count += len(known)
        self._shrink()

    def _shrink(self) -> None:
        while self._count > self._most:
            self._forget(next(iter(self._known)))

    def _forget(self, identity: Identity) -> None:
        known = self._known.pop(identity, None)
        self._count -= len(known) if known is not None else 0


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _is_settled(status: os.stat_result) -> bool:
    """Whether any change from now on will give a folder another time."""
    tick = _TICK if status.st_mtime_ns % 1_000_000_000 else _LONG_TICK
    return time.time_ns() - status.st_mtime_ns > tick


@contextmanager
def scanned(folder: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What is in an open folder."""
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        with os.scandir(opened) as entries:
            yield entries
    finally:
        os.close(opened)


def _read(folder: int) -> list[str]:
    with scanned(folder) as entries:
        names = [_name(entry) for entry in entries]
    names = _sort(names)
    return names if _is_utf8("".join(names)) else [name for name in names if _is_utf8(name)]


def _is_same(folder: int, names: list[str]) -> bool:
    """Whether a folder has these sorted names, and no others."""
    count = 0
    with scanned(folder) as entries:
        for entry in entries:
            name = _name(entry)
            at = bisect_left(names, name)
            if at < len(names) and names[at] == name:
                count += 1
            elif _is_utf8(name):
                return False
            if count % _COMPARED_AT_ONCE == 0:
                time.sleep(0.001)
    return count == len(names)


def _name(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _sort(names: list[str]) -> list[str]:
    """Sorts bit by bit: no other thread gets a turn while one list is sorted, but one of sorted runs takes little."""
    for start in range(0, len(names), _SORTED_AT_ONCE):
        names[start : start + _SORTED_AT_ONCE] = sorted(names[start : start + _SORTED_AT_ONCE])
    names.sort()
    return names


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
