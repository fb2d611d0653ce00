"""Texts and trees: a query's text becomes one SELECT in DuckDB's words, and a judged tree becomes a text again.

The text is read as AWS reads it (Redshift's words, also names between backticks) and written anew for DuckDB, so that
no comment, escape or quote of its author's reaches the engine.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.redshift import Redshift
from sqlglot.errors import ErrorLevel, SqlglotError

from modelyard.analysis.model import Analysis, Refused, Template

MAX_CHARACTERS = 100_000
MAX_TOKENS = 10_000

_TYPES = {
    "BIGINT": "BIGINT",
    "BINARY": "BLOB",
    "BOOLEAN": "BOOLEAN",
    "BYTE": "TINYINT",
    "CHAR": "VARCHAR",
    "CHARACTER": "VARCHAR",
    "DATE": "DATE",
    "DECIMAL": "DECIMAL(38, 12)",
    "DOUBLE": "DOUBLE",
    "DOUBLE_PRECISION": "DOUBLE",
    "FLOAT": "DOUBLE",
    "INT": "INTEGER",
    "INTEGER": "INTEGER",
    "LONG": "BIGINT",
    "NUMERIC": "DECIMAL(38, 12)",
    "REAL": "FLOAT",
    "SHORT": "SMALLINT",
    "SMALLINT": "SMALLINT",
    "STRING": "VARCHAR",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMPTZ": "TIMESTAMPTZ",
    "TIMESTAMP_LTZ": "TIMESTAMPTZ",
    "TIMESTAMP_NTZ": "TIMESTAMP",
    "TIMETZ": "TIMETZ",
    "TINYINT": "TINYINT",
    "VARBYTE": "BLOB",
    "VARCHAR": "VARCHAR",
}


class _Words(Redshift):
    """Redshift's SQL, with names between backticks as Spark has them, and division as both Spark and DuckDB do it."""

    TYPED_DIVISION = False

    class Tokenizer(Redshift.Tokenizer):
        IDENTIFIERS: ClassVar = ['"', "`"]


def read(analysis: Analysis) -> tuple[exp.Query, Sequence[tuple[str, str]]]:
    """The one SELECT of an analysis, in its author's words, and its parameters' values (type, text) in order.

    Refused: SYNTAX, NOT_ONE_SELECT, TOO_LONG, PARAMETER_MISSING, PARAMETER_UNKNOWN.
    """
    _check_size(analysis.sql)
    tree = _one_select(analysis.sql, _Words)
    values = _bind_parameters(tree, analysis.template, analysis.values)
    return tree, values


def parse(sql: str) -> exp.Query:
    """The one SELECT of a text in DuckDB's own words."""
    return _one_select(sql, "duckdb")


def write(tree: exp.Query) -> str:
    """A judged tree as DuckDB's text, every name quoted; the tree is used up. Refused where DuckDB lacks the words."""
    sql = _generated(tree)
    if _has_control_characters(sql):
        raise Refused("SYNTAX", "A text in the query holds control characters. Write it without them.")
    return sql


def _check_size(sql: str) -> None:
    if len(sql) > MAX_CHARACTERS:
        raise Refused(
            "TOO_LONG", f"The query has {len(sql)} characters; at most {MAX_CHARACTERS} are read. Shorten it."
        )
    if _has_control_characters(sql):
        raise Refused("SYNTAX", "The query holds control characters. Write it with spaces, tabs and line ends alone.")


def _has_control_characters(text: str) -> bool:
    return any((code < " " and code not in "\t\r\n") or code == "\x7f" for code in text)


def _one_select(sql: str, dialect: str | type[Redshift]) -> exp.Query:
    try:
        tokens = sqlglot.tokenize(sql, read=dialect)
        if len(tokens) > MAX_TOKENS:
            raise Refused("TOO_LONG", f"The query has {len(tokens)} words; at most {MAX_TOKENS} are read. Shorten it.")
        trees = sqlglot.Dialect.get_or_raise(dialect).parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, sql)
    except (SqlglotError, ValueError) as error:
        raise Refused("SYNTAX", f"The query cannot be read{_place(error)}. Write one SELECT statement.") from None
    except RecursionError:
        raise Refused("TOO_LONG", "The query is nested too deeply to be read. Write it flatter.") from None
    statements = [tree for tree in trees if tree is not None and not isinstance(tree, exp.Semicolon)]
    if len(statements) != 1:
        raise Refused("NOT_ONE_SELECT", f"The text has {len(statements)} statements. Write exactly one SELECT.")
    if not isinstance(statements[0], exp.Select | exp.SetOperation):
        raise Refused("NOT_ONE_SELECT", "The statement is not a SELECT. Write exactly one SELECT.")
    return statements[0]


def _place(error: Exception) -> str:
    places: list[Mapping[str, int]] = getattr(error, "errors", [])
    return f" at line {places[0]['line']}, column {places[0]['col']}" if places and places[0].get("line") else ""


def _generated(tree: exp.Query) -> str:
    try:
        return tree.sql("duckdb", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE, copy=False)
    except (SqlglotError, ValueError):
        raise Refused(
            "NOT_UNDERSTOOD", "The query uses words that the engine has none for. Use simpler ones."
        ) from None
    except RecursionError:
        raise Refused("TOO_LONG", "The query is nested too deeply to be written. Write it flatter.") from None


def _bind_parameters(tree: exp.Query, template: Template | None, given: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    declared = template.parameters if template else {}
    for name in given:
        if name not in declared:
            raise Refused("PARAMETER_UNKNOWN", f"No parameter {name} is declared. Leave it out.")
    values: list[tuple[str, str]] = []
    numbers: dict[str, int] = {}
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter, exp.SessionParameter)):
        name = node.name if isinstance(node, exp.Placeholder) and isinstance(node.this, str) else ""
        if name not in declared:
            raise Refused("PARAMETER_UNKNOWN", "The query has a parameter that no template declares. Write its value.")
        kind = _type(name, declared[name].type)
        if name not in numbers:
            values.append((kind, _value(name, declared[name].default, given)))
            numbers[name] = len(values)
        node.replace(exp.cast(exp.Placeholder(this=str(numbers[name])), kind, dialect="duckdb"))
    return values


def _type(name: str, word: str) -> str:
    if word not in _TYPES:
        raise Refused("PARAMETER_UNKNOWN", f"The parameter {name} has the type {word}, which is not known. Change it.")
    return _TYPES[word]


def _value(name: str, default: str | None, given: Mapping[str, str]) -> str:
    value = given.get(name, default)
    if value is None:
        raise Refused("PARAMETER_MISSING", f"The parameter {name} has no value and no default. Give it one.")
    return value
