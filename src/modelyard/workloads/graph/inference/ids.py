"""The index of a graph's raw node ids, as arrays that a serving task maps into memory and searches at once.

All nodes of all types have one *global row*: those of type 0 first, then those of type 1, and so on. A folder holds

- `text.bin`: the UTF-8 bytes of all ids, one after another in the order of their rows;
- `ends.npy`: int64 `[num_nodes]`, where each id's bytes end;
- `hashes.npy`: uint64 `[num_nodes]`, the ids' 64-bit BLAKE2b hashes, sorted;
- `rows.npy`: int64 `[num_nodes]`, the global row of each of these hashes.
"""

import mmap
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np


def write_index(folder: Path, ids: Iterable[Sequence[str]]) -> None:
    """Writes the index of `ids`: for each node type in turn its raw ids in row order, in one piece or several."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths, hashes = [], []
    with (folder / "text.bin").open("wb") as text:
        for piece in ids:
            encoded = [raw.encode() for raw in piece]
            text.write(b"".join(encoded))
            lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            hashes.append(_hashes(encoded))
    all_hashes = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    order = np.argsort(all_hashes, kind="stable")
    np.save(folder / "ends.npy", np.cumsum(np.concatenate(lengths)) if lengths else np.empty(0, np.int64))
    np.save(folder / "hashes.npy", all_hashes[order])
    np.save(folder / "rows.npy", order.astype(np.int64))


class NodeIds:
    """Raw ids of global rows and back. Nothing is read before it is needed."""

    def __init__(self, folder: Path) -> None:
        with (folder / "text.bin").open("rb") as text:
            empty = not text.seek(0, 2)
            self._text = b"" if empty else mmap.mmap(text.fileno(), 0, access=mmap.ACCESS_READ)
        self._ends = read_mapped(folder / "ends.npy")
        self._hashes = read_mapped(folder / "hashes.npy")
        self._rows = read_mapped(folder / "rows.npy")

    def __len__(self) -> int:
        return len(self._ends)

    def id(self, row: int) -> str:
        """The raw id of a global row."""
        begin = self._ends[row - 1] if row else 0
        return self._text[begin : self._ends[row]].decode()

    def rows(self, ids: Sequence[str], start: int, stop: int) -> np.ndarray:
        """The global rows, within `start` to `stop` (not included), of raw ids; -1 where there is none.

        int64 `[len(ids)]`. Two types may have nodes of one id: the range of a type's rows tells them apart.
        """
        encoded = [raw.encode("utf-8", "surrogatepass") for raw in ids]
        hashes = _hashes(encoded)
        place = self._hashes.searchsorted(hashes)
        found = np.full(len(ids), -1)
        wanted = np.arange(len(ids))
        while wanted.size:  # once, but for ids that several nodes have, or whose hashes are equal
            within = place < len(self._hashes)
            wanted, place, hashes = wanted[within], place[within], hashes[within]
            same = self._hashes[place] == hashes
            wanted, place, hashes = wanted[same], place[same], hashes[same]
            rows = self._rows[place]
            right = (rows >= start) & (rows < stop)
            right[right] = [text == encoded[n] for text, n in zip(self._texts(rows[right]), wanted[right], strict=True)]
            found[wanted[right]] = rows[right]
            wanted, place, hashes = wanted[~right], place[~right] + 1, hashes[~right]
        return found

    def _texts(self, rows: np.ndarray) -> list[bytes]:
        begin = np.where(rows > 0, self._ends[rows - 1], 0).tolist()
        return [self._text[b:e] for b, e in zip(begin, self._ends[rows].tolist(), strict=True)]


def read_mapped(path: Path) -> np.ndarray:
    """An array of plain numbers in a `.npy` file, mapped into memory where it is large enough to have pages."""
    array = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)
    return np.asarray(array)


def _hashes(encoded: Sequence[bytes]) -> np.ndarray:
    digests = b"".join(blake2b(raw, digest_size=8).digest() for raw in encoded)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
