"""A CSV file of the export: read in pieces by header name, every fault told with its file, line, column and value.

Arrow reads: it is strict about the number of columns, streams, and keeps quoted line ends. It knows no line
numbers, so a fault is looked up afterwards by Python's `csv`, which is slow and exact, and runs only once,
when all is lost.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv

from modelyard.runner.context import InputError

BLOCK = 64 << 20
"""Bytes read at once; also the longest row that can be read."""


@dataclass(frozen=True)
class Table:
    """A file with a header: `path` to read, `name` for messages, one character that separates columns."""

    path: Path
    name: str
    separator: str
    header: tuple[str, ...]

    def column(self, wanted: str) -> str:
        """The header's name for a column; the header may type it (`age:Int`), and so may the configuration.

        Raises InputError where there is none, or more than one.
        """
        for matches in (
            [name for name in self.header if name == wanted],
            [name for name in self.header if _untyped(name) == _untyped(wanted)],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise InputError(f"{self.name}, line 1: the header has more than one column {wanted!r}")
        raise InputError(f"{self.name}, line 1: no column {wanted!r}; the header has {_list(self.header)}")

    def has_column(self, wanted: str) -> bool:
        """Whether `column` would find one."""
        return _untyped(wanted) in map(_untyped, self.header)

    def batches(self, columns: Sequence[str]) -> Iterator["Batch"]:
        """The rows in order, in pieces of about `BLOCK` bytes; only the named columns (as the header names them).

        All cells are text, and a missing one is empty. Raises InputError at the first row that cannot be
        read.
        """
        self._check_quotes()
        start = 0
        columns = list(dict.fromkeys(columns))
        try:
            with self._open(columns) as reader:
                for piece in reader:
                    frame = pl.DataFrame(pa.Table.from_batches([piece]))
                    batch = Batch(self, frame, start)
                    batch.check_nul()
                    yield batch
                    start += len(frame)
        except pa.ArrowInvalid as error:
            raise self._explain(columns, str(error)) from None

    def fault(self, row: int, column: str, reason: str) -> InputError:
        """The error for a cell of data row `row` (from 0): file, line, column, value, and `reason`."""
        return self.faults([(row, column, reason)])[0]

    def faults(self, cells: Sequence[tuple[int, str, str]]) -> list[InputError]:
        """As `fault`, for many cells with one reading of the file; in their order in the file."""
        wanted: dict[int, list[tuple[str, str]]] = {}
        for row, column, reason in sorted(cells, key=lambda cell: cell[0]):
            wanted.setdefault(row, []).append((column, reason))
        found = []
        for index, (line, values) in enumerate(self._rows() if wanted else ()):
            for column, reason in wanted.pop(index, ()):
                value = show(values[self.header.index(column)])
                found.append(InputError(f"{self.name}, line {line}, column {column!r}: {value} {reason}"))
            if not wanted:
                break
        assert not wanted, f"{self.name} has no row {next(iter(wanted))}"
        return found

    def _open(self, columns: list[str]) -> pyarrow.csv.CSVStreamingReader:
        # A path and not a Python file: Arrow's threads that still hold one abort the interpreter as it ends.
        return pyarrow.csv.open_csv(
            self.path,
            pyarrow.csv.ReadOptions(block_size=BLOCK, column_names=list(self.header), skip_rows_after_names=1),
            pyarrow.csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            ),
        )

    def _check_quotes(self) -> None:
        """A quote that never closes swallows the rest of the file in silence; only an odd number of them can
        hold one.
        """
        with self.path.open("rb") as file:
            quotes = sum(block.count(b'"') for block in iter(lambda: file.read(BLOCK), b""))
        if quotes % 2 == 0:
            return
        line = 1
        try:
            for line, _ in self._rows(strict=True):  # noqa: B007 - the last one before the fault
                pass
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise InputError(f"{self.name}: a quote that opens after line {line} never closes") from None

    def _explain(self, columns: Sequence[str], reason: str) -> InputError:
        """The first row with too many or too few cells, or with bytes that are not UTF-8."""
        places = {self.header.index(column): column for column in columns}
        for line, cells in self._rows():
            if len(cells) != len(self.header):
                return InputError(
                    f"{self.name}, line {line}: {len(cells)} columns where the header has {len(self.header)}: "
                    f"{show(self.separator.join(cells))}"
                )
            for place, column in places.items():
                if not _is_utf8(cells[place]):
                    return InputError(
                        f"{self.name}, line {line}, column {column!r}: {show(cells[place])} is not UTF-8 text"
                    )
        if "straddl" in reason:
            reason = f"a row is longer than {BLOCK >> 20} MB, or a quote is never closed"
        return InputError(f"{self.name}: {reason}")

    def _rows(self, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Every data row with the number of the line where it begins; empty lines are no rows."""
        rows = _reader(self.path, self.separator, strict)
        next(rows)
        yield from rows


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a table: `frame` with text columns under the header's names, `start` the first
    row's number.
    """

    table: Table
    frame: pl.DataFrame
    start: int

    def fault(self, row: int, column: str, reason: str) -> InputError:
        """The error for a cell of this batch's row `row`."""
        return self.table.fault(self.start + row, column, reason)

    def check_filled(self, column: str) -> pl.Series:
        """The column, of which no cell may be empty."""
        cells = self.frame[column]
        if (empty := (cells == "").arg_true()).len():
            raise self.fault(int(empty[0]), column, "is empty, but an id is needed")
        return cells

    def check_nul(self) -> None:
        """NUL bytes come from a wrong encoding or a torn file, never from an exporter."""
        for column in self.frame.columns:
            if (found := self.frame[column].str.contains("\0", literal=True).arg_true()).len():
                raise self.fault(int(found[0]), column, "holds a NUL byte")


_OTHER_FORMS = {
    b"\x1f\x8b": "compressed by gzip",
    b"PK\x03\x04": "a zip archive, as spreadsheets are",
    b"PAR1": "Parquet",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
"""What people send in the place of CSV, by its first bytes."""


def open_table(path: Path, name: str, separator: str) -> Table:
    """Reads the header. Raises InputError if there is none or it cannot be read."""
    try:
        _, header = next(_reader(path, separator))
    except StopIteration:
        raise InputError(f"{name} is empty: a header line is needed") from None
    except csv.Error as error:
        raise InputError(f"{name}, line 1: {error}") from None
    if not all(map(_is_utf8, header)) or any("\0" in name for name in header):
        with path.open("rb") as file:
            start = file.read(4)
        for magic, form in _OTHER_FORMS.items():
            if start.startswith(magic):
                raise InputError(f"{name} is {form}; CSV in UTF-8 is needed")
        raise InputError(f"{name}, line 1: the header is not UTF-8 text: {show(separator.join(header))}")
    return Table(path, name, separator, tuple(header))


def show(value: str) -> str:
    """A value as messages quote it, cut at 80 characters."""
    text = value if len(value) <= 80 else value[:79] + "…"
    return repr(text)


def _reader(path: Path, separator: str, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=strict)
        begins = 1
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _untyped(name: str) -> str:
    """`age` of `age:Int`. Names that begin with `~` are the exporter's own."""
    return name.rpartition(":")[0] or name


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (" …" if len(names) > 20 else "")
