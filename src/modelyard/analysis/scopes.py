"""What names mean: the columns that sources offer, the scopes in which they are seen, and a query bound to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlglot import exp

from modelyard.analysis.model import Table

Origins = frozenset[tuple[str, str]]
NOTHING: Origins = frozenset()


@dataclass(frozen=True)
class Field:
    """A column that a source or a query offers: its name and the (table, column) pairs that it derives from."""

    name: str
    origins: Origins


@dataclass(frozen=True)
class Source:
    """What stands in FROM: its name in the text that runs, its columns, and the table if it is one."""

    alias: str
    fields: Sequence[Field]
    table: Table | None = None

    def find(self, name: str) -> Field | None:
        """The column of a name, whatever its case."""
        return self._by_name.get(name.lower())

    @cached_property
    def _by_name(self) -> Mapping[str, Field]:
        return {one.name.lower(): one for one in self.fields}


@dataclass
class Scope:
    """The names that an expression may use: the sources of its SELECT, and those around it.

    merged: what the columns of USING stand for. projections: what the names of SELECT stand for.
    conditions: the columns that rows are chosen and joined by.
    """

    key: str
    outer: "Scope | None"
    ctes: Mapping[str, Source]
    sources: dict[str, Source] = field(default_factory=dict)
    merged: dict[str, exp.Expr] = field(default_factory=dict)
    projections: dict[str, exp.Alias] = field(default_factory=dict)
    conditions: Origins = NOTHING

    @property
    def constants(self) -> Origins:
        """Stands for the origins of constants that are joined here, until all conditions are known."""
        return frozenset({("", self.key)})

    def settled(self, origins: Origins) -> Origins:
        """Origins with this scope's conditions in place of its constants."""
        return origins - self.constants | self.conditions if self.constants & origins else origins


@dataclass
class Bound:
    """A query whose names are resolved. `tree` was rewritten in place.

    fields: its output columns. sources: all of FROM's sources, by their unique names.
    """

    tree: exp.Query
    fields: Sequence[Field]
    sources: Mapping[str, Source]

    @property
    def tables(self) -> Sequence[Table]:
        """The tables that are read, each once."""
        return list({source.table.name: source.table for source in self.sources.values() if source.table}.values())

    def source(self, column: exp.Column) -> Source:
        """Where a column of the tree comes from."""
        return self.sources[column.table]
