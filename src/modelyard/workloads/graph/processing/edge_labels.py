"""The labels of an edge task: classes or numbers of the edges of one type, and the split of the labelled edges.

Several edges may join the same two nodes, each with a label of its own. All edges of a pair share a random split, and
so do their reverses where the type joins nodes of one type (see `pairs`). A user's split files name pairs, and single
edges where they and the export's files have the column `~id`; they are taken as they are.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import NONE, Task, TaskType, read_graph
from modelyard.workloads.graph.processing.edges import EDGE_ID, EdgeReader, Edges
from modelyard.workloads.graph.processing.export import EdgeFile, Export, LabelSpec
from modelyard.workloads.graph.processing.labels import (
    Labels,
    check_split,
    is_labelled,
    label_values,
    label_warnings,
    strata,
)
from modelyard.workloads.graph.processing.nodes import NodeIndex, label_cells
from modelyard.workloads.graph.processing.pairs import known_splits, pair_codes
from modelyard.workloads.graph.processing.splits import SPLIT, random_split
from modelyard.workloads.graph.processing.table import Batch, Table, open_table


def read_edge_labels(
    export: Export,
    reader: EdgeReader,
    indexes: Mapping[str, NodeIndex],
    random: np.random.Generator,
    previous: Path | None = None,
) -> Labels:
    """Labels and split of the one edge type that has labels. Raises InputError.

    An edge whose pair of nodes an earlier job has split keeps that split.
    """
    edges = _target(reader)
    spec, cells = edges.label, edges.label_cells()
    assert spec is not None
    edge_index, name = edges.edge_index(), "-".join(edges.key)
    split = np.full(len(edges), NONE, np.uint8)
    if spec.split_files:
        split, cells = _SplitFiles(export, edges, edge_index, indexes).read(reader, cells)
    known = read_graph(previous).task.classes if previous else None
    values, classes = label_values(spec, cells, known, lambda row: _named(edges, edge_index, indexes, row))
    labelled = is_labelled(values)
    if not labelled.any():
        raise InputError(f"{spec.place}: no edge {name!r} has a value in the column {spec.column!r}")
    warnings = label_warnings(spec, split, labelled, classes, "edges")
    if not spec.split_files:
        num_dests = len(indexes[edges.key[2]])
        split = _split_at_random(spec, edges, edge_index, num_dests, values, random, previous)
    split[~labelled] = NONE
    check_split(spec, split, f"edge {name!r}")
    kind: TaskType = "edge_class" if spec.task == "classification" else "edge_regression"
    multilabel = kind == "edge_class" and spec.separator is not None
    task = Task(kind, None, spec.column, classes, multilabel, edges.key)
    return Labels(task, values, split, tuple(warnings))


def _target(reader: EdgeReader) -> Edges:
    """The edges whose labels are learned: one relation, though a file may hold others that have no labels."""
    every = [edges for edges in reader.edges.values() if edges.label is not None]
    labelled = [edges for edges in every if any((cells != "").any() for _, cells in edges.cells)] or every[:1]
    if not labelled:
        raise InputError("graph.edges: no edge has a label")
    if len(labelled) > 1:
        first, second = ("-".join(edges.key) for edges in labelled[:2])
        assert labelled[1].label is not None
        raise InputError(
            f"{labelled[1].label.place}: edges {second!r} have labels, and so have {first!r}; a job learns the labels "
            f"of one edge type, so export the other without them"
        )
    return labelled[0]


def _named(edges: Edges, edge_index: np.ndarray, indexes: Mapping[str, NodeIndex], row: int) -> str:
    source, relation, dest = edges.key
    head, tail = (indexes[name].ids[int(end)] for name, end in zip((source, dest), edge_index[:, row], strict=True))
    return f"the edge {relation!r} from {head!r} to {tail!r}"


def _split_at_random(
    spec: LabelSpec,
    edges: Edges,
    edge_index: np.ndarray,
    num_dests: int,
    values: np.ndarray,
    random: np.random.Generator,
    previous: Path | None,
) -> np.ndarray:
    """A split for each pair that has a labelled edge, spread over the classes by the pair's first one."""
    split = np.full(len(edges), NONE, np.uint8)
    rows = np.flatnonzero(is_labelled(values))
    pairs, first, inverse = np.unique(
        pair_codes(edges.key, edge_index[:, rows], num_dests), return_index=True, return_inverse=True
    )
    of_pair = np.full(len(pairs), NONE, np.uint8)
    if previous:
        graph = read_graph(previous)
        earlier = graph.edges(graph.edge_type_index(edges.key))
        of_pair = known_splits(edges.key, pairs, num_dests, earlier["edge_index"], earlier["split"])
    new = of_pair == NONE
    of_pair[new] = random_split(strata(values[rows])[first[new]], spec.split_rate, random)
    split[rows] = of_pair[inverse]
    return split


class _SplitFiles:
    """The splits that files give to the edges of one type, and the labels that they give anew."""

    def __init__(self, export: Export, edges: Edges, edge_index: np.ndarray, indexes: Mapping[str, NodeIndex]) -> None:
        self._export = export
        self._edges = edges
        self._indexes = indexes
        source, dest = (pl.Series(end.astype(np.uint32)) for end in edge_index)
        rows = pl.arange(0, len(edges), dtype=pl.UInt32, eager=True)
        self._known = pl.DataFrame({"source": source, "dest": dest, "edge": rows})
        if edges.ids:
            self._known = self._known.with_columns(edges.edge_ids().alias("id"))
        self._split = np.full(len(edges), NONE, np.uint8)

    def read(self, reader: EdgeReader, cells: pl.Series) -> tuple[np.ndarray, pl.Series]:
        """The split of every edge, uint8 `[num_edges]`, and its label cell."""
        seen = set()
        for file in self._export.edges:
            if self._edges.key not in reader.keys_of_file[file.place]:
                continue
            for spec in file.labels:
                for part, name in spec.split_files.items():
                    if (part, name) not in seen:
                        seen.add((part, name))
                        path = self._export.path(name, f"{spec.place}.custom_split_filenames.{part}")
                        cells = self._read(file, spec, part, open_table(path, name, file.separator), cells)
        return self._split, cells

    def _read(self, file: EdgeFile, spec: LabelSpec, part: str, table: Table, cells: pl.Series) -> pl.Series:
        source, dest = table.column(file.source_column), table.column(file.dest_column)
        edge_id = table.column(EDGE_ID) if self._edges.ids and table.has_column(EDGE_ID) else None
        label = table.column(spec.column) if table.has_column(spec.column) else None
        for batch in table.batches([source, dest, *(column for column in (edge_id, label) if column)]):
            found = self._edges_of(batch, file, source, dest, edge_id)
            self._mark(found, part, batch, source)
            if label:
                cells = _override(cells, found, label_cells(batch, label, spec))
        return cells

    def _edges_of(self, batch: Batch, file: EdgeFile, source: str, dest: str, edge_id: str | None) -> pl.DataFrame:
        """Rows of the batch (`row`) with the edges that they name (`edge`). Raises InputError where there is none."""
        asked = pl.DataFrame(
            {
                "source": self._indexes[file.source].rows(batch, source),
                "dest": self._indexes[file.dest].rows(batch, dest),
                "row": pl.arange(0, len(batch.frame), dtype=pl.UInt32, eager=True),
            }
        )
        on = ["source", "dest"]
        if edge_id:
            asked, on = asked.with_columns(batch.frame[edge_id].alias("id")), [*on, "id"]
        found = asked.join(self._known, on=on, how="left", maintain_order="left")
        if found["edge"].null_count():
            row = int(found["row"][int(found["edge"].is_null().arg_max() or 0)])
            named = f" with the id {batch.frame[edge_id][row]!r}" if edge_id else ""
            raise batch.fault(row, source, f"has no edge to {batch.frame[dest][row]!r}{named}")
        return found

    def _mark(self, found: pl.DataFrame, part: str, batch: Batch, column: str) -> None:
        edges, code = found["edge"].to_numpy(), SPLIT[part]
        taken = (self._split[edges] != NONE) & (self._split[edges] != code)
        if taken.any():
            place = int(taken.argmax())
            other = next(name for name, number in SPLIT.items() if number == self._split[edges[place]])
            raise batch.fault(int(found["row"][place]), column, f"has an edge that is also in the {other} split")
        self._split[edges] = code


def _override(cells: pl.Series, found: pl.DataFrame, labels: pl.Series) -> pl.Series:
    """The cells of all edges; those that a split file labels (not with an empty cell) have its label."""
    given = found.select("edge", labels.gather(found["row"]).alias("given"))
    given = given.filter(pl.col("given") != "").unique("edge", keep="last")
    every = pl.DataFrame({"edge": pl.arange(0, len(cells), dtype=pl.UInt32, eager=True), "cell": cells})
    joined = every.join(given, on="edge", how="left", maintain_order="left")
    return joined.select(pl.coalesce("given", "cell"))["given"]
