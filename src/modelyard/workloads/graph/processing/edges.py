"""The edges of all types, from all files, as rows of their nodes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.encodings import Encodings
from modelyard.workloads.graph.processing.export import EdgeFile, Export, FeatureSpec, LabelSpec
from modelyard.workloads.graph.processing.features import RawColumn
from modelyard.workloads.graph.processing.nodes import NodeIndex, Progress, add_features, label_cells, merged
from modelyard.workloads.graph.processing.table import Batch, Table, open_table

MAX_TYPES = 10_000
"""Relations may come from a column; one with an id in it would make a type, and two files, of every edge."""

Key = tuple[str, str, str]

EDGE_ID = "~id"
"""The exporter's column of edge ids; files without it are fine."""


@dataclass
class Edges:
    """The edges of one type: rows of their ends in pieces, raw features, and the label if they, or a property of
    theirs, are to be predicted. `cells` and `ids` hold pieces of label cells and of edge ids, by the first edge.
    """

    key: Key
    features: list[tuple[FeatureSpec, RawColumn]]
    label: LabelSpec | None
    sources: list[np.ndarray] = field(default_factory=list)
    dests: list[np.ndarray] = field(default_factory=list)
    cells: list[tuple[int, pl.Series]] = field(default_factory=list)
    ids: list[tuple[int, pl.Series]] = field(default_factory=list)

    def edge_index(self) -> np.ndarray:
        """int64 `[2, num_edges]`."""
        ends = np.empty((2, len(self)), np.int64)
        np.concatenate([*self.sources, np.empty(0, np.uint32)], out=ends[0])
        np.concatenate([*self.dests, np.empty(0, np.uint32)], out=ends[1])
        return ends

    def label_cells(self) -> pl.Series:
        """The cells of the label's column, "" for edges of files without it."""
        return self._whole(self.cells)

    def edge_ids(self) -> pl.Series:
        """The ids of the edges, "" for edges of files without them."""
        return self._whole(self.ids)

    def _whole(self, pieces: Sequence[tuple[int, pl.Series]]) -> pl.Series:
        parts, end = [pl.Series(dtype=pl.String)], 0
        for begin, piece in pieces:
            parts += [pl.repeat("", begin - end, dtype=pl.String, eager=True), piece]
            end = begin + len(piece)
        return pl.concat([*parts, pl.repeat("", len(self) - end, dtype=pl.String, eager=True)])

    def __len__(self) -> int:
        return sum(map(len, self.sources))


class EdgeReader:
    """Reads edge files; `edges` holds what was read, by type, in the order in which types were met.

    `known` are the types of an earlier job, in its order: there may be no others.
    """

    def __init__(
        self,
        export: Export,
        indexes: Mapping[str, NodeIndex],
        encodings: Encodings,
        known: Sequence[Key] | None = None,
    ) -> None:
        self._export = export
        self._indexes = indexes
        self._encodings = encodings
        self._known = known
        self.edges: dict[Key, Edges] = {key: Edges(key, [], None) for key in known or ()}
        self.keys_of_file: dict[str, list[Key]] = {}
        """The edge types that came from the configuration's object at a place."""

    def read(self, file: EdgeFile, progress: Progress) -> None:
        """Reads one file. Raises InputError, for instance at an end that is no node."""
        table = open_table(self._export.path(file.file_name, f"{file.place}.file_name"), file.file_name, file.separator)
        source, dest = table.column(file.source_column), table.column(file.dest_column)
        relation = table.column(file.relation_column) if file.relation_column else None
        places = {spec.name: table.column(spec.column) for spec in file.features if spec.type != "none"}
        label, edge_id = _label_columns(file, table)
        self.keys_of_file[file.place] = []
        if relation is None:
            self._type(file, file.relation)
        others = [column for column in (relation, label, edge_id) if column]
        for batch in table.batches([source, dest, *others, *places.values()]):
            ends = self._indexes[file.source].rows(batch, source), self._indexes[file.dest].rows(batch, dest)
            cells = label_cells(batch, label, file.labels[0]) if label else None
            for name, rows in _relations(file, batch, relation):
                edges = self._type(file, name)
                if cells is not None:
                    edges.cells.append((len(edges), cells if rows is None else cells.gather(rows)))
                if edge_id:
                    ids = batch.frame[edge_id]
                    edges.ids.append((len(edges), ids if rows is None else ids.gather(rows)))
                edges.sources.append(ends[0] if rows is None else ends[0][rows])
                edges.dests.append(ends[1] if rows is None else ends[1][rows])
                add_features(batch, edges.features, places, rows)
            progress(len(batch.frame))

    def _type(self, file: EdgeFile, relation: str) -> Edges:
        key = file.source, relation, file.dest
        if key in self.keys_of_file[file.place]:
            return self.edges[key]
        self.keys_of_file[file.place].append(key)
        edges = self.edges[key] if key in self.edges else self._new_type(file, key)
        edges.label = edges.label or next(iter(file.labels), None)
        if not edges.sources:
            specs = merged(spec for other in self._same_type(file) for spec in other.features)
            edges.features = [(spec, self._encodings.column(key, spec)) for spec in specs]
        return edges

    def _new_type(self, file: EdgeFile, key: Key) -> Edges:
        if self._known is not None:
            raise InputError(
                f"{file.place}: the previous job has no edges {'-'.join(key)!r}; "
                f"process without previousDataProcessingJobId"
            )
        if len(self.edges) == MAX_TYPES:
            raise InputError(f"{file.place}.relation: gives more than {MAX_TYPES} types of edges")
        self.edges[key] = Edges(key, [], None)
        return self.edges[key]

    def _same_type(self, file: EdgeFile) -> Iterator[EdgeFile]:
        """The objects that may give edges of the same types as `file`."""
        for other in self._export.edges:
            if (other.source, other.relation_column, other.relation, other.dest) == (
                file.source,
                file.relation_column,
                file.relation,
                file.dest,
            ):
                yield other


def _label_columns(file: EdgeFile, table: Table) -> tuple[str | None, str | None]:
    """The columns of the label, where a property is learned, and of the ids, where split files may name them."""
    label = next((spec for spec in file.labels if spec.task != "link_prediction"), None)
    if label is None:
        return None, None
    has_ids = label.split_files and table.has_column(EDGE_ID)
    return table.column(label.column), table.column(EDGE_ID) if has_ids else None


def _relations(file: EdgeFile, batch: Batch, column: str | None) -> Iterator[tuple[str, np.ndarray | None]]:
    """The relations of a batch with their rows; None for all rows."""
    if column is None:
        yield file.relation, None
        return
    cells = batch.check_filled(column)
    frame = pl.DataFrame({"relation": cells, "row": pl.arange(0, len(cells), dtype=pl.UInt32, eager=True)})
    for (value,), part in frame.partition_by("relation", as_dict=True, maintain_order=True).items():
        yield f"{file.relation}-{value}" if file.relation else str(value), part["row"].to_numpy()
