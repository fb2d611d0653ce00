"""What a program says, line by line."""

import re
from collections.abc import Callable

LONGEST_LINE = 256 * 1024
"""Bytes; longer ones are shown as several, as CloudWatch does."""
_BREAK = re.compile(rb"[\r\n]+")


class Lines:
    """Cuts a stream of bytes into lines. Empty ones are left out."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._rest = b""

    def add(self, piece: bytes) -> None:
        """Takes the next bytes."""
        *lines, rest = _BREAK.split(self._rest + piece)
        for line in lines:
            self._split(line)
        self._rest = rest
        if len(rest) >= LONGEST_LINE:
            self.end()

    def end(self) -> None:
        """Takes what there is as the last line, even an unfinished one."""
        self._split(self._rest)
        self._rest = b""

    def _split(self, line: bytes) -> None:
        for start in range(0, len(line), LONGEST_LINE):
            self._take(line[start : start + LONGEST_LINE])
