"""Which nodes there are, however many: 8 bytes for each id, the hash of its text.

Two ids among ten million share a hash once in 400,000 such graphs; ids that seem to repeat are therefore compared,
and an edge that such a pair hides is found by data processing, which compares all.
"""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

_BUFFERED = 1 << 20


@dataclass
class Hashes:
    """A growing set of hashes; `repeated`, where it is asked for, has those that were added more than once."""

    keeps_repeated: bool = False
    repeated: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    _sorted: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    _new: list[np.ndarray] = field(default_factory=list)
    _buffered: int = 0

    def __len__(self) -> int:
        return len(self.sorted())

    @property
    def merged(self) -> int:
        """A number that is not above the length, and costs nothing."""
        return len(self._sorted)

    def add(self, hashes: np.ndarray) -> None:
        """Takes hashes."""
        self._new.append(hashes)
        self._buffered += len(hashes)
        if self._buffered > max(_BUFFERED, len(self._sorted)):
            self.sorted()

    def sorted(self) -> np.ndarray:
        """uint64, each once."""
        if self._new:
            every = np.concatenate([self._sorted, *self._new])
            every.sort()
            again = every[1:] == every[:-1]
            if self.keeps_repeated and again.any():
                self.repeated = np.union1d(self.repeated, every[1:][again])
            self._sorted = every[np.concatenate([[True], ~again])] if len(every) else every
            self._new, self._buffered = [], 0
        return self._sorted

    def places(self, hashes: np.ndarray) -> np.ndarray:
        """int64: where each hash is in `sorted()`, -1 for those that are not there."""
        known = self.sorted()
        if not len(known):
            return np.full(len(hashes), -1)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return np.where(known[places] == hashes, places, -1)


class Once:
    """Lets each hash of a set pass one time."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._passed = np.zeros(len(hashes), bool)

    def first(self, hashes: np.ndarray) -> np.ndarray:
        """bool: the rows whose hash is in the set and was in no row before."""
        places = self._hashes.places(hashes)
        first = np.zeros(len(hashes), bool)
        distinct, rows = np.unique(places, return_index=True)
        distinct, rows = distinct[distinct >= 0], rows[distinct >= 0]
        first[rows[~self._passed[distinct]]] = True
        self._passed[distinct] = True
        return first


def hashed(ids: pl.Series) -> np.ndarray:
    """uint64, a hash for each id's text."""
    return ids.hash().to_numpy()
