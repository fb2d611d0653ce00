"""`python -m modelyard.workloads.cleanroom.schema FOLDER FORMAT`: a table's columns, as its files tell them.

Writes JSON on standard output: {"columns": {name: DuckDB's type}}, of CSV also "delimiter" and "header". Ends with 1
and a sentence on standard error where the files are no table; no value of theirs is quoted.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from modelyard.runner.context import InputError
from modelyard.workloads.cleanroom.table_files import FORMATS, SAMPLE_ROWS, files_of, sniff, text


def schema(path: Path, format: str) -> Mapping[str, Any]:
    """The columns of a file, or of a folder's first file; InputError where there is none or it cannot be read."""
    if format not in FORMATS:
        raise InputError(f"{format} is none of the formats {', '.join(FORMATS)}")
    first = files_of(path.name, path)[0]
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    with connection:
        if format == "csv":
            return sniff(connection, path.name, first, SAMPLE_ROWS)
        reader = {
            "parquet": f"read_parquet({text(str(first))}, hive_partitioning=false)",
            "jsonl": f"read_json({text(str(first))}, format='newline_delimited', sample_size={SAMPLE_ROWS})",
        }[format]
        try:
            described = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM {reader})").fetchall()
        except duckdb.Error:
            raise InputError(f"{first.name} cannot be read as {format}") from None
    return {"columns": dict(described)}


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
