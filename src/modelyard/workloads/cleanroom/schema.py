"""`python -m modelyard.workloads.cleanroom.schema FOLDER FORMAT`: a table's columns, as its files tell them.

Writes JSON on standard output: {"columns": {name: DuckDB's type}}, of CSV also "delimiter" and "header", where folders
are called `name=value` also "partitions". Ends with 1 and a sentence on standard error where the files are no table; no
value of theirs is quoted.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from modelyard.runner.context import InputError
from modelyard.workloads.cleanroom.table_files import FORMATS, SAMPLE_ROWS, files_of, sniff, text


def schema(path: Path, format: str) -> Mapping[str, Any]:
    """The columns of a file, or of a folder's first file and of its folders' names; InputError where there is none or
    it cannot be read.
    """
    if format not in FORMATS:
        raise InputError(f"{format} is none of the formats {', '.join(FORMATS)}")
    files = files_of(path.name, path)
    found = _held(path.name, files[0], format)
    held = {name.lower() for name in found["columns"]}
    partitions = {name: kind for name, kind in _partitions(path, files).items() if name.lower() not in held}
    if not partitions:
        return found
    return {**found, "columns": {**found["columns"], **partitions}, "partitions": list(partitions)}


def _held(name: str, first: Path, format: str) -> Mapping[str, Any]:
    """What a file itself tells."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    with connection:
        if format == "csv":
            return sniff(connection, name, first, SAMPLE_ROWS)
        reader = {
            "parquet": f"read_parquet({text(str(first))}, hive_partitioning=false)",
            "jsonl": f"read_json({text(str(first))}, format='newline_delimited', sample_size={SAMPLE_ROWS}, "
            "hive_partitioning=false)",
        }[format]
        try:
            described = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM {reader})").fetchall()
        except duckdb.Error:
            raise InputError(f"{first.name} cannot be read as {format}") from None
    return {"columns": dict(described)}


def _partitions(path: Path, files: Sequence[Path]) -> Mapping[str, str]:
    """The columns that folders of all files are named by, `name=value`, with a type that fits all values."""
    named = [
        dict(part.split("=", 1) for part in file.relative_to(path).parts[:-1] if "=" in part)
        for file in files
        if file != path
    ]
    if not named or any(one.keys() != named[0].keys() for one in named):
        return {}
    return {name: _kind([one[name] for one in named]) for name in named[0]}


def _kind(values: Sequence[str]) -> str:
    if all(value.isascii() and value.isdigit() and len(value) < 19 for value in values):
        return "BIGINT"
    return "DATE" if all(_is_date(value) for value in values) else "VARCHAR"


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def main(arguments: Sequence[str]) -> int:
    """The command: see the module."""
    if len(arguments) != 2:
        print(f"give a folder and one of {', '.join(FORMATS)}", file=sys.stderr)
        return 2
    try:
        print(json.dumps(schema(Path(arguments[0]), arguments[1])))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
