"""Types of columns: Glue's words (Hive's) and DuckDB's."""

import re

_WORDS = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "binary": "BLOB",
}
_SYNONYMS = {"integer": "INTEGER", "byte": "TINYINT", "short": "SMALLINT", "long": "BIGINT", "real": "FLOAT"}
_TEXT = re.compile(r"(var)?char\(\d{1,5}\)")
_DECIMAL = re.compile(r"(?:decimal|numeric)(?:\((\d{1,2})(?:,(\d{1,2}))?\))?")
_WIDEST_DECIMAL = 38


def duckdb_type(word: str) -> str | None:
    """DuckDB's name of one of Glue's types; None for those that queries cannot read (arrays, structs, maps)."""
    text = re.sub(r"\s+", "", word.lower())
    if found := _WORDS.get(text) or _SYNONYMS.get(text):
        return found
    if _TEXT.fullmatch(text):
        return "VARCHAR"
    if decimal := _DECIMAL.fullmatch(text):
        precision, scale = int(decimal[1] or 10), int(decimal[2] or 0)
        return f"DECIMAL({precision},{scale})" if scale <= precision <= _WIDEST_DECIMAL and precision else None
    return None


def glue_type(name: str) -> str:
    """Glue's word for one of DuckDB's types; in DuckDB's own words where Glue has none."""
    return next((word for word, type in _WORDS.items() if type == name), name.lower())
