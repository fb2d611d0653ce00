import datetime as dt
from typing import Any

import polars as pl
import pytest

from modelyard.workloads.graph.bring.encoding import Encoding, completed, infer
from modelyard.workloads.graph.bring.profile import Profile


def profile(values: Any, **options: Any) -> Profile:
    series = values if isinstance(values, pl.Series) else pl.Series(values, strict=False, **options)
    known = Profile("c", series.dtype)
    for piece in (series[: len(series) // 2], series[len(series) // 2 :]):
        known.add(piece)
    return known


def encoding(values: Any, **options: Any) -> Encoding:
    return infer(profile(values, **options))


MANY = range(200)


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        ([1, 2, None], "numerical", "whole numbers from 1 to 2"),
        (["1", "2.5", ""], "numerical", "numbers from 1 to 2.5"),
        ([True, False], "category", "true or false"),
        (["TRUE", "false", "true"], "category", "true or false"),
        ([dt.date(2024, 1, 1), dt.date(2024, 1, 2)], "datetime", "dates"),
        (["2024-01-01", "2024-01-02T10:00"], "datetime", "text that is ISO 8601 dates throughout"),
        (["01067", "10115", "01067"], "category", "text with 2 different values"),
        (["0", "0.5", "-1", "10"], "numerical", "numbers from -1 to 10"),
        (["a", "b", "a"], "category", "text with 2 different values"),
        ([f"id{n}" for n in MANY], None, "has another value in every row, as an id has"),
        ([f"the words of {n}" for n in MANY], "text_tfidf", "text of 4 words on average"),
        ([7, 7, 7], None, "has the same value in every row"),
        ([None, None], None, "has no values"),
        ([b"x", b"y"], None, "has the type Binary, which is no value, date or flat list"),
        ([[1, 2], [3, 4]], "numerical", "vectors of 2 numbers"),
        ([[1, 2], [3]], "category", "lists of 1 to 2 numbers"),
        ([["a"], ["b", "c"]], "category", "lists of 1 to 2 values"),
        (["1;2;3", "4;5;6"], "numerical", "text of 3 numbers with ';' between them"),
    ],
)
def test_what_is_inferred(values: list[Any], kind: str | None, why: str) -> None:
    found = encoding(values)
    assert (found.type, found.why) == (kind, why)


def test_numbers_are_what_the_exporter_makes_of_them() -> None:
    assert encoding([1.5, None]).options == {"norm": "min-max", "imputer": "median"}
    assert encoding([dt.date(2024, 1, 1), dt.date(2024, 1, 2)]).options == {
        "datetime_parts": ["year", "month", "weekday"]
    }


def test_a_list_has_a_separator_that_its_values_do_not_hold() -> None:
    assert encoding([["a;b"], ["c|d", "e"]]).options == {"separator": ","}


def test_what_is_worth_a_look() -> None:
    many = encoding([f"v{n % 150}" for n in range(400)])
    assert many.warning == "150 values: the 99 most frequent have a slot each, all others one"
    several = encoding(["a;b", "a;b", "c"])
    assert several.warning is not None
    assert "some values hold ';'" in several.warning


def test_a_type_is_completed_with_what_it_needs() -> None:
    assert completed("bucket_numerical", {"bucket_cnt": 3}, profile([1, 9])) == {
        "range": [1.0, 9.0],
        "bucket_cnt": 3,
        "imputer": "median",
    }
    assert completed("category", {}, profile([["a;"], ["b"]])) == {"separator": "|"}
    assert completed("numerical", {"norm": "none", "imputer": None}, profile([1])) == {"norm": "none"}


def test_what_32_bits_cannot_hold_is_remembered() -> None:
    assert profile([1.0, 2.0, float("inf")]).not_finite == 2
    assert profile([[1.0, 2.0], [1.0], None, [2.0, 1e39]]).not_finite == 3
    assert profile([[1.0, float("nan")], [2.0, None]]).not_finite is None
    assert profile(["1e99", "2"]).not_finite is None, "text may be anything"


def test_a_profile_counts() -> None:
    known = profile(["a", "b", "a", None, ""])
    assert (known.rows, known.missing, known.values, known.distinct) == (5, 2, 3, 2)
    assert known.counts == {"a": 2, "b": 1}
    assert profile([[1], [1, 2]]).counts == {"1": 2, "2": 1}
    assert profile([str(n) for n in range(2000)]).counts is None
