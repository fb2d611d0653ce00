"""A query over the tables of a clean room, run where it can reach nothing else.

The allowed columns that it names are loaded first, then DuckDB is closed (no files, no network, no extensions, no
settings), and only then the query runs. Its text was judged before (`modelyard.analysis`); DuckDB's own parser must
still find one SELECT over these tables and no function in FROM. No error that leaves here quotes a row.
"""

import json
import resource
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import duckdb

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.cleanroom.table_files import TableFiles, quoted, relation, table_files, text

SHARD_ROWS = 250_000
POLL = 0.1
"""Seconds between two looks at the clock and at the wish to stop."""
HEADROOM = 1 << 30
"""Bytes beside DuckDB's own limit: strings that are being made are not counted in it."""
RESULT = "(result)"
"""The name of the table that the result is kept in: none that the query may write."""

Value = TypeVar("Value")


def run(context: Context) -> Mapping[str, Any]:
    """Writes the result of `parameters["sql"]` as shards of CSV (RFC 4180, header in each) or Parquet.

    parameters: sql, values (type, text), format (CSV, PARQUET), tables (see `table_files`), memory (bytes), seconds,
    shard_rows (None for one file), header. inputs: the folder or file of each table, by its name.
    Answers {"records", "files", "bytes", "columns"}. InputError with a sentence that holds no value of a row.
    """
    parameters = context.parameters
    memory, spill = parameters["memory"], context.state / "spill"
    tables = [table_files(name, context.inputs[name], one) for name, one in parameters["tables"].items()]
    with (
        _limited_memory(memory),
        _connect(memory, context.cores, spill) as connection,
        ThreadPoolExecutor(1) as thread,
    ):
        watch = _Watch(context, connection, parameters["seconds"])
        named = check_statement(connection, parameters["sql"], [table.name for table in tables])
        for table in tables:
            watch.wait("loading", thread.submit(_load, connection, table, named))
        close(connection, context.output)
        watch.wait("querying", thread.submit(_query, connection, parameters["sql"], parameters["values"]))
        shards = _Shards(connection, context.output, parameters["format"], parameters.get("header", True))
        return watch.wait("writing", thread.submit(shards.write, parameters.get("shard_rows")))


def check_statement(connection: duckdb.DuckDBPyConnection, sql: str, tables: Sequence[str]) -> frozenset[str]:
    """What DuckDB's own parser finds: the names of columns, in lower case; InputError unless it is one plain SELECT."""
    parsed = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree: dict[str, Any] = json.loads(parsed[0]) if parsed else {"error": True}
    if tree["error"] or len(tree["statements"]) != 1:
        raise InputError("The query is not one SELECT statement")
    nodes = list(_nodes(tree["statements"][0]["node"]))
    known = {name.lower() for name in tables}
    known |= {entry["key"].lower() for node in nodes for entry in node.get("cte_map", {}).get("map", ())}
    for node in nodes:
        kind = node.get("type")
        if kind == "BASE_TABLE" and (node["table_name"].lower() not in known or node["schema_name"]):
            raise InputError("The query reads something that is no table of its own")
        if kind in ("TABLE_FUNCTION", "SHOW_REF", "COLUMN_DATA", "PIVOT"):
            raise InputError("The query calls a function in FROM")
    return frozenset(node["column_names"][-1].lower() for node in nodes if node.get("type") == "COLUMN_REF")


def close(connection: duckdb.DuckDBPyConnection, output: Path) -> None:
    """Closes DuckDB for good: from here on it knows its own tables and the folder where the result goes."""
    connection.execute(f"SET allowed_directories=[{text(f'{output}/')}]")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


class _Watch:
    """Waits for DuckDB's work in another thread, so that signals, the clock and progress have this one."""

    def __init__(self, context: Context, connection: duckdb.DuckDBPyConnection, seconds: float) -> None:
        self._context = context
        self._connection = connection
        self._seconds = seconds
        self._end = monotonic() + seconds
        self._told = -1

    def wait(self, phase: str, work: Future[Value]) -> Value:
        """The work's result; Stopped or InputError where it was ended before."""
        while True:
            try:
                return work.result(timeout=POLL)
            except NotYet:
                self._tell(phase)
            except duckdb.InterruptException:
                raise self._reason() from None
            except (duckdb.Error, MemoryError) as error:
                raise InputError(safe_sentence(error)) from None
            if self._context.should_stop() or monotonic() > self._end:
                self._connection.interrupt()

    def _tell(self, phase: str) -> None:
        percent = max(0, round(self._connection.query_progress()))
        if percent != self._told:
            self._context.report(percent, phase=phase, total=100)
            self._told = percent

    def _reason(self) -> Exception:
        if self._context.should_stop():
            return Stopped("The query was stopped")
        return InputError(f"The query took more than {self._seconds} seconds and was ended. Ask for less.")


class _Shards:
    """Writes the table of the result as files of so many rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, output: Path, format: str, header: bool) -> None:
        self._connection = connection
        self._output = output
        self._csv = format == "CSV"
        self._options = f"FORMAT csv, HEADER {header}, DELIMITER ',', NULLSTR ''" if self._csv else "FORMAT parquet"
        described = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {quoted(RESULT)})").fetchall()
        self._columns = dict(described)

    def write(self, rows: int | None) -> Mapping[str, Any]:
        """Writes all rows; InputError for a value that splitting by lines would tear."""
        if self._csv:
            self._check_lines()
        found = self._connection.execute(f"SELECT count(*) FROM {quoted(RESULT)}").fetchone()
        records = int(found[0]) if found else 0
        rows = rows or max(1, records)
        files = [self._shard(number, start, start + rows) for number, start in enumerate(range(0, records or 1, rows))]
        size = sum(file.stat().st_size for file in files)
        return {"records": records, "files": len(files), "bytes": size, "columns": list(self._columns)}

    def _shard(self, number: int, start: int, end: int) -> Path:
        file = self._output / f"part-{number:05d}.{'csv' if self._csv else 'parquet'}"
        rows = f"SELECT {self._chosen()} FROM {quoted(RESULT)} WHERE rowid >= {start} AND rowid < {end}"
        self._connection.execute(f"COPY ({rows}) TO {text(str(file))} ({self._options})")
        return file

    def _chosen(self) -> str:
        """All columns; of one alone, a NULL is written as "", for an empty line is no row to those who read CSV."""
        if not self._csv or len(self._columns) > 1:
            return "*"
        name = quoted(next(iter(self._columns)))
        return f"coalesce(CAST({name} AS VARCHAR), '') AS {name}"

    def _check_lines(self) -> None:
        for name in (name for name, kind in self._columns.items() if kind == "VARCHAR"):
            breaks = " OR ".join(f"contains({quoted(name)}, chr({code}))" for code in (10, 13))
            if self._connection.execute(f"SELECT 1 FROM {quoted(RESULT)} WHERE {breaks} LIMIT 1").fetchone():
                way = f"Write REPLACE({name}, CHR(10), ' ') and the same for CHR(13), or ask for PARQUET"
                raise InputError(f"The output column {name} has line breaks in it, which lines of CSV cannot. {way}.")


def safe_sentence(error: Exception) -> str:
    """What went wrong in DuckDB, in words that hold no value: its own may quote rows."""
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return "The query needs more memory than it may use. Ask for less, or filter earlier."
    if isinstance(error, duckdb.ConversionException):
        return "A value cannot be converted to the type that the query asks for. Use TRY_CAST, or filter such rows."
    if isinstance(error, duckdb.BinderException):
        return "The types in the query do not fit its functions or comparisons. Cast them."
    if isinstance(error, duckdb.OutOfRangeException | duckdb.InvalidInputException):
        return "A computation of the query fails for some row, by overflow or outside a function's domain. Guard it."
    return f"The query could not be run: {type(error).__name__.removesuffix('Exception')}."


@contextmanager
def _limited_memory(memory: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_data() + memory + HEADROOM, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data() -> int:
    """Bytes of memory that this process holds by itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:")), 0)


def _connect(memory: int, cores: int, spill: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "memory_limit": f"{memory}B",
            "temp_directory": str(spill),
            "max_temp_directory_size": f"{4 * memory}B",
            "threads": cores,
        }
    )


def _load(connection: duckdb.DuckDBPyConnection, table: TableFiles, named: frozenset[str]) -> None:
    """Makes a table of the allowed columns that the query names."""
    allowed = {name.lower() for name in table.allowed}
    columns = [name for name in table.columns if name.lower() in allowed]
    columns = [name for name in columns if name.lower() in named] or columns[:1]
    if not columns:
        raise InputError(f"Table {table.name} has none of the columns that may be queried. Correct it in the catalog.")
    chosen = ", ".join(f"CAST({quoted(name)} AS {connection.sqltype(table.columns[name])})" for name in columns)
    names = ", ".join(quoted(name.lower()) for name in columns)
    source = relation(connection, table)
    try:
        connection.execute(f"CREATE TABLE {quoted(table.name)}({names}) AS SELECT {chosen} FROM {source}")
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise InputError(_unlike(table, error)) from None


def _unlike(table: TableFiles, error: duckdb.Error) -> str:
    line = next((word for word in str(error).split("Line:")[1:2]), "").split()
    place = f", at line {line[0]} of a file," if line and line[0].isdigit() else ""
    return f"Table {table.name} has data{place} that is not as its columns and types say. Correct it or its schema."


def _query(connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[tuple[str, str]]) -> None:
    connection.execute(f"CREATE TABLE {quoted(RESULT)} AS {sql}", [value for _, value in values])


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a JSON tree."""
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
