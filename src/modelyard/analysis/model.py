"""The words of the analysis rules: tables with their rules, a query that asks for them, what is allowed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Purpose(StrEnum):
    """Where a query's rows go: to a member, or into an additional analysis (a channel) that nobody may read."""

    DIRECT = "DIRECT_ANALYSIS"
    ADDITIONAL = "ADDITIONAL_ANALYSIS"


@dataclass(frozen=True)
class Table:
    """A table as a query sees it: its name in SQL, the columns that exist for queries, and its owner's rules.

    columns: the allowed columns alone, by name, with DuckDB's types.
    rule: the members of AWS's policy and `type` (LIST, AGGREGATION, CUSTOM); None where the table has no rule.
    association_rule: the collaboration's rule of the association, same form; None where there is none.
    arn: the association's.
    """

    name: str
    owner: str
    columns: Mapping[str, str]
    rule: Mapping[str, Any] | None
    association_rule: Mapping[str, Any] | None
    arn: str


@dataclass(frozen=True)
class Parameter:
    """A template's parameter: AWS's type word and the value where the caller gives none."""

    type: str
    default: str | None = None


@dataclass(frozen=True)
class Template:
    """An analysis template that a query's text was taken from. `author` is the account that made it."""

    arn: str
    author: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Analysis:
    """What is asked: a text in SQL, by whom, and where its rows go.

    receivers: the accounts that are to get the result of a direct query.
    model_association: ARN of the algorithm's association that an additional analysis feeds.
    values: by parameter of the template, as the caller wrote them.
    """

    sql: str
    asker: str
    purpose: Purpose
    receivers: Sequence[str] = ()
    model_association: str | None = None
    template: Template | None = None
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Allowed:
    """A query that every rule lets through.

    sql: DuckDB's dialect, thresholds added, written anew from the tree that was judged.
    values: (DuckDB's type, text) for $1, $2 ... of the text: bound, never pasted.
    tables: names of the tables that are read. columns: the output's names, in order.
    rules: a sentence for each rule that was applied.
    """

    sql: str
    values: Sequence[tuple[str, str]]
    tables: Sequence[str]
    columns: Sequence[str]
    rules: Sequence[str]


class Refused(Exception):
    """A rule says no.

    code: a readiness code of AWS's (ANALYSIS_RULE_MISSING ...) or one of ours (SYNTAX, UNKNOWN_COLUMN ...).
    table: whose rule it is; None where the query alone is wrong.
    reason: a sentence that names the place and the way out, and never a row's value.
    """

    def __init__(self, code: str, reason: str, table: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.table = table

    @property
    def told(self) -> str:
        """Table, code and reason, as clients read them."""
        return f"{f'table {self.table}: ' if self.table else ''}{self.code}: {self.reason}"
