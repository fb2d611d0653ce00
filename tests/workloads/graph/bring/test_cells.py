import datetime as dt
import math
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.workloads.graph.bring.cells import SEPARATORS, can_be_text, elements, free_separator, ids, text
from modelyard.workloads.graph.processing.features import parse_dates, parse_numbers

NOON = dt.datetime(2024, 5, 31, 12, 0, 0, 5)
EAST = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        (["a", "", None, " b "], ["a", None, None, " b "]),
        ([True, False, None], ["true", "false", None]),
        ([2**63 - 1, -1], ["9223372036854775807", "-1"]),
        ([0.1, math.nan, None], ["0.1", None, None]),
        ([dt.date(2024, 5, 31)], ["2024-05-31"]),
        ([NOON], ["2024-05-31T12:00:00.000005"]),
        ([NOON.replace(tzinfo=EAST)], ["2024-05-31T10:00:00.000005Z"]),
        ([dt.timedelta(minutes=1.5)], ["90.0"]),
        ([Decimal("1.10")], ["1.10"]),
        ([[1, 2], [], None, [3]], ["1;2", None, None, "3"]),
        ([[0.5, None], [math.nan, 1.0]], ["0.5;NaN", "NaN;1.0"]),
        ([["a", None, "b"]], ["a;b"]),
        ([None, None], [None, None]),
    ],
)
def test_text_of_values(values: list[object], cells: list[str | None]) -> None:
    assert text(pl.Series(values, strict=False)).to_list() == cells


def test_arrays_are_lists() -> None:
    assert text(pl.Series(np.array([[1, 2], [3, 4]])), "|").to_list() == ["1|2", "3|4"]


@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=1))
def test_numbers_of_32_bits_come_back_exactly(values: list[float]) -> None:
    cells = text(pl.Series(values, dtype=pl.Float32))
    assert parse_numbers(cells).astype(np.float32).tolist() == values


@given(st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)), min_size=1))
def test_instants_come_back_exactly(values: list[dt.datetime]) -> None:
    assert parse_dates(text(pl.Series(values, dtype=pl.Datetime("us")))).to_list() == values


def test_ids_that_pandas_made_fractions_are_whole_again() -> None:
    assert ids(pl.Series([1.0, None, 3.0])).to_list() == ["1", None, "3"]
    assert ids(pl.Series([1.5, 2.0])).to_list() == ["1.5", "2"], "whatever stands beside it"
    assert ids(pl.Series([1e300, math.nan])).to_list() == ["1e+300", None]
    assert ids(pl.Series(["01", ""])).to_list() == ["01", None]


def test_a_separator_is_one_that_no_value_holds() -> None:
    assert free_separator([]) == ";"
    assert free_separator([";", "|"]) == ","
    assert free_separator(SEPARATORS) is None
    assert elements(pl.Series([["a", None], [], None, ["b"]])).to_list() == ["a", "b"]


def test_what_has_no_text() -> None:
    assert not can_be_text(pl.Binary())
    assert not can_be_text(pl.Struct({"a": pl.Int64}))
    assert not can_be_text(pl.List(pl.List(pl.Int64)))
    assert can_be_text(pl.List(pl.Date))
