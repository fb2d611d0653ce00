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
from itertools import chain, islice

LARGE = 5_000
"""Names of a folder that is too large to be read again after each change."""
_REMEMBERED = 1_000_000
"""Names in memory, some 100 MB of them."""
_TICK = 50_000_000
_LONG_TICK = 2_500_000_000
"""Nanoseconds within which two changes may get the same time; the long one is for file systems without fractions."""
_NOTED = 8192
_SORTED_AT_ONCE = 2048
_COMPARED_AT_ONCE = 200
_LATER_SECONDS = 0.3
_REST_SECONDS = 0.002
_SAMPLED, _SELECTED = 64, 24
"""Of an unsorted list every 64th name is a sample; where the 24th of these belongs, a page and a half ends."""

Identity = tuple[int, int]


class Names:
    """The names in a folder, in the order of the keys that they begin. Sorted as a whole only when there is time."""

    def __init__(self, names: list[str], is_sorted: bool = False) -> None:
        self.names = names
        self._is_sorted = is_sorted or len(names) < LARGE

    def __len__(self) -> int:
        return len(self.names)

    def sort(self, rest: float = 0.0) -> list[str]:
        """All names, sorted; with rests of so many seconds in between."""
        if not self._is_sorted:
            self.names, self._is_sorted = _sort(self.names, rest), True
        return self.names

    def since(self, start: str) -> Iterator[str]:
        """The names from `start` on."""
        more: str | None = start
        while more is not None:
            if self._is_sorted:
                yield from islice(self.names, bisect_left(self.names, more), None)
                return
            names, more = self._next(more)
            yield from names

    def _next(self, start: str) -> tuple[list[str], str | None]:
        """The first names from `start` on, out of the unsorted list, and where the next ones start."""
        sample = sorted(name for name in self.names[::_SAMPLED] if name > start)
        if len(sample) <= _SELECTED:
            return sorted(name for name in self.names if name >= start), None
        end = sample[_SELECTED]
        return sorted(name for name in self.names if start <= name < end), end


@dataclass(slots=True)
class _Known:
    """A folder's names as of a time of change, and what was added (True) and removed here since.

    unsure: whether somebody else's change can have passed unseen. later: whether what is to be done later is asked for.
    """

    changed: int
    names: Names
    noted: dict[str, bool] = field(default_factory=dict)
    unsure: bool = False
    later: bool = False

    def __len__(self) -> int:
        return len(self.names) + len(self.noted) + 1


class Entries:
    """The names in folders; a folder's ends with a slash. Names that are not UTF-8 are left out."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._most = remembered
        self._count = 0
        self._known: OrderedDict[Identity, _Known] = OrderedDict()
        self._changing = threading.Lock()
        self._counts_folders = True

    def of(self, folder: int) -> tuple[Names, bool]:
        """The names in an open folder, and whether it is to be `look`ed at again when there is time."""
        status = os.fstat(folder)
        settled = _is_settled(status)
        with self._changing:
            known = self._known.get(_identity(status))
            if known is not None and known.changed == status.st_mtime_ns and not (known.unsure and len(known) < LARGE):
                self._known.move_to_end(_identity(status))
                later = known.unsure and settled and not known.later
                known.later = known.later or later
                return self._merged(known), later
        names = self._read(folder, status)
        if settled:
            with self._changing:
                self._remember(_identity(status), _Known(status.st_mtime_ns, names, later=True))
        return names, settled and len(names) >= LARGE

    def look(self, folder: int) -> None:
        """Sorts what is remembered of an open folder, or forgets it if it is wrong.

        Takes its time: who has asked for a listing has it first.
        """
        time.sleep(_LATER_SECONDS)
        status = os.fstat(folder)
        known = self._known.get(_identity(status))
        if known is None:
            return
        names, changed = known.names, known.changed
        sorted_names = names.sort(_REST_SECONDS)
        right = not known.unsure or (changed == status.st_mtime_ns and _is_same(folder, sorted_names))
        with self._changing:
            known.later = False
            if known.names is names and known.changed == changed:  # else it was changed here, and is looked at again
                known.unsure = False
                if not right and self._known.get(_identity(status)) is known:
                    self._forget(_identity(status))

    def distrust(self) -> bool:
        """Forgets everything, since a name of a file is a folder's: links do not tell here whether there are folders.

        Whether that was not known before.
        """
        with self._changing:
            trusted, self._counts_folders = self._counts_folders, False
            if trusted:
                self._known.clear()
                self._count = 0
            return trusted

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
                if len(known.noted) == _NOTED:
                    self._merged(known)
                self._shrink()

    def begin(self, folder: int) -> None:
        """Notes that an open folder was just made."""
        status = os.fstat(folder)
        with self._changing:
            self._remember(_identity(status), _Known(status.st_mtime_ns, Names([]), unsure=True))

    def _read(self, folder: int, status: os.stat_result) -> Names:
        """A folder in which there are no others has two links, its own and its dot: then no entry need be looked at."""
        if self._counts_folders and status.st_nlink == 2:
            with _opened(folder) as opened:
                return _valid(os.listdir(opened))
        with scanned(folder) as entries:
            return _valid([_name(entry) for entry in entries])

    def _merged(self, known: _Known) -> Names:
        if known.noted:
            self._count -= len(known)
            kept = [name for name in known.names.sort() if name not in known.noted]
            added = sorted(name for name, there in known.noted.items() if there)
            known.names, known.noted = Names(sorted(kept + added), is_sorted=True), {}
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
    with _opened(folder) as opened, os.scandir(opened) as entries:
        yield entries


@contextmanager
def _opened(folder: int) -> Iterator[int]:
    """A folder that was opened for its path alone, to be read."""
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


def _valid(names: list[str]) -> Names:
    if not _is_utf8("".join(names)):
        names = [name for name in names if _is_utf8(name)]
    return Names(names if len(names) >= LARGE else sorted(names))


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
                time.sleep(_REST_SECONDS)
    return count == len(names)


def _name(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _sort(names: list[str], rest: float = 0.0) -> list[str]:
    """Sorts in small parts, with a rest of so many seconds after each: no other thread gets a turn within one."""
    runs = []
    for start in range(0, len(names), _SORTED_AT_ONCE):
        runs.append(sorted(names[start : start + _SORTED_AT_ONCE]))
        time.sleep(rest)
    ends = sorted(names[::_SAMPLED])[:: _SORTED_AT_ONCE // _SAMPLED]
    whole: list[str] = []
    starts = [0] * len(runs)
    for end in [*ends[1:], None]:
        stops = [len(run) if end is None else bisect_left(run, end) for run in runs]
        parts = (run[start:stop] for run, start, stop in zip(runs, starts, stops, strict=True))
        whole += sorted(chain.from_iterable(parts))
        starts = stops
        time.sleep(rest)
    return whole


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
