"""One reading of all tables: how many nodes and edges there are, what the columns hold, what is wrong with ids."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring import cells
from modelyard.workloads.graph.bring.ids import Hashes, hashed
from modelyard.workloads.graph.bring.profile import Profile
from modelyard.workloads.graph.bring.rows import Rows
from modelyard.workloads.graph.bring.tables import AnyTable, Column, EdgeTable, NodeTable, Source
from modelyard.workloads.graph.processing.edges import MAX_TYPES

RESERVED = frozenset({"~id", "~label", "~from", "~to", "~fromLabels", "~toLabels"})
"""The exporter's own columns: what a table has of them beside its ids is not a property."""


@dataclass(frozen=True)
class Piece:
    """Rows of a table as they are to be written: the text of their ids, the other columns as they came, and the
    number of each row in the table.
    """

    keys: dict[str, pl.Series]
    frame: pl.DataFrame
    rows: np.ndarray

    def filter(self, mask: np.ndarray) -> "Piece":
        """Only the rows of the mask."""
        kept = pl.Series(mask, dtype=pl.Boolean)
        keys = {name: ids.filter(kept) for name, ids in self.keys.items()}
        return Piece(keys, self.frame.filter(kept) if self.frame.width else self.frame, self.rows[mask])

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Survey:
    """What was found in a source. `nodes` and `edges` count what will be written, by type and by relation."""

    source: Source
    excluded: frozenset[Column] = frozenset()
    nodes_from_edges: bool = False
    skip_bad_rows: bool = False
    nodes: dict[str, int] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    profiles: dict[Column, Profile] = field(default_factory=dict)
    ids: dict[str, Hashes] = field(default_factory=lambda: defaultdict(lambda: Hashes(keeps_repeated=True)))
    added: dict[str, Hashes] = field(default_factory=lambda: defaultdict(Hashes))
    """Ends of edges that no table of nodes has, by type, where nodes are made of them."""
    not_finite: dict[Column, tuple[Rows, int]] = field(default_factory=dict)
    """Where the first number is that 32 bits cannot hold, in columns of numbers."""
    skipped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Rows that are left out, by the reason."""

    def read(self) -> "Survey":
        """Reads everything once. Raises InputError at what is wrong and not to be left out."""
        for table in self.source.nodes:
            for piece in self.pieces(table, counted=True):
                self.ids[table.type].add(hashed(piece.keys[table.id]))
                self._profile(table, piece)
        self._check_repeated()
        self.nodes = {table.type: len(self.ids[table.type]) for table in self.source.nodes}
        for edges in self.source.edges:
            missing = _Missing(self, edges)
            for piece in self.pieces(edges, counted=True):
                piece = piece.filter(missing.take(piece))
                self._count(edges, piece)
                self._profile(edges, piece)
            missing.tell()
        for node_type, added in self.added.items():
            self.nodes[node_type] = self.nodes.get(node_type, 0) + len(added)
        return self

    def columns(self, table: AnyTable) -> list[str]:
        """The columns that are written beside the ids."""
        return [name for name in self._properties(table) if cells.can_be_text(table.rows.schema[name])]

    def _properties(self, table: AnyTable) -> list[str]:
        taken = {*table.keys, *RESERVED}
        return [n for n in table.rows.schema if n not in taken and (table.owner, n) not in self.excluded]

    def pieces(self, table: AnyTable, counted: bool = False) -> Iterator[Piece]:
        """A table's rows; those without ids are left out where bad rows are (and `counted`, the first time), else
        InputError is raised.
        """
        start, columns = 0, self.columns(table)
        for frame in table.rows.pieces(list(dict.fromkeys([*table.keys, *columns]))):
            keys = {key: cells.ids(frame[key]) for key in table.keys}
            piece = Piece(keys, frame.select(columns), np.arange(start, start + len(frame)))
            start += len(frame)
            yield self._with_ids(table.rows, piece, counted)

    def _with_ids(self, rows: Rows, piece: Piece, counted: bool) -> Piece:
        filled = np.ones(len(piece), bool)
        for key, ids in piece.keys.items():
            empty = ids.is_null().to_numpy()
            if empty.any() and not self.skip_bad_rows:
                raise rows.fault(
                    int(piece.rows[empty.argmax()]), key, "is empty, but an id is needed; --skip-bad-rows leaves it out"
                )
            if (nul := ids.str.contains("\0", literal=True).fill_null(False).arg_true()).len():
                raise rows.fault(int(piece.rows[int(nul[0])]), key, "holds a NUL byte, which no CSV reader takes")
            filled &= ~empty
        if not filled.all():
            self.skipped[f"{rows.name}: rows without an id"] += int((~filled).sum()) * counted
            return piece.filter(filled)
        return piece

    def _profile(self, table: AnyTable, piece: Piece) -> None:
        for name in self._properties(table):
            key, dtype = (table.owner, name), table.rows.schema[name]
            profile = self.profiles.setdefault(key, Profile(name, dtype))
            if profile.dtype != dtype and (profile.is_list or cells.is_list(dtype)):
                raise InputError(
                    f"{table.rows.name}, column {name!r}: has lists in one table of a type, not in another"
                )
            if name not in piece.frame.columns:
                continue
            before = profile.rows
            profile.add(piece.frame[name])
            if profile.not_finite is not None and key not in self.not_finite:
                self.not_finite[key] = table.rows, int(piece.rows[profile.not_finite - before])

    def _check_repeated(self) -> None:
        """Finds ids that are there twice, in any table of their type."""
        for node_type, known in self.ids.items():
            known.sorted()
            if not len(known.repeated):
                continue
            found = list(self._repeated(node_type, known.repeated))
            first: dict[str, tuple[NodeTable, int]] = {}
            for table, row, id in found:
                if id not in first:
                    first[id] = table, row
                elif not self.skip_bad_rows:
                    earlier, at = first[id]
                    place = f"row {at + 1} of {earlier.rows.name}"
                    raise table.rows.fault(
                        row,
                        table.id,
                        f"is also the id of {place} ({len(found) - len({id for *_, id in found}):,} rows of type "
                        f"{node_type!r} repeat an id); --skip-bad-rows keeps the first row of each",
                    )
            self.skipped[f"nodes {node_type!r}: rows that repeat an id"] += len(found) - len(first)

    def _repeated(self, node_type: str, hashes: np.ndarray) -> Iterator[tuple[NodeTable, int, str]]:
        for table in self.source.nodes:
            start = 0
            for frame in table.rows.pieces([table.id]) if table.type == node_type else ():
                ids = cells.ids(frame[table.id])
                for row in np.flatnonzero(np.isin(hashed(ids), hashes) & ids.is_not_null().to_numpy()).tolist():
                    yield table, start + row, ids[row]
                start += len(frame)

    def _count(self, table: EdgeTable, piece: Piece) -> None:
        relations: Mapping[str, int] = {table.relation: len(piece)}
        if table.relation_column:
            found = piece.keys[table.relation_column].to_frame("relation")
            relations = dict(found.group_by("relation", maintain_order=True).len().iter_rows())
        for relation, count in relations.items():
            self.edges[table.source, relation, table.target] += count
        if len(self.edges) > MAX_TYPES:
            raise InputError(
                f"{table.rows.name}, column {table.relation_column!r}: gives more than {MAX_TYPES} types of edges; "
                "a relation is one of a few words, not an id"
            )


class _Missing:
    """The ends of one table's edges that are no nodes."""

    def __init__(self, survey: Survey, table: EdgeTable) -> None:
        self._survey = survey
        self._table = table
        self._first: tuple[int, str, str] | None = None
        self._count = 0

    def take(self, piece: Piece) -> np.ndarray:
        """The rows whose ends are nodes, or become some."""
        good = np.ones(len(piece), bool)
        for column, node_type in ((self._table.start, self._table.source), (self._table.end, self._table.target)):
            hashes = hashed(piece.keys[column])
            missing = self._survey.ids[node_type].places(hashes) < 0
            if self._survey.nodes_from_edges:
                if missing.any():
                    self._survey.added[node_type].add(np.unique(hashes[missing]))
                continue
            if self._first is None and missing.any():
                self._first = int(piece.rows[missing.argmax()]), column, node_type
            good &= ~missing
        self._count += int((~good).sum())
        return good

    def tell(self) -> None:
        """Raises InputError for the first edge to a missing node, unless bad rows are left out."""
        if self._first is None:
            return
        if self._survey.skip_bad_rows:
            self._survey.skipped[f"{self._table.rows.name}: edges to missing nodes"] += self._count
            return
        row, column, node_type = self._first
        known = any(table.type == node_type for table in self._survey.source.nodes)
        raise self._table.rows.fault(
            row,
            column,
            f"is the id of no node of type {node_type!r} ({self._count:,} such edges"
            + ("" if known else f"; no table of nodes has the type {node_type!r}")
            + "); --nodes-from-edges makes nodes of them, --skip-bad-rows leaves the edges out",
        )
