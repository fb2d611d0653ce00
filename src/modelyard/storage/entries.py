"""What is in folders, sorted, and remembered while a folder does not change: to read a large one takes long."""

import os
import threading
import time
from collections import OrderedDict

from modelyard.storage.tree import scanned

_REMEMBERED = 500_000
"""Names in memory, some 50 MB of them."""
_TICK = 50_000_000
_LONG_TICK = 2_500_000_000
"""Nanoseconds within which two changes may get the same time; the long one is for file systems without fractions."""


class Entries:
    """The names in folders; a folder's ends with a slash. Names that are not UTF-8 are left out."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._most = remembered
        self._count = 0
        self._known: OrderedDict[tuple[int, int], tuple[int, list[str]]] = OrderedDict()
        self._changing = threading.Lock()

    def of(self, folder: int) -> list[str]:
        """The names in an open folder, in the order of the keys that they begin."""
        status = os.fstat(folder)
        identity, changed = (status.st_dev, status.st_ino), status.st_mtime_ns
        with self._changing:
            known = self._known.get(identity)
            if known is not None and known[0] == changed:
                self._known.move_to_end(identity)
                return known[1]
        now = time.time_ns()
        names = _read(folder)
        if now - changed > (_TICK if changed % 1_000_000_000 else _LONG_TICK):
            self._remember(identity, changed, names)
        return names

    def _remember(self, identity: tuple[int, int], changed: int, names: list[str]) -> None:
        """Only for a folder whose last change is long enough ago: any later one will have another time."""
        with self._changing:
            self._forget(identity)
            self._known[identity] = changed, names
            self._count += len(names) + 1
            while self._count > self._most:
                self._forget(next(iter(self._known)))

    def _forget(self, identity: tuple[int, int]) -> None:
        known = self._known.pop(identity, None)
        self._count -= len(known[1]) + 1 if known is not None else 0


def _read(folder: int) -> list[str]:
    with scanned(folder) as entries:
        names = [f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries]
    names.sort()
    return names if _is_utf8("".join(names)) else [name for name in names if _is_utf8(name)]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
