"""The judge: may this query run over these tables, for this account and purpose, and how does its text then read?

The query's names are bound and the text that will run is written. That text alone is judged: it is read again, must be
understood whole and give the same columns from the same tables; then the tables' gates and rules are asked.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modelyard.analysis.gates import open_gates, readiness
from modelyard.analysis.model import Allowed, Analysis, Refused, Table

if TYPE_CHECKING:
    from modelyard.analysis.scopes import Bound

__all__ = ["check", "readiness"]


def check(analysis: Analysis, tables: Mapping[str, Table]) -> Allowed:
    """What may run of an analysis over a collaboration's tables (by their names in SQL).

    A few milliseconds; sqlglot is imported at the first call. Refused by the first rule that says no.
    """
    try:
        return _judged(analysis, tables)
    except RecursionError:
        raise Refused("TOO_LONG", "The query is nested too deeply to be judged. Write it flatter.") from None


def _judged(analysis: Analysis, tables: Mapping[str, Table]) -> Allowed:
    from modelyard.analysis.binding import bind
    from modelyard.analysis.grammar import check_names
    from modelyard.analysis.statement import read, write

    tree, values = read(analysis)
    check_names(tree)
    first = bind(tree, tables)
    if not first.tables:
        raise Refused("UNKNOWN_TABLE", "The query reads no table. Name one in FROM that ListSchemas shows.")
    sql = write(first.tree)
    bound = _read_again(sql, first, tables)
    gates = open_gates(analysis, bound.tables)
    rules = _apply_rules(bound, analysis.asker)
    if _kind(bound) == "AGGREGATION":
        sql = write(bound.tree)  # with the thresholds
        _read_again(sql, first, tables)
    names = [table.name for table in bound.tables]
    return Allowed(sql, values, names, [one.name for one in bound.fields], [*gates, *rules])


def _read_again(sql: str, first: "Bound", tables: Mapping[str, Table]) -> "Bound":
    """The text that will run, as DuckDB's words: it must be understood whole, and mean what was bound before."""
    from modelyard.analysis.binding import bind
    from modelyard.analysis.grammar import check_grammar
    from modelyard.analysis.statement import parse

    tree = parse(sql)
    check_grammar(tree)
    bound = bind(tree, tables)
    same = list(bound.fields) == list(first.fields)
    if not same or {table.name for table in bound.tables} != {table.name for table in first.tables}:
        raise Refused("NOT_UNDERSTOOD", "The query has two readings. Write it another way.")
    return bound


def _kind(bound: "Bound") -> str:
    return str((bound.tables[0].rule or {}).get("type"))


def _apply_rules(bound: "Bound", asker: str) -> Sequence[str]:
    from modelyard.analysis.aggregation import check_aggregation
    from modelyard.analysis.lists import check_list

    if _kind(bound) == "LIST":
        return check_list(bound, asker)
    if _kind(bound) == "AGGREGATION":
        return check_aggregation(bound, asker)
    return [sentence for table in bound.tables for sentence in _check_outputs(bound, table)]


def _check_outputs(bound: "Bound", table: Table) -> Sequence[str]:
    """CUSTOM rules: no output column derives from a disallowed one, whatever lies between."""
    from modelyard.analysis.shapes import named

    disallowed = (table.rule or {}).get("disallowedOutputColumns") or []
    for one in bound.fields:
        for owner, column in sorted(one.origins):
            if owner == table.name and named(table, "disallowedOutputColumns", column):
                reason = (
                    f"The output column {one.name} derives from {column}, which may not be in the output. Leave it out."
                )
                raise Refused("OUTPUT_COLUMN_NOT_ALLOWED", reason, table.name)
    return [f"{table.name}: CUSTOM rule, {', '.join(disallowed)} not in the output."] if disallowed else []
