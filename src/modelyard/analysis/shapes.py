"""What queries over LIST and AGGREGATION tables have in common: one flat SELECT, and joins on join columns alone.

Every join must tie its table to one that stands before it, so the tables of a query are all connected; what is asked
of them is then that one of them belongs to the account that queries.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlglot import exp

from modelyard.analysis.grammar import queries
from modelyard.analysis.model import Refused, Table
from modelyard.analysis.scopes import Bound

ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Paren)
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.In, exp.Between, exp.Is)
LOGIC = (exp.And, exp.Or, exp.Not, exp.Paren)


def flat_select(bound: Bound, kind: str, clauses: Collection[str]) -> exp.Select:
    """The query as one SELECT over tables alone, without other clauses than these; else Refused (NOT_UNDERSTOOD)."""
    select = bound.tree
    if not isinstance(select, exp.Select) or select.args.get("with_") or any(True for _ in queries(select)):
        raise _refused(kind, "one SELECT without subqueries, WITH and set operations")
    for clause in ("distinct", "where", "group", "having", "qualify", "order", "limit", "offset"):
        if select.args.get(clause) and clause not in clauses:
            raise _refused(kind, f"no {clause.upper()}")
    return select


def check_joins(select: exp.Select, bound: Bound, kind: str) -> None:
    """Passes over every join; Refused (JOIN_NOT_ALLOWED) if it is not an inner one on allowed columns."""
    before = {select.args["from_"].this.alias}
    for join in select.args.get("joins") or []:
        if join.side or join.kind not in ("", "INNER") or not join.args.get("on"):
            reason = f"{kind} rules know INNER JOIN with ON alone. Write the join so."
            raise Refused("JOIN_NOT_ALLOWED", reason, _table(bound, join.this.alias).name)
        _check_condition(join.args["on"], join.this.alias, before, bound)
        before.add(join.this.alias)


def check_runner_joined(bound: Bound, asker: str, names: Collection[str]) -> None:
    """Refused (JOIN_REQUIRED), with AWS's sentence, if none of the query's tables is the asker's own."""
    if not any(table.owner == asker for table in bound.tables):
        name = next(iter(names))
        raise Refused("JOIN_REQUIRED", f"Inner join to query runner table required for table {name}", name)


def rule(table: Table) -> Mapping[str, Any]:
    """The rule of a table that has one."""
    assert table.rule is not None
    return table.rule


def named(table: Table, member: str, column: str) -> bool:
    """Whether a member of a table's rule names a column, whatever its case."""
    return column.lower() in {name.lower() for name in rule(table).get(member) or ()}


def is_literal(node: exp.Expr) -> bool:
    """Whether a node is a value written in the query, with its sign and type."""
    if isinstance(node, exp.Neg | exp.Paren | exp.Cast):
        return is_literal(node.this)
    return isinstance(node, exp.Literal | exp.Boolean | exp.Null)


def parts(node: exp.Expr) -> Sequence[exp.Expr]:
    """The nodes directly below one, without its types and units."""
    return [child for child in node.iter_expressions() if not isinstance(child, exp.DataType | exp.Var)]


def _check_condition(node: exp.Expr, joined: str, before: Collection[str], bound: Bound) -> None:
    if isinstance(node, exp.Paren):
        _check_condition(node.this, joined, before, bound)
    elif isinstance(node, exp.And | exp.Or):
        word = type(node).__name__.upper()
        for column in node.find_all(exp.Column):
            _check_operator(_table(bound, column.table), word)
        _check_condition(node.this, joined, before, bound)
        _check_condition(node.expression, joined, before, bound)
    else:
        _check_equality(node, joined, before, bound)


def _check_operator(table: Table, word: str) -> None:
    allowed = rule(table).get("allowedJoinOperators")
    if word not in (["AND"] if allowed is None else allowed):
        reason = f"The table's rule does not allow {word} in a join's condition. Write the join without it."
        raise Refused("JOIN_NOT_ALLOWED", reason, table.name)


def _check_equality(node: exp.Expr, joined: str, before: Collection[str], bound: Bound) -> None:
    sides = [node.this, node.expression] if isinstance(node, exp.EQ) else []
    if not all(isinstance(side, exp.Column) for side in sides) or not sides:
        reason = "A join's condition compares a column of each side by '=' alone. Write the rest in WHERE."
        raise Refused("JOIN_NOT_ALLOWED", reason, _table(bound, joined).name)
    aliases = {side.table for side in sides}
    if joined not in aliases or not aliases - {joined} <= set(before) or len(aliases) != 2:
        reason = "Each condition of a join compares a column of the joined table with one of a table before it."
        raise Refused("JOIN_NOT_ALLOWED", reason, _table(bound, joined).name)
    for side in sides:
        table = _table(bound, side.table)
        if not named(table, "joinColumns", side.name):
            reason = f"The column {side.name} is not a join column of the table. Join on one of its join columns."
            raise Refused("JOIN_COLUMN_NOT_ALLOWED", reason, table.name)


def _table(bound: Bound, alias: str) -> Table:
    table = bound.sources[alias].table
    assert table is not None
    return table


def _refused(kind: str, what: str) -> Refused:
    return Refused("NOT_UNDERSTOOD", f"Queries of tables with {kind} rules have {what}. Write the query so.")
