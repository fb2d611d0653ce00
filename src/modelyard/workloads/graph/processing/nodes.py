"""The nodes of one type, from all of its files: ids, raw features, label cells."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.encodings import Encodings
from modelyard.workloads.graph.processing.export import EdgeFile, Export, FeatureSpec, LabelSpec, NodeFile
from modelyard.workloads.graph.processing.features import BadCell, RawColumn, parse_numbers
from modelyard.workloads.graph.processing.table import Batch, Table, open_table

Progress = Callable[[int], None]
"""Is told how many rows were read; raises Stopped when the task must stop."""


@dataclass
class NodeIndex:
    """Which row a raw id has: `ids` in row order, each once."""

    name: str
    ids: pl.Series
    _rows: pl.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        self._rows = pl.DataFrame({"id": self.ids, "row": pl.arange(0, len(self.ids), dtype=pl.UInt32, eager=True)})

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, batch: Batch, column: str) -> np.ndarray:
        """uint32 `[len(batch)]`: the rows of the ids in a column. Raises InputError at the first that names
        no node.
        """
        cells = batch.check_filled(column)
        rows = cells.to_frame("id").join(self._rows, on="id", how="left", maintain_order="left")["row"]
        if rows.null_count():
            raise batch.fault(int(rows.is_null().arg_max() or 0), column, f"is the id of no node of type {self.name!r}")
        return rows.to_numpy()


@dataclass
class Nodes:
    """All nodes of a type. `labels` are the cells of the label's column, "" where a node has none."""

    index: NodeIndex
    features: list[tuple[FeatureSpec, RawColumn]]
    labels: pl.Series | None
    duplicates: int


def merged(specs: Iterable[FeatureSpec]) -> list[FeatureSpec]:
    """The features that several files of one type describe, each once. Raises InputError where two disagree."""
    known: dict[str, FeatureSpec] = {}
    for spec in specs:
        if known.setdefault(spec.name, spec) != spec:
            raise InputError(
                f"{spec.place}: describes the feature {spec.name!r} otherwise than {known[spec.name].place}"
            )
    return [spec for spec in known.values() if spec.type != "none"]


def tables(export: Export, files: Sequence[NodeFile] | Sequence[EdgeFile]) -> Iterator[Table]:
    """The files, each once, in the order of the configuration."""
    opened = dict.fromkeys((file.file_name, file.separator, f"{file.place}.file_name") for file in files)
    seen = set()
    for name, separator, place in opened:
        if name not in seen:
            seen.add(name)
            yield open_table(export.path(name, place), name, separator)


def read_nodes(
    export: Export,
    files: Sequence[NodeFile],
    encodings: Encodings,
    known: pl.Series | None,
    progress: Progress,
) -> Nodes:
    """Reads all files of one type. `known` are the ids of an earlier job, in its order: they keep their rows.

    Of several rows with one id the first counts. Raises InputError.
    """
    name = files[0].node_type
    spec = next((label for file in files for label in file.labels), None)
    asked = merged(spec for file in files for spec in file.features)
    columns = [(spec, encodings.column(name, spec)) for spec in asked]
    ids, labels = [], []
    for table in tables(export, files):
        described = {s.name: s.column for f in files if f.file_name == table.name for s in f.features}
        id_column = table.column(files[0].id_column)
        label = table.column(spec.column) if spec and _has_label(files, table) else None
        places = {feature: table.column(column) for feature, column in described.items()}
        for batch in table.batches([id_column, *places.values(), *([label] if label else [])]):
            ids.append(batch.check_filled(id_column))
            labels.append(label_cells(batch, label, spec) if spec and label else _empty(len(batch.frame)))
            add_features(batch, columns, places)
            progress(len(batch.frame))
    return _unique(name, ids, columns, labels if spec else None, known)


def label_cells(batch: Batch, column: str, spec: LabelSpec) -> pl.Series:
    """The cells of the label's column. Raises InputError at one that is no number, where regression needs
    numbers.
    """
    cells = batch.frame[column]
    if spec.task == "regression":
        try:
            parse_numbers(cells)
        except BadCell as error:
            raise batch.fault(error.row, column, error.reason) from None
    return cells


def add_features(
    batch: Batch,
    columns: Iterable[tuple[FeatureSpec, RawColumn]],
    places: Mapping[str, str],
    rows: np.ndarray | None = None,
) -> None:
    """Adds a batch (or its `rows`) to the features; `places` are the columns of those that the file
    describes.
    """
    for spec, column in columns:
        place = places.get(spec.name)
        cells = batch.frame[place] if place else _empty(len(batch.frame))
        try:
            column.add(cells if rows is None else cells.gather(rows))
        except BadCell as error:
            if place is None:
                raise InputError(
                    f"{batch.table.name}: lacks the feature {spec.name!r}, which {spec.place} describes "
                    f"for other files of this type without an imputer"
                ) from None
            row = error.row if rows is None else int(rows[error.row])
            raise batch.fault(row, place, error.reason) from None


def _unique(
    name: str,
    ids: list[pl.Series],
    columns: list[tuple[FeatureSpec, RawColumn]],
    labels: list[pl.Series] | None,
    known: pl.Series | None,
) -> Nodes:
    every = pl.concat(ids) if ids else _empty(0)
    all_labels = pl.concat(labels) if labels else None
    first = every.is_first_distinct().arg_true().to_numpy()
    rows = first if known is None else _in_order(name, every, first, known)
    if len(rows) < len(every) or known is not None:
        every = every.gather(rows)
        all_labels = None if all_labels is None else all_labels.gather(rows)
        for _, column in columns:
            column.select(rows)
    return Nodes(NodeIndex(name, every.rename("id")), columns, all_labels, sum(map(len, ids)) - len(first))


def _in_order(name: str, ids: pl.Series, first: np.ndarray, known: pl.Series) -> np.ndarray:
    """The rows of the known ids in their order, then those of the new ones."""
    found = pl.DataFrame({"id": ids.gather(first), "row": first})
    kept = known.to_frame("id").join(found, on="id", how="left", maintain_order="left")
    if kept["row"].null_count():
        lost = kept.filter(pl.col("row").is_null())["id"]
        raise InputError(
            f"{len(lost)} nodes of type {name!r} of the previous job are gone, {lost[0]!r} the first; "
            f"process without previousDataProcessingJobId"
        )
    new = found.join(known.to_frame("id"), on="id", how="anti", maintain_order="left")
    return np.concatenate([kept["row"].to_numpy(), new["row"].to_numpy()])


def _has_label(files: Sequence[NodeFile], table: Table) -> bool:
    return any(file.labels for file in files if file.file_name == table.name)


def _empty(length: int) -> pl.Series:
    return pl.repeat("", length, dtype=pl.String, eager=True)
