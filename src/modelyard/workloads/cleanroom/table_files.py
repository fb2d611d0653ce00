"""A table's files: CSV, Parquet or JSONL, as DuckDB is told to read them.

What a file holds is its owner's, and no sentence that is raised here quotes any of it but names of columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from modelyard.runner.context import InputError

FORMATS = ("csv", "parquet", "jsonl")
SAMPLE_ROWS = 1_000_000
"""Rows that types are told from."""
DIALECT_ROWS = 1000
"""Rows that a delimiter and a header are told from."""
_PATTERNS = frozenset("*?[]{}")


@dataclass(frozen=True)
class TableFiles:
    """A table as it lies in files.

    columns: all of them, in order, with DuckDB's types; of CSV, one that begins with "(" is known by its place alone.
    allowed: those that a query may see, whatever their case. header, delimiter: CSV's, None to find out.
    partitions: columns that no file holds, but the names of folders do, `name=value`.
    """

    name: str
    files: Sequence[Path]
    format: str
    columns: Mapping[str, str]
    allowed: Sequence[str]
    header: bool | None = None
    delimiter: str | None = None
    partitions: Sequence[str] = ()

    @property
    def held(self) -> Mapping[str, str]:
        """The columns that the files hold themselves."""
        return {name: kind for name, kind in self.columns.items() if name not in self.partitions}


def table_files(name: str, path: Path, described: Mapping[str, Any]) -> TableFiles:
    """A table from its description in a task's parameters and the folder or file where it lies."""
    options = {word: described[word] for word in ("header", "delimiter", "partitions") if word in described}
    return TableFiles(
        name, files_of(name, path), described["format"], described["columns"], described["allowed"], **options
    )


def files_of(name: str, path: Path) -> Sequence[Path]:
    """The files of a table, in the order of their names; those that tools leave beside (_SUCCESS, .crc) are none.

    InputError where there are none, or one that is no plain file.
    """
    if path.is_file():
        return [path]
    found = [one for one in sorted(path.rglob("*")) if not _left_beside(one.relative_to(path))]
    for one in found:
        if one.is_symlink() or not (one.is_file() or one.is_dir()):
            raise InputError(f"Table {name} has something in its folder that is no plain file. Remove it.")
        if _PATTERNS & set(one.name):
            raise InputError(
                f"Table {name} has a file whose name holds one of {''.join(sorted(_PATTERNS))}. Rename it."
            )
    if not (files := [one for one in found if one.is_file()]):
        raise InputError(f"Table {name} has no files. Put some into its folder.")
    return files


def relation(connection: duckdb.DuckDBPyConnection, table: TableFiles) -> str:
    """What stands in FROM to read a table; its columns have their types. InputError where a file is not like it."""
    files = f"[{', '.join(text(str(one)) for one in table.files)}]"
    folders = _folders(connection, table)
    if table.format == "parquet":
        return f"read_parquet({files}, {folders}, union_by_name=true)"
    keys = _keys(connection, files) if table.format == "jsonl" else {}
    named = {keys.get(name.lower(), name): _type(connection, kind) for name, kind in table.held.items()}
    types = f"{{{', '.join(f'{text(name)}: {text(kind)}' for name, kind in named.items())}}}"
    if table.format == "jsonl":
        return f"read_json({files}, format='newline_delimited', columns={types}, {folders})"
    delimiter, header = table.delimiter, table.header
    if delimiter is None or header is None:
        sniffed = sniff(connection, table.name, table.files[0], DIALECT_ROWS)
        delimiter, header = delimiter or sniffed["delimiter"], sniffed["header"] if header is None else header
    for file in table.files if header else ():
        _check_header(connection, table, file, delimiter)
    return (
        f"read_csv({files}, auto_detect=false, header={header}, delim={text(delimiter)}, quote='\"', escape='\"', "
        f"columns={types}, null_padding=false, {folders})"
    )


def _folders(connection: duckdb.DuckDBPyConnection, table: TableFiles) -> str:
    """How the names of folders are read."""
    if not table.partitions:
        return "hive_partitioning=false"
    kinds = ", ".join(f"{text(one)}: {_type(connection, table.columns[one])}" for one in table.partitions)
    return f"hive_partitioning=true, hive_types={{{kinds}}}"


def _keys(connection: duckdb.DuckDBPyConnection, files: str) -> Mapping[str, str]:
    """The keys of JSON lines as they are written, by their lower case: catalogs such as Glue know no other."""
    query = f"DESCRIBE FROM read_json({files}, format='newline_delimited', hive_partitioning=false)"
    try:
        return {name.lower(): name for name, *_ in connection.execute(query).fetchall()}
    except duckdb.Error:
        return {}


def sniff(connection: duckdb.DuckDBPyConnection, name: str, file: Path, rows: int) -> dict[str, Any]:
    """What a CSV file's first rows tell of it: columns with types, delimiter, header. InputError where it is none."""
    try:
        query = f"SELECT Delimiter, HasHeader, Columns FROM sniff_csv({text(str(file))}, sample_size={rows})"
        found = connection.execute(query).fetchone()
    except duckdb.Error:
        found = None
    if found is None:
        raise InputError(f"Table {name} has a file {file.name} that cannot be read as CSV. Write it as RFC 4180 says.")
    columns = {one["name"]: one["type"] for one in found[2]}
    if len(columns) != len(found[2]) or len({one.lower() for one in columns}) != len(columns):
        raise InputError(f"Table {name} has two columns of one name in {file.name}. Rename one.")
    return {"columns": columns, "delimiter": found[0], "header": found[1]}


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _left_beside(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _type(connection: duckdb.DuckDBPyConnection, word: str) -> str:
    try:
        return str(connection.sqltype(word))
    except duckdb.Error:
        raise InputError(f"The type {word} of a column is none that DuckDB knows. Correct it in the catalog.") from None


def _check_header(connection: duckdb.DuckDBPyConnection, table: TableFiles, file: Path, delimiter: str) -> None:
    """A CSV file's columns are told by their places: those that are allowed must be called so there."""
    types = ", ".join(f"'{place}': 'VARCHAR'" for place in range(len(table.held)))
    query = (
        f"FROM read_csv({text(str(file))}, auto_detect=false, header=false, all_varchar=true, "
        f"delim={text(delimiter)}, quote='\"', escape='\"', parallel=false, ignore_errors=true, "
        f"columns={{{types}}}) LIMIT 1"
    )
    try:
        first = connection.execute(query).fetchone() or ()
    except duckdb.Error:
        first = ()
    for place, name in enumerate(table.held):
        told = (first[place] or "").strip().lower() if place < len(first) else ""
        if not name.startswith("(") and told != name.lower():
            reason = f"does not call its column {place + 1} {name}, as the table does"
            raise InputError(
                f"Table {table.name} has a file {file.name} whose header {reason}. Give all files one header."
            )
