"""The schema of a table as its files tell it: read by a short process of its own, since the server reads no data."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

SECONDS = 60
"""How long a schema may take to read."""
_LOOKED_AT = 10_000
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".jsonl.gz": "jsonl",
}


class NoSchema(Exception):
    """The files are no table; the message says why, and quotes no value of theirs."""


@dataclass(frozen=True)
class Schema:
    """What files say of themselves. columns: names, in order, with DuckDB's types. options: see `Location`."""

    format: str
    columns: Mapping[str, str]
    options: Mapping[str, Any]


async def read_schema(path: Path, format: str | None) -> Schema:
    """The schema of a file, or of all files of a folder; without a format, that of which the names tell. NoSchema."""
    return await asyncio.to_thread(_read, path, format)


def _read(path: Path, format: str | None) -> Schema:
    format = format or _told(path)
    command = [sys.executable, "-m", "modelyard.workloads.cleanroom.schema", str(path), format]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise NoSchema(f"its schema could not be read within {SECONDS} seconds") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoSchema(lines[-1][:500] if lines else f"its schema could not be read: status {done.returncode}")
    found = json.loads(done.stdout)
    return Schema(format, found.pop("columns"), found)


def _told(path: Path) -> str:
    """The format that the names of files tell; NoSchema if they tell of none, or of several."""
    formats = {_format(one.name) for one in _files(path)} - {None}
    if len(formats) != 1:
        told = f"of several formats: {', '.join(sorted(map(str, formats)))}" if formats else "of no format"
        raise NoSchema(f"the names of its files tell {told}; give one of csv, parquet, jsonl")
    return str(formats.pop())


def _files(path: Path) -> Iterator[Path]:
    """The files of a table: without those that tools leave beside, which begin with a dot or an underscore."""
    if path.is_file():
        yield path
    for one in islice(path.rglob("*"), _LOOKED_AT):
        if one.is_file() and not one.name.startswith((".", "_")):
            yield one


def _format(name: str) -> str | None:
    return next((format for ending, format in _ENDINGS.items() if name.lower().endswith(ending)), None)
