"""The labels of a node task: classes or numbers, and the split of the labelled nodes.

What does not depend on whether nodes or edges have the labels is shared with `edge_labels`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import NONE, TRAIN, VALID, Task, TaskType, read_graph
from modelyard.workloads.graph.processing.encoders import split_categories
from modelyard.workloads.graph.processing.export import Export, LabelSpec, NodeFile
from modelyard.workloads.graph.processing.features import parse_numbers
from modelyard.workloads.graph.processing.nodes import NodeIndex, label_cells
from modelyard.workloads.graph.processing.splits import SPLIT, mark, random_split
from modelyard.workloads.graph.processing.table import Table, open_table

MAX_LABEL_BYTES = 2 << 30


@dataclass(frozen=True)
class Labels:
    """`values` and `split` as the processed graph holds them, and the task with its classes."""

    task: Task
    values: np.ndarray
    split: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def num_labelled(self) -> int:
        """Nodes or edges that have a label."""
        return int(is_labelled(self.values).sum())

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """By their names in the file."""
        return {"labels": self.values, "split": self.split}


def read_labels(
    export: Export,
    files: Sequence[NodeFile],
    index: NodeIndex,
    cells: pl.Series,
    random: np.random.Generator,
    previous: Path | None = None,
) -> Labels:
    """Labels and split of the node type of `files`. Raises InputError.

    A node of an earlier job keeps its split, so that what a model was trained on never becomes its test.
    """
    spec = next(label for file in files for label in file.labels)
    split, cells = _custom_split(export, files, index, cells)
    known = read_graph(previous).task.classes if previous else None
    values, classes = label_values(spec, cells, known, lambda row: f"node {index.ids[row]!r} of type {index.name!r}")
    labelled = is_labelled(values)
    if not labelled.any():
        raise InputError(f"{spec.place}: no node of type {index.name!r} has a value in the column {spec.column!r}")
    warnings = label_warnings(spec, split, labelled, classes, "nodes")
    if not spec.split_files:
        split = _split_at_random(spec, values, labelled, random, previous)
    split[~labelled] = NONE
    check_split(spec, split, f"node of type {index.name!r}")
    multilabel = spec.task == "classification" and spec.separator is not None
    kind: TaskType = "node_class" if spec.task == "classification" else "node_regression"
    return Labels(Task(kind, index.name, spec.column, classes, multilabel), values, split, tuple(warnings))


def _custom_split(
    export: Export, files: Sequence[NodeFile], index: NodeIndex, cells: pl.Series
) -> tuple[np.ndarray, pl.Series]:
    """The splits that files give, and the labels with those that the files override."""
    split = np.full(len(index), NONE, np.uint8)
    for file, spec, part, table in _split_tables(export, files):
        id_column = table.column(file.id_column)
        label = table.column(spec.column) if table.has_column(spec.column) else None
        for batch in table.batches([id_column, *([label] if label else [])]):
            rows = index.rows(batch, id_column)
            mark(split, rows, SPLIT[part], batch, id_column)
            if label:
                cells = _override(cells, rows, label_cells(batch, label, spec))
    return split, cells


def _split_tables(export: Export, files: Sequence[NodeFile]) -> Iterator[tuple[NodeFile, LabelSpec, str, Table]]:
    seen = set()
    for file in files:
        for spec in file.labels:
            for part, name in spec.split_files.items():
                if (part, name) not in seen:
                    seen.add((part, name))
                    path = export.path(name, f"{spec.place}.custom_split_filenames.{part}")
                    yield file, spec, part, open_table(path, name, file.separator)


def _override(cells: pl.Series, rows: np.ndarray, labels: pl.Series) -> pl.Series:
    given = pl.DataFrame({"row": rows, "given": labels}).filter(pl.col("given") != "").unique("row", keep="last")
    every = pl.DataFrame({"row": np.arange(len(cells), dtype=np.uint32), "cell": cells})
    joined = every.join(given, on="row", how="left", maintain_order="left")
    return joined.select(pl.coalesce("given", "cell"))["given"]


def label_values(
    spec: LabelSpec, cells: pl.Series, known: tuple[str, ...] | None, named: Callable[[int], str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels as arrays (see `data`), and the classes: `known`, those of an earlier job, or all that occur.

    Raises InputError at a class that is not known; `named` says which row has it.
    """
    if spec.task == "regression":
        return parse_numbers(cells).astype(np.float32), ()
    rows, labels = split_categories(cells, spec.separator)
    classes = tuple(labels.unique().sort().to_list()) if known is None else known
    numbers = labels.replace_strict(list(classes), list(range(len(classes))), default=-1, return_dtype=pl.Int64)
    codes = numbers.to_numpy()
    if len(new := np.flatnonzero(codes < 0)):
        raise InputError(
            f"the label {labels[int(new[0])]!r} of {named(int(rows[new[0]]))} is no class of the previous job; "
            f"process without previousDataProcessingJobId"
        )
    if spec.separator is None:
        single = np.full(len(cells), -1, np.int64)
        single[rows] = codes
        return single, classes
    if len(cells) * len(classes) > MAX_LABEL_BYTES:
        raise InputError(
            f"{spec.place}: {len(classes)} classes for {len(cells)} rows are too many for a multi-label task"
        )
    many = np.zeros((len(cells), len(classes)), np.uint8)
    many[rows, codes] = 1
    return many, classes


def is_labelled(values: np.ndarray) -> np.ndarray:
    """Which rows have a label, bool `[num_rows]`."""
    if values.ndim == 2:
        return np.asarray(values.any(axis=1))
    return ~np.isnan(values) if values.dtype == np.float32 else values >= 0


def _split_at_random(
    spec: LabelSpec,
    values: np.ndarray,
    labelled: np.ndarray,
    random: np.random.Generator,
    previous: Path | None,
) -> np.ndarray:
    split = np.full(len(values), NONE, np.uint8)
    if previous:
        earlier = read_graph(previous).labels()["split"]
        split[: len(earlier)] = earlier
    rows = np.flatnonzero(labelled & (split == NONE))
    split[rows] = random_split(strata(values[rows]), spec.split_rate, random)
    return split


def strata(values: np.ndarray) -> np.ndarray:
    """The groups that a random split spreads evenly: classes where a row has one, else one group; `[num_rows]`."""
    return values if values.dtype == np.int64 else np.zeros(len(values), np.int64)


def check_split(spec: LabelSpec, split: np.ndarray, what: str) -> None:
    """Raises InputError if nothing is left to train or to validate with."""
    for part, code in (("train", TRAIN), ("valid", VALID)):
        if not (split == code).any() and (part == "train" or spec.split_files or spec.split_rate[1]):
            raise InputError(f"{spec.place}: no labelled {what} is in the {part} split")


def label_warnings(
    spec: LabelSpec, split: np.ndarray, labelled: np.ndarray, classes: tuple[str, ...], what: str
) -> list[str]:
    """What is odd about labels, but no error."""
    warnings = []
    if lost := int(((split != NONE) & ~labelled).sum()):
        warnings.append(f"{lost} {what} of the split files have no label {spec.column!r} and are in no split")
    if len(classes) == 1:
        warnings.append(f"every label {spec.column!r} is {classes[0]!r}: there is nothing to tell apart")
    return warnings
