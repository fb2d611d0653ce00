"""LIST rules: distinct rows of the listed columns, of tables that are joined with the asker's own.

https://docs.aws.amazon.com/clean-rooms/latest/userguide/analysis-rules-list.html
"""

from collections.abc import Sequence

from sqlglot import exp

from modelyard.analysis.model import Refused
from modelyard.analysis.scopes import Bound
from modelyard.analysis.shapes import (
    ARITHMETIC,
    COMPARISONS,
    LOGIC,
    check_joins,
    check_runner_joined,
    flat_select,
    is_literal,
    named,
    parts,
    rule,
)

_CLAUSES = ("distinct", "where", "limit")


def check_list(bound: Bound, asker: str) -> Sequence[str]:
    """The sentences of the rules that let a query through; Refused by the first that does not."""
    select = flat_select(bound, "LIST", _CLAUSES)
    if not select.args.get("distinct"):
        raise Refused("DISTINCT_REQUIRED", "Queries of tables with LIST rules begin with SELECT DISTINCT.")
    check_runner_joined(bound, asker, [table.name for table in bound.tables if table.owner != asker] or [_first(bound)])
    if not select.args.get("joins"):
        raise Refused("JOIN_REQUIRED", f"Inner join to query runner table required for table {_first(bound)}")
    check_joins(select, bound, "LIST")
    for item in select.expressions:
        _check_value(item.this, bound, "SELECT", "OUTPUT_COLUMN_NOT_ALLOWED")
    if where := select.args.get("where"):
        _check_filter(where.this, bound)
    return [f"{table.name}: LIST rule, joined on {_names(rule(table)['joinColumns'])}." for table in bound.tables]


def _check_filter(node: exp.Expr, bound: Bound) -> None:
    if isinstance(node, LOGIC):
        for part in parts(node):
            _check_filter(part, bound)
    elif isinstance(node, COMPARISONS):
        for part in parts(node):
            _check_value(part, bound, "WHERE", "COLUMN_NOT_ALLOWED")
    else:
        raise Refused(
            "NOT_UNDERSTOOD", "WHERE of a LIST query compares columns with values, with AND, OR and NOT alone."
        )


def _check_value(node: exp.Expr, bound: Bound, place: str, code: str) -> None:
    """Listed columns and values, with arithmetic between them."""
    if isinstance(node, exp.Column):
        table = bound.source(node).table
        assert table is not None
        if not named(table, "listColumns", node.name):
            reason = f"The column {node.name} is not a list column of the table: {place} cannot use it. Leave it out."
            raise Refused(code, reason, table.name)
    elif isinstance(node, ARITHMETIC):
        for part in parts(node):
            _check_value(part, bound, place, code)
    elif not is_literal(node):
        raise Refused("FUNCTION_NOT_ALLOWED", f"{place} of a LIST query takes columns and arithmetic alone.")


def _first(bound: Bound) -> str:
    return bound.tables[0].name


def _names(columns: Sequence[str]) -> str:
    return ", ".join(columns)
