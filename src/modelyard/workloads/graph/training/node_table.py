"""Learnable vectors of more nodes than should lie in memory: rows of a mapped file, of which a step touches its own.

An optimizer over a whole table reads and writes all of it at every step. Here the rows of a batch are copied out, take
a gradient, and are written back by Adam's rule for those rows alone (the lazy form of `torch.optim.SparseAdam`; Kingma
and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015), and the moments lie in files like the vectors.
"""

import math
import mmap
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MAPPED_FROM = 256 << 20
"""Bytes from which a table is mapped from a file, if memory is to be spared."""

_AT_ONCE = 1024
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class RowFile:
    """A float32 matrix of zeros to begin with: in memory, or in a file at `path` that is mapped.

    Linux maps 64 KB around each byte that is read; so that a process does not end up with the whole file, pages are let
    go after every thousand rows (they stay in the page cache, which is nobody's memory). OSError: no space for it.
    """

    def __init__(self, num_rows: int, channels: int, path: Path | None = None) -> None:
        self.array: np.ndarray
        self._path, self._touched = path, 0
        self._map: mmap.mmap | None = None
        size = num_rows * channels * 4
        if path is None or size == 0:
            self.array = np.zeros((num_rows, channels), np.float32)
            return
        with path.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk would otherwise kill the process when it writes
            self._map = mmap.mmap(file.fileno(), size)
        self.array = np.frombuffer(self._map, np.float32).reshape(num_rows, channels)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """A copy of some rows."""
        found = np.empty((len(rows), self.array.shape[1]), np.float32)
        for begin in range(0, len(rows), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            found[part] = self.array[rows[part]]
            self._release(len(rows[part]))
        return found

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Sets some rows, each given once."""
        for begin in range(0, len(rows), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            self.array[rows[part]] = values[part]
            self._release(len(rows[part]))

    def copy(self, path: Path) -> Tensor:
        """What it holds now, `[num_rows, channels]`; a mapped one is copied to `path`, and that is mapped."""
        if self._map is None or self._path is None:
            return torch.from_numpy(self.array.copy())
        half = path.with_name(f".{path.name}.half")
        shutil.copyfile(self._path, half)
        half.replace(path)
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return torch.frombuffer(mapped, dtype=torch.float32).view(self.array.shape)

    def _release(self, touched: int) -> None:
        self._touched += touched
        if self._map is not None and self._touched >= _AT_ONCE:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


class NodeTable:
    """The learnable vectors of one node type, and their optimizer.

    folder: where the table lies if it is mapped; None keeps it in memory.
    """

    def __init__(self, num_nodes: int, channels: int, seed: int, device: torch.device, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._device = folder, device
        names = ("vectors", "first", "second")
        self._vectors, *self._moments = (
            RowFile(num_nodes, channels, folder / name if folder else None) for name in names
        )
        self._read: list[tuple[np.ndarray, Tensor]] = []
        self._steps = 0
        random = np.random.default_rng(seed)
        bound = math.sqrt(6 / (num_nodes + channels))
        for begin in range(0, num_nodes, _AT_ONCE):
            rows = np.arange(begin, min(begin + _AT_ONCE, num_nodes))
            self._vectors.write(rows, bound * (2 * random.random((len(rows), channels), np.float32) - 1))

    def rows(self, rows: Tensor) -> Tensor:
        """The vectors of some nodes, each given once; where gradients are taken, `step` will change them."""
        numbers = rows.cpu().numpy()
        vectors = torch.from_numpy(self._vectors.read(numbers)).to(self._device)
        if torch.is_grad_enabled():
            self._read.append((numbers, vectors.requires_grad_()))
        return vectors

    def step(self, lr: float) -> None:
        """Changes what was read since the last step by its gradient."""
        self._steps += 1
        first_rate, second_rate = (1 - beta for beta in _BETAS)
        size = lr * math.sqrt(1 - _BETAS[1] ** self._steps) / (1 - _BETAS[0] ** self._steps)
        for rows, vectors in self._read:
            if vectors.grad is None:
                continue
            gradient = vectors.grad.cpu().numpy()
            first, second = (moment.read(rows) for moment in self._moments)
            first += first_rate * (gradient - first)
            second += second_rate * (gradient**2 - second)
            for moment, values in zip(self._moments, (first, second), strict=True):
                moment.write(rows, values)
            self._vectors.write(rows, vectors.detach().cpu().numpy() - size * first / (np.sqrt(second) + _EPSILON))
        self._read.clear()

    def copy(self) -> Tensor:
        """The vectors as they are now, which later steps do not change; it replaces the copy before."""
        return self._vectors.copy(self._folder / "best" if self._folder else Path())
