"""The answers of an inference: a file for each of the channel's, in the order of its records."""

import os
import shutil
import threading
from pathlib import Path
from typing import IO

from modelyard.removal import remove


class OutputTooLarge(Exception):
    """The answers have come to more than may leave."""


class Budget:
    """What may leave yet, in bytes, for all files together."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def spend(self, size: int) -> None:
        """Takes so many bytes, or gives back (less than 0); OutputTooLarge if there are not as many."""
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise OutputTooLarge


class Answers:
    """The folder of finished answers, kept between attempts: `<file>.out` is there when its file is done."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        self._folder = folder
        self.budget = budget
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if path.suffix == ".out":
                budget.spend(path.stat().st_size)
            else:
                path.unlink()

    def done(self, name: str) -> bool:
        """Whether a file of the channel was answered, in this attempt or in an earlier one."""
        return (self._folder / f"{name}.out").exists()

    def open(self, name: str) -> "AnswerFile":
        """A file to write answers to."""
        return AnswerFile(self._folder / f"{name}.out", self.budget)

    def publish(self, folder: Path) -> int:
        """Moves what is finished to a new folder; returns the bytes."""
        os.replace(self._folder, folder)
        return sum(path.stat().st_size for path in folder.iterdir())

    def clear(self) -> None:
        """Throws all away."""
        remove(self._folder)
        self._folder.mkdir()


class AnswerFile:
    """Answers in their order. Each ends with a line break, whoever left it out."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self._path = path
        self._half = path.with_suffix(".half")
        self._file = self._half.open("xb")
        self._budget = budget

    def add(self, answer: IO[bytes]) -> None:
        """Appends an answer, whose bytes the budget has let through."""
        end = answer.seek(0, os.SEEK_END)
        if not end:
            return
        answer.seek(-1, os.SEEK_END)
        ended = answer.read(1) == b"\n"
        answer.seek(0)
        shutil.copyfileobj(answer, self._file, 1 << 20)
        if not ended:
            self._budget.spend(1)
            self._file.write(b"\n")

    def finish(self) -> None:
        """Lets the file be seen."""
        self._file.close()
        os.replace(self._half, self._path)

    def discard(self) -> None:
        """Throws the file away, and gives its bytes back."""
        size = self._file.tell()
        self._file.close()
        self._half.unlink(missing_ok=True)
        self._budget.spend(-size)
