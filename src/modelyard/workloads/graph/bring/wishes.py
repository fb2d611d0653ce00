"""What a user says about an export, as the command line and Python take it, and what it means for a source."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.tables import Column, EdgeTable, Source, edge_name
from modelyard.workloads.graph.processing.feature_options import OPTIONS

LINK_PREDICTION = "link_prediction"
TASKS = ("classification", "regression")
SPLIT = (0.8, 0.1, 0.1)

_KIND = re.compile(r"(?s)([\w-]+)\s*(\{.*\})?")


@dataclass(frozen=True)
class Wishes:
    """What is asked for; nothing of it has to be.

    `targets` are `TYPE.COLUMN[:TASK]`, with the tasks classification and regression; `features` are
    `TYPE.COLUMN:ENCODING`; both take options as JSON after the word, as in `user.tags:category {"separator": "|"}`.
    `exclude` are `TYPE.COLUMN`. `task` is `link_prediction`, or `link_prediction:SOURCE-RELATION->TARGET`, with commas
    between several. `split` are the parts of train, validation and test; `split_column`, a `TYPE.COLUMN`, holds train,
    valid or test in each row instead. TYPE is a type of nodes, or of edges as `source-relation->target`.
    """

    targets: Sequence[str] = ()
    features: Sequence[str] = ()
    exclude: Sequence[str] = ()
    task: str | None = None
    split: Sequence[float] | None = None
    split_column: str | None = None
    nodes_from_edges: bool = False
    skip_bad_rows: bool = False


@dataclass(frozen=True)
class Asked:
    """A column with what was said about it: a word, an encoding's or a task's, and options."""

    column: Column
    kind: str | None
    options: Mapping[str, Any] = field(default_factory=dict)


def columns(source: Source, wanted: Iterable[str]) -> frozenset[Column]:
    """The columns that are named as `TYPE.COLUMN`. Raises InputError."""
    return frozenset(_column(source, text) for text in wanted)


def features(source: Source, wanted: Iterable[str]) -> dict[Column, Asked]:
    """The encodings that were asked for. Raises InputError."""
    found = {}
    for text in wanted:
        asked = _asked(source, text)
        if asked.kind is None:
            raise InputError(
                f"{text!r}: the encoding is missing; write TYPE.COLUMN:ENCODING, with {', '.join(OPTIONS)}"
            )
        if asked.kind not in OPTIONS:
            raise InputError(f"{text!r}: unknown encoding {asked.kind!r}; there are {', '.join(OPTIONS)}")
        found[asked.column] = asked
    return found


def target(source: Source, wishes: Wishes) -> Asked | None:
    """The column that is to be learned, None for link prediction. Raises InputError."""
    if len(wishes.targets) > 1 or (wishes.targets and wishes.task):
        raise InputError("a job learns one thing: give one target, or link_prediction; export again for another")
    if wishes.targets:
        asked = _asked(source, wishes.targets[0])
        if asked.kind not in (*TASKS, None):
            raise InputError(f"{wishes.targets[0]!r}: unknown task {asked.kind!r}; there are {', '.join(TASKS)}")
        return asked
    if wishes.task or source.learned is None:
        return None
    return Asked((source.learned.owner, source.learned.column), source.learned.task)


def linked(source: Source, wishes: Wishes) -> list[EdgeTable] | None:
    """The tables of edges that are to be predicted; None if that was not asked for. Raises InputError."""
    if wishes.task is None:
        return None
    word, _, names = wishes.task.partition(":")
    if word != LINK_PREDICTION:
        raise InputError(f"unknown task {word!r}; there is {LINK_PREDICTION}; a column is learned with --target")
    if not names:
        return list(source.edges)
    return [table for name in names.split(",") for table in _edge_tables(source, name)]


def rates(split: Sequence[float] | None) -> tuple[float, float, float]:
    """The parts of train, validation and test. Raises InputError."""
    if split is None:
        return SPLIT
    try:
        train, valid, test = map(float, split)
    except (TypeError, ValueError):
        raise InputError(
            f"the split {split!r} must be three parts, of train, validation and test: 0.8,0.1,0.1"
        ) from None
    if train <= 0 or min(valid, test) < 0 or abs(train + valid + test - 1) > 1e-3:
        raise InputError(f"the split {train:g},{valid:g},{test:g} must be parts of 1, and train's above 0")
    return train, valid, test


def _asked(source: Source, text: str) -> Asked:
    """`TYPE.COLUMN[:KIND [{…}]]`; the longest name of a type and a column that fits is meant."""
    for owner, column in sorted(_every(source), key=lambda one: -len(".".join(one))):
        name = f"{owner}.{column}"
        if text == name:
            return Asked((owner, column), None)
        if text.startswith(f"{name}:"):
            return Asked((owner, column), *_kind(text, text[len(name) + 1 :]))
    return Asked(_column(source, text.partition(":")[0]), None)


def _kind(text: str, said: str) -> tuple[str, dict[str, Any]]:
    found = _KIND.fullmatch(said.strip())
    if found is None:
        raise InputError(f'{text!r}: {said!r} is no word, with options as JSON after it: category {{"separator": ";"}}')
    try:
        return found[1], json.loads(found[2]) if found[2] else {}
    except ValueError as error:
        raise InputError(f"{text!r}: the options are not JSON: {error}") from None


def _column(source: Source, text: str) -> Column:
    for owner, column in _every(source):
        if text == f"{owner}.{column}":
            return owner, column
    there = [f"{owner}.{column}" for owner, column in _every(source)]
    raise InputError(f"{text!r} is no column; there are {', '.join(there[:30])}{' …' if len(there) > 30 else ''}")


def _every(source: Source) -> list[Column]:
    """All columns but those of ids, each once."""
    return [
        *dict.fromkeys((t.owner, column) for t in source.tables for column in t.rows.schema if column not in t.keys)
    ]


def _edge_tables(source: Source, name: str) -> list[EdgeTable]:
    wanted = edge_name(name.strip())
    found = [t for t in source.edges if (t.source, t.relation or f"[{t.relation_column}]", t.target) == wanted]
    if not found:
        there = ", ".join(repr(table.owner) for table in source.edges)
        raise InputError(f"{name.strip()!r} is no type of edges here; there are {there}")
    return found
