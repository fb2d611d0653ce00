"""Rows of a table, read in order and in pieces, as often as wished: CSV, Parquet, frames, a DuckDB query.

CSV is read by the code that data processing reads exports with, so that a fault has its line. What can be asked
only once, a query, is kept as Parquet meanwhile.
"""

import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.cells import text
from modelyard.workloads.graph.processing.table import Table, open_table, show

PIECE_ROWS = 100_000
PIECE_BYTES = 16 << 20
"""Rows are read in pieces of as many, or of fewer, if they are wide: their text takes several times the room."""

SEPARATORS = {".csv": ",", ".tsv": "\t", ".psv": "|"}
PARQUET = (".parquet", ".pq")


class Rows(Protocol):
    """Rows that can be read several times; `name` is for messages, `schema` has the columns' types."""

    @property
    def name(self) -> str:
        """What messages call the table."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The columns, in order."""

    def pieces(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Consecutive rows, these columns alone. Raises InputError at a row that cannot be read."""

    def fault(self, row: int, column: str, reason: str) -> InputError:
        """The error for a cell of row `row` (from 0): the table, the place, the value and `reason`."""


@dataclass(frozen=True)
class Frame:
    """Rows that are in memory."""

    name: str
    frame: pl.DataFrame

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The columns, in order."""
        return self.frame.schema

    def pieces(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Slices of the frame."""
        yield from _slices(self.frame.select(columns))

    def fault(self, row: int, column: str, reason: str) -> InputError:
        """The error for a cell; rows are counted from 1."""
        return _fault(self.name, row, self.frame[column].slice(row, 1), reason)


@dataclass(frozen=True)
class Csv:
    """A text file with a header. An empty cell is a missing value."""

    table: Table

    @property
    def name(self) -> str:
        """The file."""
        return self.table.name

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """All columns are text."""
        return dict.fromkeys(self.table.header, pl.String())

    def pieces(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """As `Table.batches`, with null for empty cells."""
        for batch in self.table.batches(columns):
            for piece in _slices(batch.frame):
                yield piece.select(pl.all().replace("", None))

    def fault(self, row: int, column: str, reason: str) -> InputError:
        """The error for a cell, with its line."""
        return self.table.fault(row, column, reason)


@dataclass(frozen=True)
class Parquet:
    """Parquet files of one schema, one after the other."""

    name: str
    paths: tuple[Path, ...]

    @cached_property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The columns of the first file. Raises InputError if it is no Parquet file."""
        try:
            empty = pa.Table.from_batches([], pq.read_schema(self.paths[0]))
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.name} cannot be read as Parquet: {error}") from None
        return pl.DataFrame(empty).schema

    def pieces(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Batches of rows."""
        for path in self.paths:
            try:
                with pq.ParquetFile(path) as file:
                    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
                    rows = _rows(sum(group.total_byte_size for group in groups), file.metadata.num_rows)
                    for batch in file.iter_batches(rows, columns=list(columns)):
                        yield pl.DataFrame(pa.Table.from_batches([batch])).select(columns)
            except (pa.ArrowInvalid, pl.exceptions.ColumnNotFoundError, OSError) as error:
                raise InputError(f"{path} cannot be read as part of {self.name}: {error}") from None

    def fault(self, row: int, column: str, reason: str) -> InputError:
        """The error for a cell; rows are counted from 1."""
        start = 0
        for piece in self.pieces([column]):
            if row < start + len(piece):
                return _fault(self.name, row, piece[column].slice(row - start, 1), reason)
            start += len(piece)
        raise AssertionError(f"{self.name} has no row {row}")


class Spooled(Parquet):
    """A query's result, kept in a temporary folder as long as this object lives."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, (folder / "rows.parquet",))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def open_rows(source: Any, database: str | Path | None = None) -> Rows:
    """The rows of a path (CSV, TSV, Parquet, or a folder of Parquet files), a query or a table of DuckDB's
    `database`, or a frame of Polars, pandas or Arrow. Raises InputError where there is nothing to read.
    """
    if not isinstance(source, str | Path):
        return Frame("the frame", _frame(source))
    path, name = Path(source), str(source)
    if len(name.split()) > 1 and not path.exists():
        return query(name, database)
    if database is not None and not path.exists():
        return query(
            "FROM " + ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".")), database, name
        )
    if path.is_dir():
        files = tuple(sorted(file for file in path.rglob("*") if file.suffix in PARQUET))
        if not files:
            raise InputError(f"{name}: the folder has no file that ends with {' or '.join(PARQUET)}")
        return Parquet(name, files)
    if not path.is_file():
        raise InputError(f"{name}: there is no such file; a query needs a word before it, as in SELECT * FROM {name!r}")
    if path.suffix.lower() in PARQUET:
        return Parquet(name, (path,))
    if separator := SEPARATORS.get(path.suffix.lower()):
        table = open_table(path, name, separator)
        if repeated := [name for name in table.header if table.header.count(name) > 1]:
            raise InputError(f"{name}, line 1: the header has more than one column {repeated[0]!r}")
        return Csv(table)
    known = ", ".join([*SEPARATORS, *PARQUET])
    raise InputError(f"{name}: a file ends with {known}; others are read by a query: SELECT * FROM '{name}'")


def query(sql: str, database: str | Path | None = None, name: str = "the query") -> Rows:
    """The result of DuckDB's SQL over `database`, or over what it names itself. Raises InputError."""
    try:
        import duckdb
    except ImportError:
        raise InputError('a query needs DuckDB: pip install "modelyard[graph]"') from None
    if database is not None and not Path(database).is_file():
        raise InputError(f"{database}: there is no such database")
    folder = Path(tempfile.mkdtemp(prefix="modelyard-query-"))
    rows = Spooled(name if name != "the query" else f"the query {show(sql)}", folder)
    try:
        with duckdb.connect(str(database or ":memory:"), read_only=database is not None) as connection:
            relation = connection.sql(sql)
            if relation is None:
                raise InputError(f"DuckDB gives no rows for {show(sql)}; a query begins with SELECT or FROM")
            batches = relation.to_arrow_reader(PIECE_ROWS)
            with pq.ParquetWriter(rows.paths[0], batches.schema) as file:
                for batch in batches:
                    file.write_batch(batch)
    except (duckdb.Error, pa.ArrowException) as error:
        raise InputError(f"DuckDB cannot run {show(sql)}: {error}") from None
    return rows


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from frame.iter_slices(_rows(int(frame.estimated_size()), len(frame)))


def _rows(size: int, rows: int) -> int:
    """The rows of a piece, of a table of `size` bytes."""
    return max(1, min(PIECE_ROWS, rows * PIECE_BYTES // max(1, size)))


def _frame(source: Any) -> pl.DataFrame:
    """A frame as Polars has it, without a copy where that is possible."""
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    pandas = sys.modules.get("pandas")  # whoever gives one of its frames has imported it
    if pandas is not None and isinstance(source, pandas.DataFrame):
        source = pa.Table.from_pandas(source, preserve_index=False)
    if isinstance(source, pa.Table | pa.RecordBatch):
        return pl.DataFrame(source)
    raise InputError(f"a table is a path, a query or a frame of Polars, pandas or Arrow, not {type(source).__name__}")


def _fault(name: str, row: int, cell: pl.Series, reason: str) -> InputError:
    return InputError(f"{name}, row {row + 1}, column {cell.name!r}: {show(text(cell)[0] or '')} {reason}")
