"""Values as the text of a cell, so that nothing is lost: what is read from the cell is the value again.

A missing value, a null or a NaN, is an empty cell, and so is an empty text: CSV does not tell them apart.
"""

from collections.abc import Iterable

import polars as pl

SEPARATORS = (";", "|", ",", "\t", "\x1f", "\x1e")
"""What may stand between the values of a list, the exporter's first: cells know no escape, so it is one that no
value holds.
"""


def can_be_text(dtype: pl.DataType) -> bool:
    """Whether values of a type have a text that can be read again: not bytes, structures, lists of lists."""
    if isinstance(dtype, pl.List | pl.Array):
        return not is_list(inner(dtype)) and can_be_text(inner(dtype))
    return not isinstance(dtype, pl.Binary | pl.Struct | pl.Object)


def is_list(dtype: pl.DataType) -> bool:
    """Whether a cell has several values."""
    return isinstance(dtype, pl.List | pl.Array)


def inner(dtype: pl.DataType) -> pl.DataType:
    """The type of the values of a list."""
    found = getattr(dtype, "inner")  # noqa: B009 - only types of lists have it
    return found if isinstance(found, pl.DataType) else found()


def elements(values: pl.Series) -> pl.Series:
    """All values of all lists, as text, without the missing ones."""
    flat = values.explode(empty_as_null=False) if isinstance(values.dtype, pl.List) else values.arr.explode()
    return text(flat.drop_nulls()).drop_nulls()


def text(values: pl.Series, separator: str = SEPARATORS[0]) -> pl.Series:
    """The cells, null where a value is missing. `separator` stands between the values of a list.

    Dates are ISO 8601; those with a zone are told in UTC, those without as they are. A duration is its seconds.
    """
    dtype = values.dtype
    if isinstance(dtype, pl.Array):
        return text(values.arr.to_list(), separator)
    if isinstance(dtype, pl.List):
        return _joined(values, separator)
    if isinstance(dtype, pl.Datetime):
        return _datetimes(values, dtype)
    if isinstance(dtype, pl.Duration):
        return (values.dt.total_nanoseconds(fractional=False).cast(pl.Float64) / 1e9).cast(pl.String)
    if dtype.is_float():
        values = values.fill_nan(None)
    return values.cast(pl.String).replace("", None)


def ids(values: pl.Series) -> pl.Series:
    """Ids as text, null where one is missing. 1.0 is 1: pandas has no whole numbers beside a missing one."""
    cells = text(values)
    if not values.dtype.is_float():
        return cells
    whole = values.cast(pl.Int64, strict=False)
    same = (whole.cast(values.dtype) == values).fill_null(False)
    return pl.select(pl.when(same).then(whole.cast(pl.String)).otherwise(cells)).to_series()


def free_separator(taken: Iterable[str]) -> str | None:
    """The first separator that is not among those `taken`; None if all are."""
    taken = set(taken)
    return next((separator for separator in SEPARATORS if separator not in taken), None)


def _joined(values: pl.Series, separator: str) -> pl.Series:
    """Missing values within a list are left out, but for those of a vector, which keep their place as NaN."""
    if inner(values.dtype).is_float():
        values = values.list.eval(pl.element().fill_null(float("nan")))
    rows = pl.DataFrame({"row": pl.arange(0, len(values), dtype=pl.UInt32, eager=True), "value": values})
    flat = rows.explode("value", empty_as_null=False).drop_nulls("value")
    plain = flat["value"].cast(pl.String) if flat["value"].dtype.is_float() else text(flat["value"])
    cells = pl.DataFrame({"row": flat["row"], "value": plain}).drop_nulls("value")
    joined = cells.group_by("row", maintain_order=True).agg(pl.col("value").str.join(separator))
    return rows.select("row").join(joined, on="row", how="left", maintain_order="left")["value"]


def _datetimes(values: pl.Series, dtype: pl.Datetime) -> pl.Series:
    digits = {"ns": "%.9f", "us": "%.6f", "ms": "%.3f"}[dtype.time_unit]
    if dtype.time_zone is None:
        return values.dt.strftime(f"%Y-%m-%dT%H:%M:%S{digits}")
    return values.dt.convert_time_zone("UTC").dt.strftime(f"%Y-%m-%dT%H:%M:%S{digits}Z")
