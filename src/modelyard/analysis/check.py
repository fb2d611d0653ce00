"""The judge: may this query run over these tables, for this account and purpose, and how does its text then read?

The query's names are bound, its tables' gates opened, the rules of their type applied; then the text that will run is
written, read and bound once more, and must give the same columns from the same tables.
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
    from modelyard.analysis.grammar import check_grammar
    from modelyard.analysis.statement import read, write

    tree, values = read(analysis)
    check_grammar(tree)
    bound = bind(tree, tables)
    if not bound.tables:
        raise Refused("UNKNOWN_TABLE", "The query reads no table. Name one in FROM that ListSchemas shows.")
    gates = open_gates(analysis, bound.tables)
    rules = _apply_rules(bound, analysis.asker)
    sql = write(bound.tree)
    _check_again(sql, bound, tables)
    names = [table.name for table in bound.tables]
    return Allowed(sql, values, names, [one.name for one in bound.fields], [*gates, *rules])


def _apply_rules(bound: "Bound", asker: str) -> Sequence[str]:
    from modelyard.analysis.aggregation import check_aggregation
    from modelyard.analysis.lists import check_list

    kind = bound.tables[0].rule["type"] if bound.tables[0].rule else ""
    if kind == "LIST":
        return check_list(bound, asker)
    if kind == "AGGREGATION":
        return check_aggregation(bound, asker)
    return [sentence for table in bound.tables for sentence in _check_outputs(bound, table)]


def _check_outputs(bound: "Bound", table: Table) -> Sequence[str]:
    """CUSTOM rules: no output column derives from a disallowed one, whatever lies between."""
    disallowed = (table.rule or {}).get("disallowedOutputColumns") or []
    for one in bound.fields:
        for owner, column in sorted(one.origins):
            if owner == table.name and column in disallowed:
                reason = (
                    f"The output column {one.name} derives from {column}, which may not be in the output. Leave it out."
                )
                raise Refused("OUTPUT_COLUMN_NOT_ALLOWED", reason, table.name)
    return [f"{table.name}: CUSTOM rule, {', '.join(disallowed)} not in the output."] if disallowed else []


def _check_again(sql: str, bound: "Bound", tables: Mapping[str, Table]) -> None:
    from modelyard.analysis.binding import bind
    from modelyard.analysis.grammar import check_grammar
    from modelyard.analysis.statement import parse

    tree = parse(sql)
    check_grammar(tree)
    again = bind(tree, tables)
    same = list(again.fields) == list(bound.fields)
    if not same or {table.name for table in again.tables} != {table.name for table in bound.tables}:
        raise Refused("NOT_UNDERSTOOD", "The query has two readings. Write it another way.")
