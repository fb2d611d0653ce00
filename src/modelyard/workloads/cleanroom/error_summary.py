"""A short summary of errors for those who may not read a whole log: kinds and places, and no words of the container.

An error's message often quotes the row that caused it; hence only the class of an exception and where it was raised are
told.
"""

import re
from collections.abc import Iterable

MOST_LINES = 50
_FRAME = re.compile(r'\s*File "(?:[^"]*/)?([^"/]{1,80})", line (\d{1,7}), in ([\w<>.]{1,80})\s*$')
_ERROR = re.compile(r"([A-Za-z_][\w.]{0,99})(?::|\s*$)")


def summarize(lines: Iterable[str]) -> list[str]:
    """Each Python exception of a log, as its class and the place that raised it; the last MOST_LINES of them."""
    summary = Summary()
    for line in lines:
        summary.read(line)
    return summary.lines


class Summary:
    """A summary that grows with the log."""

    def __init__(self) -> None:
        self._place: str | None = None
        self._in_traceback = False
        self._lines: list[str] = []

    @property
    def lines(self) -> list[str]:
        """The summary so far."""
        return self._lines[-MOST_LINES:]

    def read(self, line: str) -> None:
        """Takes the next line of the log."""
        if line.startswith("Traceback (most recent call last)"):
            self._in_traceback, self._place = True, None
        elif not self._in_traceback:
            return
        elif frame := _FRAME.match(line):
            self._place = f"{frame[1]}, line {frame[2]}, in {frame[3]}"
        elif error := _ERROR.match(line):
            self._add(error[1])
        elif not line.startswith(" "):
            self._in_traceback = False

    def _add(self, error: str) -> None:
        self._lines = [*self._lines[-MOST_LINES:], f"{error} at {self._place}" if self._place else error]
        self._in_traceback, self._place = False, None
