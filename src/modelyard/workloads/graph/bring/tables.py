"""A graph as tables: of nodes, a type each, and of edges, a type each or a column that names the relation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.rows import Rows, open_rows

EdgeName = str | tuple[str, str, str]
"""`source-relation->target`, `(source)-relation-(target)` or the three of them."""

Column = tuple[str, str]
"""The owner of a column, a type of nodes or edges, and the column's name."""

_EDGE = (re.compile(r"\((.+)\)-(.+)-\((.+)\)"), re.compile(r"(.+?)-(.+)->(.+)"), re.compile(r"(.+?)-(.+)-(.+)"))
_COLUMN = re.compile(r"\[(.+)\]")


@dataclass(frozen=True)
class NodeTable:
    """Nodes of a type: their ids are in the column `id`."""

    type: str
    rows: Rows
    id: str

    @property
    def owner(self) -> str:
        """By what name wishes and messages call what is in the table."""
        return self.type

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that say which node a row is."""
        return (self.id,)


@dataclass(frozen=True)
class EdgeTable:
    """Edges from nodes of the type `source` to those of `target`; the ids of their ends are in the columns `start`
    and `end`. The column `relation_column` names each row's relation, or all are of the relation `relation`.
    """

    source: str
    relation: str
    target: str
    rows: Rows
    start: str
    end: str
    relation_column: str | None = None

    @property
    def owner(self) -> str:
        """By what name wishes and messages call what is in the table."""
        relation = f"[{self.relation_column}]" if self.relation_column else self.relation
        return f"{self.source}-{relation}->{self.target}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that say which edge a row is."""
        return self.start, self.end, *([self.relation_column] if self.relation_column else [])


AnyTable = NodeTable | EdgeTable


@dataclass(frozen=True)
class Learned:
    """What a source itself says is to be learned: a column, the task if it is known, and the column of the split."""

    owner: str
    column: str
    task: str | None = None
    split_column: str | None = None


@dataclass(frozen=True)
class Source:
    """A graph that is to be brought. `plain` are columns of numbers that are features as they are."""

    nodes: tuple[NodeTable, ...]
    edges: tuple[EdgeTable, ...]
    learned: Learned | None = None
    plain: frozenset[tuple[str, str]] = frozenset()
    warnings: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[AnyTable, ...]:
        """All of them, those of nodes first."""
        return (*self.nodes, *self.edges)

    def __post_init__(self) -> None:
        for table in self.tables:
            for key in table.keys:
                if key not in table.rows.schema:
                    there = ", ".join(map(repr, table.rows.schema))
                    raise InputError(f"{table.rows.name}: no column {key!r}; there are {there}")
        if not self.tables:
            raise InputError("there is nothing to export: name at least a table of nodes or of edges")


def tables(
    nodes: Mapping[str, Any] | None = None,
    edges: Mapping[EdgeName, Any] | None = None,
    database: str | Path | None = None,
) -> Source:
    """A graph out of tables.

    `nodes` has for each type the table and the column of ids: `("users.parquet", "id")`, or `"users.parquet:id"`.
    `edges` has for each type, `("user", "bought", "item")` or `"user-bought->item"`, the table and the columns of both
    ends: `("orders.csv", "user_id", "item_id")` or `"orders.csv:user_id,item_id"`. A relation in brackets, as in
    `"entity-[predicate]->entity"`, is the column that names each row's relation. A table is a path (CSV, TSV, Parquet,
    a folder of Parquet), a query or a table of the DuckDB file `database`, or a frame of Polars, pandas or Arrow.
    Raises InputError.
    """
    return Source(
        tuple(_node_table(name, *_columns(spec, 1, f"nodes {name!r}"), database) for name, spec in _each(nodes)),
        tuple(_edge_table(name, *_columns(spec, 2, f"edges {name!r}"), database) for name, spec in _each(edges)),
    )


def edge_name(name: EdgeName) -> tuple[str, str, str]:
    """Source, relation and target of an edge type's name. Raises InputError."""
    if isinstance(name, str):
        found = next((match for pattern in _EDGE if (match := pattern.fullmatch(name))), None)
        if found is None:
            raise InputError(f"{name!r} is no type of edges; one is written source-relation->target")
        return found[1], found[2], found[3]
    if len(name) != 3 or not all(isinstance(part, str) and part for part in name):
        raise InputError(f"{name!r} is no type of edges; one is (source, relation, target)")
    return name


def _each(specs: Mapping[Any, Any] | None) -> list[tuple[Any, Any]]:
    """Every table; a list holds several of one type."""
    every = ((name, spec if isinstance(spec, list) else [spec]) for name, spec in (specs or {}).items())
    return [(name, spec) for name, several in every for spec in several]


def _columns(spec: Any, count: int, place: str) -> tuple[Any, list[str]]:
    """The table and its columns of ids."""
    given = spec
    if isinstance(spec, str):
        table, colon, names = spec.rpartition(":")
        spec = (table, *names.split(",")) if colon and table else (spec,)
    wanted = "TABLE:ID" if count == 1 else "TABLE:FROM,TO"
    if not isinstance(spec, tuple) or len(spec) != count + 1 or not all(isinstance(c, str) and c for c in spec[1:]):
        raise InputError(f"{place}: {given!r} must be the table and {count} column{'s' * (count > 1)}, {wanted}")
    return spec[0], list(spec[1:])


def _node_table(name: str, table: Any, columns: list[str], database: str | Path | None) -> NodeTable:
    if not isinstance(name, str) or not name:
        raise InputError(f"nodes {name!r}: a type needs a name")
    return NodeTable(name, open_rows(table, database), columns[0])


def _edge_table(name: EdgeName, table: Any, columns: list[str], database: str | Path | None) -> EdgeTable:
    source, relation, target = edge_name(name)
    column = _COLUMN.fullmatch(relation)
    start, end = columns
    rows = open_rows(table, database)
    return EdgeTable(source, "" if column else relation, target, rows, start, end, column[1] if column else None)
