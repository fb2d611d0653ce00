"""Payloads: a channel's files cut into requests, each of as many whole lines as fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

LINES = "text/csv"
"""The type whose files are cut; those of any other are sent whole."""


class RecordTooLarge(Exception):
    """A line, or a file that cannot be cut, is larger than a request may be. `place` names it, not its content."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True)
class Payload:
    """The body of one request, and how many records it holds (lines without the header)."""

    body: bytes
    records: int


@dataclass(frozen=True)
class Splitter:
    """How files become payloads.

    most: bytes of one. content_type: of the files. header: of a CSV file, in its "first" payload or in "none".
    """

    most: int
    content_type: str = LINES
    header: Literal["first", "none"] = "first"

    def split(self, path: Path) -> Iterator[Payload]:
        """The payloads of a file in their order; none for a file without records. RecordTooLarge where one is met."""
        if self.content_type != LINES:
            yield self._whole(path)
            return
        with path.open("rb") as file:
            header = file.readline(self.most + 1)
            if len(header) > self.most:
                raise RecordTooLarge("line 1")
            first = header if self.header == "first" else b""
            yield from self._lines(file, first)

    def _lines(self, file: BinaryIO, first: bytes) -> Iterator[Payload]:
        line, rest, headers = 1, first, bool(first)
        while True:
            body = rest + file.read(self.most + 1 - len(rest))
            last = len(body) <= self.most
            end = len(body) if last else body.rfind(b"\n", 0, self.most) + 1
            if end <= len(first) and not last:
                raise RecordTooLarge(f"line {line + 1}")
            body, rest = body[:end], body[end:]
            records = lines(body) - headers
            if records:
                yield Payload(body, records)
            if last:
                return
            line, first, headers = line + records, b"", False

    def _whole(self, path: Path) -> Payload:
        if path.stat().st_size > self.most:
            raise RecordTooLarge("the file, which cannot be cut,")
        return Payload(path.read_bytes(), rows(path))

    def count(self, path: Path) -> int:
        """How many records a file holds."""
        return rows(path) if self.content_type != LINES else max(0, _file_lines(path) - 1)


def lines(body: bytes) -> int:
    """How many lines these are; the last one may lack its end."""
    return body.count(b"\n") + (not body.endswith(b"\n") and bool(body))


def rows(path: Path) -> int:
    """How many rows a Parquet file says that it has; 0 if it is none."""
    import duckdb

    try:
        with duckdb.connect() as connection:
            asked = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(path)])
            found = asked.fetchone()
    except duckdb.Error:
        return 0
    return int(found[0]) if found else 0


def _file_lines(path: Path) -> int:
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")
