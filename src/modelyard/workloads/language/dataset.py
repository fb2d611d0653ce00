"""Tokenized rows on disk: what data processing writes and training reads, mapped into memory.

```
data.json                 what it is, and how much of it
training/                 one folder for each split; the others are validation-0, validation-1 ...
  tokens.npy              int32, all examples behind each other
  learned.npy             bool, which tokens count in the loss
  ends.npy                int64, where each example ends
```
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from modelyard import atomic
from modelyard.runner.context import InputError
from modelyard.workloads.language.chat import Example

FORMAT = 1
ARRAYS: Mapping[str, type[np.generic]] = {"tokens": np.int32, "learned": np.bool_, "ends": np.int64}


class Growing:
    """A one-dimensional .npy file that is written piece by piece: its header has room for any length."""

    def __init__(self, path: Path, dtype: type[np.generic]) -> None:
        self._file = path.open("wb")
        self._dtype = np.dtype(dtype)
        self.length = 0
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        """Adds values at the end."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self.length += len(values)

    def close(self) -> None:
        """Writes the length; before that the file reads as empty."""
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        assert self._file.tell() + self.length * self._dtype.itemsize == end, "the header kept its size"
        self._file.close()

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, header)


class SplitWriter:
    """Writes one split, example by example."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._files = {name: Growing(folder / f"{name}.npy", dtype) for name, dtype in ARRAYS.items()}
        self._learned = 0

    def add(self, example: Example) -> None:
        """Adds one example."""
        self._files["tokens"].append(example.tokens)
        self._files["learned"].append(example.learned)
        self._files["ends"].append(np.asarray([self._files["tokens"].length]))
        self._learned += int(example.learned.sum())

    def counts(self) -> dict[str, int]:
        """How much there is."""
        return {
            "examples": self._files["ends"].length,
            "tokens": self._files["tokens"].length,
            "learned": self._learned,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()


class Split:
    """The examples of one split."""

    def __init__(self, folder: Path) -> None:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        self._tokens, self._learned = arrays["tokens"], arrays["learned"]
        self._ends = np.concatenate([[0], arrays["ends"]])
        self.lengths = np.diff(self._ends)
        """Tokens of each example, int64 [examples]."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: int) -> Example:
        here = slice(self._ends[place], self._ends[place + 1])
        return Example(self._tokens[here], self._learned[here])


class Dataset:
    """What data processing wrote.

    document: `data.json`. Raises InputError if the folder is not whole.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.document: dict[str, Any] = json.loads((folder / "data.json").read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"{folder.name} is no data set: its data.json cannot be read ({error})") from None
        if self.document["format"] != FORMAT:
            raise InputError(f"{folder.name} has format {self.document['format']!r}; this version reads {FORMAT}")
        self.training = Split(folder / "training")
        names = [name for name in self.document["splits"] if name != "training"]
        self.validation = {name: Split(folder / name) for name in names}


def write_document(folder: Path, splits: Mapping[str, Mapping[str, int]], **more: Any) -> None:
    """Writes `data.json`, which makes the folder whole."""
    document = {"format": FORMAT, **more, "splits": splits}
    atomic.write(folder / "data.json", json.dumps(document, indent=1).encode())
