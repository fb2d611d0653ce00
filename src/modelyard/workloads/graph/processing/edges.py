"""The edges of all types, from all files, as rows of their nodes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.encodings import Encodings
from modelyard.workloads.graph.processing.export import EdgeFile, Export, FeatureSpec, LabelSpec
from modelyard.workloads.graph.processing.features import RawColumn
from modelyard.workloads.graph.processing.nodes import NodeIndex, Progress, add_features, merged
from modelyard.workloads.graph.processing.table import Batch, open_table

MAX_TYPES = 10_000
"""Relations may come from a column; one with an id in it would make a type, and two files, of every edge."""

Key = tuple[str, str, str]


@dataclass
class Edges:
    """The edges of one type: rows of their ends in pieces, raw features, and the label if they are to be
    predicted.
    """

    key: Key
    features: list[tuple[FeatureSpec, RawColumn]]
    label: LabelSpec | None
    sources: list[np.ndarray] = field(default_factory=list)
    dests: list[np.ndarray] = field(default_factory=list)

    def edge_index(self) -> np.ndarray:
        """int64 `[2, num_edges]`."""
        ends = np.empty((2, len(self)), np.int64)
        np.concatenate([*self.sources, np.empty(0, np.uint32)], out=ends[0])
        np.concatenate([*self.dests, np.empty(0, np.uint32)], out=ends[1])
        return ends

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
        self.keys_of_file[file.place] = []
        if relation is None:
            self._type(file, file.relation)
        for batch in table.batches([source, dest, *([relation] if relation else []), *places.values()]):
            ends = self._indexes[file.source].rows(batch, source), self._indexes[file.dest].rows(batch, dest)
            for name, rows in _relations(file, batch, relation):
                edges = self._type(file, name)
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


def _relations(file: EdgeFile, batch: Batch, column: str | None) -> Iterator[tuple[str, np.ndarray | None]]:
    """The relations of a batch with their rows; None for all rows."""
    if column is None:
        yield file.relation, None
        return
    cells = batch.check_filled(column)
    frame = pl.DataFrame({"relation": cells, "row": pl.arange(0, len(cells), dtype=pl.UInt32, eager=True)})
    for (value,), part in frame.partition_by("relation", as_dict=True, maintain_order=True).items():
        yield f"{file.relation}-{value}" if file.relation else str(value), part["row"].to_numpy()
