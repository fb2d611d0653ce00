"""Which encoding suits a column: what the exporter would have written for it, and why.

Numbers, dates and booleans are what the exporter makes of them by itself; text is told apart by the rules of
`auto`. Source: Neptune User Guide, "Feature encoding in Neptune ML".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from modelyard.workloads.graph.bring.cells import can_be_text, free_separator
from modelyard.workloads.graph.bring.profile import MOST_DISTINCT, Profile

MAX_CATEGORIES = 100
WORDS_OF_TEXT = 3
DATE_PARTS = ("year", "month", "weekday")
BUCKETS = 10


@dataclass(frozen=True)
class Encoding:
    """How a column becomes a feature: a type with its options, or None where it becomes none; and why."""

    type: str | None
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)
    warning: str | None = None


def infer(profile: Profile) -> Encoding:
    """The encoding of a column that nobody said anything about."""
    if reason := useless(profile):
        return Encoding(None, reason)
    if profile.is_list:
        return _of_lists(profile)
    if isinstance(profile.dtype, pl.Boolean) or profile.booleans:
        return Encoding("category", "true or false")
    if profile.dtype.is_temporal() and not isinstance(profile.dtype, pl.Duration | pl.Time):
        return _of_dates(profile, "dates")
    if profile.numbers:
        return Encoding("numerical", f"{_kind(profile)} {_span(profile)}", {"norm": "min-max", "imputer": "median"})
    if profile.dates:
        return _of_dates(profile, "text that is ISO 8601 dates throughout")
    return _of_text(profile)


def useless(profile: Profile) -> str | None:
    """Why no feature can be made of a column, None if one can."""
    if not can_be_text(profile.dtype):
        return f"has the type {profile.dtype}, which is no value, date or flat list"
    if not profile.values:
        return "has no values"
    if profile.distinct == 1 and not profile.missing:
        return "has the same value in every row"
    return None


def completed(kind: str, options: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """The options of a type that somebody chose: what was given, and what the type cannot do without."""
    defaults: dict[str, Any] = {}
    if kind == "numerical":
        defaults = {"norm": "min-max", "imputer": "median"}
    if kind == "bucket_numerical":
        low, high = profile.spread or (0.0, 1.0)
        defaults = {"range": [low, high if high > low else low + 1], "bucket_cnt": BUCKETS, "imputer": "median"}
    if profile.is_list and kind in ("category", "numerical", "auto"):
        defaults["separator"] = free_separator(profile.holds)
    return {key: value for key, value in {**defaults, **options}.items() if value is not None}


def _of_lists(profile: Profile) -> Encoding:
    separator = free_separator(profile.holds)
    if separator is None:
        return Encoding(None, "its values hold every character that could separate them")
    low, high = profile.lengths or (0, 0)
    if profile.numbers and low == high:
        options = {"norm": "min-max", "imputer": "median", "separator": separator}
        return Encoding("numerical", f"vectors of {high} numbers", options)
    what = "numbers" if profile.numbers else "values"
    return Encoding("category", f"lists of {low} to {high} {what}", {"separator": separator})


def _of_dates(profile: Profile, why: str) -> Encoding:
    if isinstance(profile.dtype, pl.Date):
        return Encoding("datetime", why, {"datetime_parts": list(DATE_PARTS)})
    return Encoding("datetime", why)


def _of_text(profile: Profile) -> Encoding:
    """As data processing takes `auto`, but that ids are noticed first, and that text of Parquet is not split."""
    distinct = f"more than {MOST_DISTINCT:,}" if profile.distinct > MOST_DISTINCT else f"{profile.distinct:,}"
    if vectors := [(separator, width) for separator, width in profile.vectors.items() if width > 1]:
        separator, width = vectors[0]
        options = {"norm": "min-max", "imputer": "median", "separator": separator}
        return Encoding("numerical", f"text of {width} numbers with {separator!r} between them", options)
    if profile.words >= WORDS_OF_TEXT * profile.values and profile.distinct > 0.1 * profile.values:
        return Encoding("text_tfidf", f"text of {profile.words / profile.values:.0f} words on average")
    if profile.is_unique and profile.values > 1:
        return Encoding(None, "has another value in every row, as an id has")
    warnings = []
    if profile.distinct > MAX_CATEGORIES:
        warnings.append(f"{distinct} values: the {MAX_CATEGORIES - 1} most frequent have a slot each, all others one")
    if several := next((separator for separator in (";", "|") if separator in profile.holds), None):
        warnings.append(f'some values hold {several!r}; if it separates, ask for category {{"separator": "{several}"}}')
    return Encoding("category", f"text with {distinct} different values", warning="; ".join(warnings) or None)


def _kind(profile: Profile) -> str:
    return "whole numbers" if profile.whole else "numbers"


def _span(profile: Profile) -> str:
    low, high = profile.spread or (0.0, 0.0)
    return f"from {low:g} to {high:g}"
