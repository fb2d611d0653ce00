"""The tables that a text names, whatever their rules say."""

from sqlglot import exp

from modelyard.analysis.model import Analysis
from modelyard.analysis.statement import read


def references(analysis: Analysis) -> list[str]:
    """The names of tables in a query, sorted, without those that it defines itself. Refused if it is no query."""
    tree, _ = read(analysis)
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    named = {table.name for table in tree.find_all(exp.Table) if isinstance(table.this, exp.Identifier)}
    return sorted(name for name in named if name.lower() not in own)
