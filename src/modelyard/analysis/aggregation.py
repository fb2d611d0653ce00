"""AGGREGATION rules: aggregates of groups, and no group with fewer distinct identities than the owners ask for.

The thresholds become conditions of HAVING, so a group that misses one is left out without a word.
https://docs.aws.amazon.com/clean-rooms/latest/userguide/analysis-rules-aggregation.html
"""

from collections.abc import Collection, Sequence

from sqlglot import exp

from modelyard.analysis.model import Refused, Table
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

_CLAUSES = ("distinct", "where", "group", "having", "order", "limit")
_AGGREGATES: dict[type[exp.Expr], str] = {exp.Sum: "SUM", exp.Count: "COUNT", exp.Avg: "AVG"}
_SCALARS: dict[type[exp.Expr], tuple[str, ...]] = {
    exp.Abs: ("ABS",),
    exp.Cast: ("CAST", "CONVERT"),
    exp.TryCast: ("CAST", "CONVERT"),
    exp.Ceil: ("CEILING",),
    exp.Coalesce: ("COALESCE",),
    exp.CurrentDate: ("CURRENT_DATE",),
    exp.CurrentTimestamp: ("GETDATE",),
    exp.Interval: ("DATEADD",),
    exp.Extract: ("EXTRACT",),
    exp.Floor: ("FLOOR",),
    exp.Ln: ("LN",),
    exp.Log: ("LOG",),
    exp.Lower: ("LOWER",),
    exp.Round: ("ROUND",),
    exp.Sqrt: ("SQRT",),
    exp.StrToTime: ("TO_DATE", "TO_TIMESTAMP"),
    exp.Substring: ("SUBSTRING",),
    exp.TimeToStr: ("TO_CHAR",),
    exp.Trim: ("TRIM", "RTRIM"),
    exp.Trunc: ("TRUNC",),
    exp.Upper: ("UPPER",),
}


def check_aggregation(bound: Bound, asker: str) -> Sequence[str]:
    """The sentences of the rules that let a query through, whose tree then holds the thresholds; Refused if none do."""
    select = flat_select(bound, "AGGREGATION", _CLAUSES)
    required = [table.name for table in bound.tables if rule(table).get("joinRequired") == "QUERY_RUNNER"]
    if required:
        check_runner_joined(bound, asker, required)
    check_joins(select, bound, "AGGREGATION")
    _check_clauses(select, bound)
    return [sentence for source in list(bound.sources) for sentence in _add_thresholds(select, bound, source)]


def _check_clauses(select: exp.Select, bound: Bound) -> None:
    outputs = [item.this for item in select.expressions]
    for item in outputs:
        _check_value(item, bound, "SELECT", aggregates=True)
    if not any(_has_aggregate(item) for item in outputs):
        raise Refused("AGGREGATE_REQUIRED", "Queries of tables with AGGREGATION rules select at least one aggregate.")
    if where := select.args.get("where"):
        _check_filter(where.this, bound, "WHERE", aggregates=False)
    for item in select.args["group"].expressions if select.args.get("group") else []:
        if not isinstance(item, exp.Literal):
            _check_value(item, bound, "GROUP BY", aggregates=False)
    if having := select.args.get("having"):
        _check_filter(having.this, bound, "HAVING", aggregates=True)
    for ordered in select.args["order"].expressions if select.args.get("order") else []:
        _check_value(ordered.this, bound, "ORDER BY", aggregates=True)
    for cast in list(select.find_all(exp.Cast)):
        if type(cast) is exp.Cast:  # one that fails would tell of a row in a group that is left out
            cast.replace(exp.TryCast(this=cast.this, to=cast.args["to"]))


def _check_filter(node: exp.Expr, bound: Bound, place: str, aggregates: bool) -> None:
    if isinstance(node, LOGIC):
        for part in parts(node):
            _check_filter(part, bound, place, aggregates)
    elif isinstance(node, COMPARISONS):
        for part in parts(node):
            _check_value(part, bound, place, aggregates)
    else:
        raise Refused("NOT_UNDERSTOOD", f"{place} of an AGGREGATION query compares values, with AND, OR and NOT alone.")


def _check_value(node: exp.Expr, bound: Bound, place: str, aggregates: bool) -> None:
    """Dimension columns, values, arithmetic, allowed functions, and allowed aggregates where they may stand."""
    if isinstance(node, exp.Column):
        _check_dimension(node, bound, place)
    elif type(node) in _AGGREGATES and aggregates:
        _check_aggregate(node, bound)
    elif isinstance(node, ARITHMETIC) or type(node) in _SCALARS:
        if type(node) in _SCALARS and not is_literal(node):
            _check_scalar(node, bound)
        for part in parts(node):
            _check_value(part, bound, place, aggregates)
    elif not is_literal(node):
        name = node.sql_name() if isinstance(node, exp.Func) else type(node).__name__.upper()
        raise Refused("FUNCTION_NOT_ALLOWED", f"{place} of an AGGREGATION query cannot use {name}. Leave it out.")


def _check_dimension(column: exp.Column, bound: Bound, place: str) -> None:
    table = bound.source(column).table
    assert table is not None
    if not named(table, "dimensionColumns", column.name):
        code = "OUTPUT_COLUMN_NOT_ALLOWED" if place == "SELECT" else "COLUMN_NOT_ALLOWED"
        reason = f"The column {column.name} is not a dimension of the table: {place} cannot use it. Leave it out."
        raise Refused(code, reason, table.name)


def _check_aggregate(node: exp.Expr, bound: Bound) -> None:
    inner, name = node.this, _AGGREGATES[type(node)]
    if isinstance(inner, exp.Distinct):
        inner, name = inner.expressions[0] if len(inner.expressions) == 1 else inner, f"{name}_DISTINCT"
    if not isinstance(inner, exp.Column) or node.expressions:
        raise Refused("AGGREGATE_NOT_ALLOWED", f"{name} takes one plain column in queries with AGGREGATION rules.")
    table = bound.source(inner).table
    assert table is not None
    pairs = [(one["function"], column) for one in rule(table)["aggregateColumns"] for column in one["columnNames"]]
    if (name, inner.name.lower()) not in [(function, column.lower()) for function, column in pairs]:
        reason = f"The table's rule does not allow {name} of the column {inner.name}. Use an aggregate that it names."
        raise Refused("AGGREGATE_NOT_ALLOWED", reason, table.name)


def _check_scalar(node: exp.Expr, bound: Bound) -> None:
    words = _words(node)
    for table in _tables_in(node, bound) or bound.tables:
        if not set(words) & set(rule(table)["scalarFunctions"]):
            reason = f"The table's rule does not allow the function {words[0]}. Leave it out."
            raise Refused("FUNCTION_NOT_ALLOWED", reason, table.name)


def _words(node: exp.Expr) -> Sequence[str]:
    """AWS's names of a function; some of its functions are written for DuckDB with a cast."""
    words = _SCALARS[type(node)]
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.StrToTime):
        return *words, "TO_DATE"
    if (
        isinstance(node, exp.Cast)
        and isinstance(node.parent, exp.Add)
        and isinstance(node.parent.expression, exp.Interval)
    ):
        return *words, "DATEADD"
    return words


def _tables_in(node: exp.Expr, bound: Bound) -> Collection[Table]:
    found = [bound.source(column).table for column in node.find_all(exp.Column)]
    return [table for table in found if table]


def _has_aggregate(node: exp.Expr) -> bool:
    return any(type(part) in _AGGREGATES for part in node.walk())


def _add_thresholds(select: exp.Select, bound: Bound, alias: str) -> Sequence[str]:
    """HAVING COUNT(DISTINCT column) >= minimum for every constraint of one table in FROM."""
    table = bound.sources[alias].table
    assert table is not None
    if not rule(table)["outputConstraints"]:
        raise Refused(
            "NOT_UNDERSTOOD", "The table's rule has no output constraints. Its owner must add one.", table.name
        )
    if having := select.args.get("having"):
        having.set("this", exp.Paren(this=having.this))
    sentences = []
    for constraint in rule(table)["outputConstraints"]:
        name, minimum = constraint["columnName"], int(constraint["minimum"])
        if constraint["type"] != "COUNT_DISTINCT" or name.lower() not in {one.lower() for one in table.columns}:
            reason = f"The constraint on the column {name} is not understood. The table's owner must change it."
            raise Refused("NOT_UNDERSTOOD", reason, table.name)
        column = exp.column(name, table=alias, quoted=True)
        select.having(exp.Count(this=exp.Distinct(expressions=[column])) >= minimum, copy=False)
        sentences.append(f"{table.name}: only groups with at least {minimum} distinct values of {name}.")
    return sentences
