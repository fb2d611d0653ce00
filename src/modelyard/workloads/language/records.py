"""The records of a batch inference job: JSON Lines files, a record a line.

https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.runner.context import Context, InputError

MAX_LINE = 32 * 1024 * 1024
"""Bytes of one record."""
MAX_NAMED = 20
"""Bad lines that a failure names; the rest is counted."""


class BadRecord(Exception):
    """A line that is no record; the message says why."""


@dataclass(frozen=True)
class Record:
    """One record. line: counts from 1. id: the record's own, or one made of its line. input: a request's body."""

    line: int
    id: str
    input: Mapping[str, Any]


def validate(context: Context) -> Mapping[str, Any]:
    """The job's first stage: how many records there are; InputError names the lines that are none."""
    root, total, bad = context.inputs["records"], 0, 0
    named: list[str] = []
    for file in files(root):
        for number, line in lines(file):
            try:
                parse(number, line)
            except BadRecord as error:
                bad += 1
                if len(named) < MAX_NAMED:
                    named.append(f"{file.name}, line {number}: {error}")
            total += 1
            if total % 10_000 == 0:
                context.report(total, phase="validation")
    least = context.parameters.get("least_records", 1)
    if bad:
        more = f"; and {bad - len(named)} more lines" if bad > len(named) else ""
        raise InputError("; ".join(named) + more)
    if total < least:
        raise InputError(f"{total} records; a job has at least {least}")
    context.report(total, phase="validation", total=total)
    return {"records": total}


def files(root: Path) -> list[Path]:
    """The input files: one file, or all `.jsonl` files below a folder; InputError if there is none."""
    if root.is_file():
        if root.suffix != ".jsonl":
            raise InputError(f"{root.name}: the name of an input file ends in .jsonl")
        return [root]
    found = sorted(path for path in root.rglob("*.jsonl") if path.is_file() and not path.is_symlink())
    if not found:
        raise InputError(f"there is no .jsonl file at {root.name}")
    return found


def read(file: Path) -> Iterator[Record]:
    """The records of a file that was validated; BadRecord if it has changed since."""
    for number, line in lines(file):
        yield parse(number, line)


def lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers. An empty one at the end is none."""
    with file.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise InputError(f"{file.name}, line {number}: a record has at most {MAX_LINE} bytes")
            yield number, line


def parse(number: int, line: bytes) -> Record:
    """The record of a line; BadRecord if it is none."""
    try:
        value = json.loads(line.decode(), parse_constant=_no_constant)
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"no JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRecord('no JSON object; a record is {"recordId": "...", "modelInput": {...}}')
    id, model_input = value.get("recordId"), value.get("modelInput")
    if id is not None and not isinstance(id, str):
        raise BadRecord(f"recordId is no string: {str(id)[:40]}")
    if not isinstance(model_input, dict):
        raise BadRecord("modelInput is no JSON object" if "modelInput" in value else "there is no modelInput")
    return Record(number, id or f"REC{number:08}", model_input)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
