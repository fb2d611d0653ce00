"""Features: from cells of text, read in pieces, to fitted encoders.

Encoders are fitted on all nodes (or edges) of a type, those of the validation and test splits included, as
Neptune ML does. Rules: Neptune User Guide, "Feature encoding in Neptune ML".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from scipy import sparse

from modelyard.workloads.graph.processing.encoders import (
    SLOTS,
    Affine,
    Buckets,
    DateParts,
    Encoder,
    Matrix,
    OneHot,
    Tfidf,
    compact,
    date_part,
    dense,
    split_categories,
)
from modelyard.workloads.graph.processing.export import FeatureSpec

MAX_CATEGORIES = 100
MAX_TEXT_DIM = 100
VECTOR_BYTES = 8 << 20
LARGEST = float(np.nextafter(2.0**128 - 2.0**103, 0))
"""The largest number that does not become infinite when it is rounded to 32 bits."""

DATE_FORMATS = (
    ("", "%Y-%m-%dT%H:%M:%S%.f"),
    ("", "%Y-%m-%d %H:%M:%S%.f"),
    ("", "%Y-%m-%dT%H:%M"),
    ("", "%Y-%m-%d %H:%M"),
    ("", "%Y-%m-%d"),
    ("-01", "%Y-%m-%d"),
    ("-01-01", "%Y-%m-%d"),
)
"""ISO 8601 without an offset, down to the year alone: what to append to the cell, and the format.
A date with an offset is read as that instant and kept in UTC.
"""

Column: TypeAlias = pl.Series | Matrix
"""Values of a feature, a row each: text, dates, or numbers `[num_rows, dim]` (NaN where missing)."""


class BadCell(Exception):
    """A cell that its feature's type cannot take: the row within the piece, and what is wrong with it."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row} {reason}")
        self.row = row
        self.reason = reason


class NoValues(Exception):
    """A feature from which nothing can be encoded; the message says why, and the feature is left out."""


@dataclass
class RawColumn:
    """The values of one feature as its pieces arrive; numbers and dates are parsed at once, which keeps them
    small.
    """

    spec: FeatureSpec
    pieces: list[Column] = field(default_factory=list)

    def add(self, cells: pl.Series) -> None:
        """Takes the next rows' text. Raises BadCell."""
        for start, part in self._parts(cells):
            widths = [piece.shape[1] for piece in self.pieces if not isinstance(piece, pl.Series)]
            try:
                self.pieces.append(parse(self.spec, part, max(widths, default=0)))
            except BadCell as error:
                raise BadCell(start + error.row, error.reason) from None

    def _parts(self, cells: pl.Series) -> Iterator[tuple[int, pl.Series]]:
        """Long vectors a few megabytes at a time: while they are split, a number takes many times its text's room."""
        vectors = self.spec.type == "numerical" and "separator" in self.spec.options
        pieces = 1 + (int(cells.str.len_bytes().sum()) // VECTOR_BYTES if vectors else 0)
        length = max(1, -(-len(cells) // pieces))
        yield from ((start, cells.slice(start, length)) for start in range(0, max(1, len(cells)), length))

    def select(self, rows: np.ndarray) -> None:
        """Keeps only these rows, in this order."""
        if self.pieces:
            column = self.values()
            self.pieces = [column.gather(rows) if isinstance(column, pl.Series) else column[rows]]

    def values(self) -> Column:
        """All rows; the pieces are given up."""
        pieces, self.pieces = self.pieces or [parse(self.spec, pl.Series([], dtype=pl.String))], []
        return concat(pieces)


def concat(pieces: Sequence[Column]) -> Column:
    """One column of all pieces, sparse if all are. A piece without any value takes the width of the others."""
    if isinstance(pieces[0], pl.Series):
        return pl.concat([piece for piece in pieces if isinstance(piece, pl.Series)])
    matrices = [piece for piece in pieces if not isinstance(piece, pl.Series)]
    if all(map(sparse.issparse, matrices)):
        return sparse.csr_array(sparse.vstack(matrices, format="csr"))
    width = max(matrix.shape[1] for matrix in matrices)
    return np.concatenate([dense(m) if m.shape[1] else np.full((m.shape[0], width), np.nan) for m in matrices])


def parse(spec: FeatureSpec, cells: pl.Series, width: int = 0) -> Column:
    """The values of text cells as the feature's type wants them. Raises BadCell at the first that is none.

    `width` is the length of the vectors that went before, 0 if there were none. The option `set` is what stands
    between several values that have no order.
    """
    if "set" in spec.options:
        cells = one_value(spec.type, cells, spec.options["set"])
    if spec.type in ("numerical", "bucket_numerical"):
        separator = spec.options.get("separator")
        numbers = parse_vectors(cells, separator, width) if separator else parse_numbers(cells)[:, None]
        if "imputer" not in spec.options:
            _refuse_missing(numbers)
        return numbers if np.isnan(numbers).any() else compact(numbers)
    if spec.type == "datetime":
        return parse_dates(cells)
    return cells


def parse_numbers(cells: pl.Series) -> np.ndarray:
    """float64 `[num_rows]`, NaN for an empty cell. Raises BadCell for what is no number that float32 can
    hold.
    """
    stripped = cells.str.strip_chars()
    numbers = stripped.cast(pl.Float64, strict=False)
    if (bad := (numbers.is_null() & (stripped != "")).arg_true()).len():
        raise BadCell(int(bad[0]), "is not a number")
    if (bad := (numbers.abs().fill_nan(0) > LARGEST).arg_true()).len():
        raise BadCell(int(bad[0]), "is not a finite number that 32 bits can hold")
    return numbers.fill_null(float("nan")).to_numpy()


def parse_vectors(cells: pl.Series, separator: str, width: int = 0) -> np.ndarray:
    """float32 `[num_rows, width]`; a row of NaN for an empty cell. Raises BadCell also where the lengths differ.

    The width is that of the first vector if none is given, and 0 if all cells are empty.
    """
    present = np.flatnonzero((cells.str.strip_chars() != "").to_numpy())
    parts = cells.gather(present).str.split(separator)
    lengths = parts.list.len().to_numpy()
    width = width or (int(lengths[0]) if len(lengths) else 0)
    if len(bad := np.flatnonzero(lengths != width)):
        raise BadCell(int(present[bad[0]]), f"has {lengths[bad[0]]} values where the others have {width}")
    vectors = np.full((len(cells), width), np.nan, np.float32)
    if width:
        try:
            vectors[present] = parse_numbers(parts.explode()).reshape(-1, width)
        except BadCell as error:
            raise BadCell(int(present[error.row // width]), f"holds a value that {error.reason}") from None
    return vectors


def parse_dates(cells: pl.Series) -> pl.Series:
    """Datetimes in UTC, null for an empty cell. Raises BadCell for what is no ISO 8601 date."""
    cells = cells.str.strip_chars()
    text = cells.set(~cells.str.contains(r"^\d{4}(-|$)"), None)  # %Y alone would take any number
    zoned = text.str.replace(r"[zZ]$", "+00:00")
    dates = zoned.str.strptime(pl.Datetime("us", "UTC"), "%+", strict=False).dt.replace_time_zone(None)
    for suffix, pattern in DATE_FORMATS:
        if dates.null_count() == 0:
            break
        kind = pl.Datetime("us") if "%H" in pattern else pl.Date
        dates = dates.fill_null((text + suffix).str.strptime(kind, pattern, strict=False).cast(pl.Datetime("us")))
    if (bad := (dates.is_null() & (cells != "")).arg_true()).len():
        raise BadCell(int(bad[0]), "is not a date, such as 2024-05-31 or 2024-05-31T12:00:00Z")
    return dates


def one_value(kind: str, cells: pl.Series, between: str) -> pl.Series:
    """Cells in which a set of values has become one: the mean of numbers, the first of dates, texts in one.

    A category stays a set. Raises BadCell at what is no number.
    """
    several = cells.str.contains(between, literal=True)
    if kind in ("auto", "category") or not several.any():
        return cells
    rows, sets = several.arg_true(), cells.filter(several).str.split(between)
    if kind in ("numerical", "bucket_numerical"):
        return cells.scatter(rows, _means(rows, sets))
    return cells.scatter(rows, sets.list.min() if kind == "datetime" else sets.list.join(" "))


def infer(spec: FeatureSpec, cells: pl.Series) -> FeatureSpec:
    """What `auto` means for these values, as a feature of another type. Raises NoValues where it means none."""
    if "set" in spec.options:
        return _infer_set(spec, cells, spec.options["set"])
    values = cells.str.strip_chars()
    values = values.filter(values != "")
    if values.is_empty():
        raise NoValues("has no values")
    separator = spec.options.get("separator", ";" if values.str.contains(";", literal=True).any() else None)
    if separator is not None:
        return _infer_many(spec, cells, values, separator)
    distinct = values.n_unique()
    if can_be_read(parse_numbers, values):
        few = distinct < 0.1 * len(values) and distinct < MAX_CATEGORIES
        return _as(spec, "category") if few else _as_numerical(spec)
    if can_be_read(parse_dates, values):
        return _as(spec, "datetime", "imputer")
    if values.str.to_lowercase().is_in(["true", "false"]).all():
        return _as(spec, "category")
    if distinct > 0.1 * len(values) and values.str.count_matches(r"\S+").sum() >= 3 * len(values):
        return _as(spec, "text_tfidf")
    if distinct == len(values) > 1:
        raise NoValues("has another value in every row, as an id has")
    return _as(spec, "category")


def fit(spec: FeatureSpec, column: Column) -> Encoder:
    """The encoder of a feature (of any type but `auto` and `none`) for its values. Raises NoValues."""
    encoder = _FITS[spec.type](spec, column)
    if encoder.dim == 0:
        raise NoValues("has nothing that tells rows apart" if spec.type == "datetime" else "has no values")
    return encoder


def _refuse_missing(numbers: np.ndarray) -> None:
    missing = np.isnan(numbers).any(axis=1) if numbers.shape[1] else np.ones(len(numbers), bool)
    if len(rows := np.flatnonzero(missing)):
        raise BadCell(int(rows[0]), "has no value, and the feature has no imputer (mean, median or most-frequent)")


def can_be_read(parser: Callable[[pl.Series], object], values: pl.Series) -> bool:
    """Whether a parser takes all values."""
    try:
        parser(values)
    except BadCell:
        return False
    return True


def _infer_set(spec: FeatureSpec, cells: pl.Series, between: str) -> FeatureSpec:
    """What the values of sets are, one by one; within them nothing separates."""
    options = {key: value for key, value in spec.options.items() if key != "set"}
    found = infer(replace(spec, options={**options, "separator": None}), cells.str.split(between).explode())
    kept = {"separator": between} if found.type == "category" else {}
    return replace(found, options={**found.options, **kept, "set": between})


def _means(rows: pl.Series, sets: pl.Series) -> pl.Series:
    """The mean of the numbers of each cell, as text."""
    values = pl.DataFrame({"row": rows, "value": sets}).explode("value")
    try:
        numbers = pl.Series("number", parse_numbers(values["value"]))
    except BadCell as error:
        raise BadCell(int(values["row"][error.row]), f"holds a value that {error.reason}") from None
    means = values.with_columns(numbers).group_by("row", maintain_order=True).agg(pl.col("number").mean())
    return means["number"].cast(pl.String)


def _infer_many(spec: FeatureSpec, cells: pl.Series, values: pl.Series, separator: str) -> FeatureSpec:
    if can_be_read(lambda text: parse_vectors(text, separator), values):
        numerical = _as_numerical(spec)
        return replace(numerical, options={**numerical.options, "separator": separator})
    return replace(spec, type="category", options={"separator": separator})


def _as(spec: FeatureSpec, kind: str, *options: str) -> FeatureSpec:
    return replace(spec, type=kind, options={key: spec.options[key] for key in options if key in spec.options})


def _as_numerical(spec: FeatureSpec) -> FeatureSpec:
    """`auto` names no imputer, since whoever wrote it did not know the type: the exporter's own default is the median.

    Where no value is missing it counts, too: nodes that come later may lack theirs.
    """
    spec = _as(spec, "numerical", "norm", "imputer")
    return replace(spec, options={"norm": "min-max", "imputer": "median", **spec.options})


def _fit_category(spec: FeatureSpec, column: pl.Series) -> OneHot:
    separator = spec.options.get("separator")
    rows, values = split_categories(column, separator)
    once = pl.DataFrame({"row": rows, "value": values}).unique()
    counts = once.group_by("value").len().sort(["len", "value"], descending=[True, False])["value"]
    if len(counts) > MAX_CATEGORIES:
        return OneHot(sorted(counts.head(MAX_CATEGORIES - 1).to_list()), other=True, separator=separator)
    return OneHot(sorted(counts.to_list()), separator=separator)


def _fit_numerical(spec: FeatureSpec, column: Matrix) -> Affine:
    width = column.shape[1]
    if not column.shape[0] or not width:
        return Affine([], [], [])
    fill = _impute(column, spec.options.get("imputer"))
    low, high, total = _spans(column, fill)
    offset, scale = np.zeros(width), np.ones(width)
    norm = spec.options.get("norm", "min-max")
    if norm == "min-max":
        offset, scale = low, 1 / np.where(high > low, high - low, 1)
    elif norm == "standard":
        scale = 1 / np.where(total != 0, total, 1)
    return Affine(fill.tolist(), offset.tolist(), scale.tolist())


def _fit_buckets(spec: FeatureSpec, column: np.ndarray) -> Buckets:
    low, high = spec.options["range"]
    fill = float(_impute(column, spec.options.get("imputer"))[0]) if len(column) else low
    return Buckets(low, high, spec.options["bucket_cnt"], spec.options.get("slide_window_size", 0.0), fill)


def _fit_dates(spec: FeatureSpec, column: pl.Series) -> DateParts:
    known = column.drop_nulls()
    parts = {}
    for part in spec.options.get("datetime_parts", ("year", *SLOTS)):
        values = date_part(known, part)
        if values.n_unique() > 1:
            low, high = int(values.min()), int(values.max())  # type: ignore[arg-type]
            parts[part] = list(SLOTS.get(part, (low, high - low + 1)))
    return DateParts(parts, _impute_date(known, spec.options.get("imputer")))


def _fit_text(spec: FeatureSpec, column: pl.Series) -> Tfidf:
    from sklearn.feature_extraction.text import CountVectorizer  # seconds to import, seldom needed

    ngrams = spec.options.get("ngram_range", (1, 1))
    vectorizer = CountVectorizer(
        ngram_range=ngrams,
        min_df=spec.options.get("min_df", 2),
        max_features=spec.options.get("max_features", 5000),
    )
    try:
        counts = sparse.csr_array(vectorizer.fit_transform(column.filter(column != "").to_list()))
    except ValueError as error:
        raise NoValues(f"has no terms ({error})") from None
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    terms = vectorizer.get_feature_names_out().tolist()
    if len(terms) <= MAX_TEXT_DIM:
        return Tfidf(terms, documents.tolist(), list(ngrams))
    return Tfidf(terms, documents.tolist(), list(ngrams), _projection(len(terms)), MAX_TEXT_DIM)


def _projection(terms: int) -> dict[str, list[Any]]:
    from sklearn.random_projection import SparseRandomProjection

    projection = SparseRandomProjection(MAX_TEXT_DIM, random_state=0).fit(sparse.csr_array((1, terms)))
    matrix = sparse.coo_array(projection.components_.T)
    rows, columns = matrix.coords
    return {"rows": rows.tolist(), "columns": columns.tolist(), "values": matrix.data.tolist()}


_FITS: Mapping[str, Callable[[FeatureSpec, Any], Encoder]] = {
    "category": _fit_category,
    "numerical": _fit_numerical,
    "bucket_numerical": _fit_buckets,
    "datetime": _fit_dates,
    "text_tfidf": _fit_text,
}


def _impute(column: Matrix, imputer: str | None) -> np.ndarray:
    """What replaces a missing value in each column, float64 `[dim]`; 0 where a column has no values at all."""
    if imputer is None or sparse.issparse(column):
        return np.zeros(column.shape[1])
    return np.array([_typical(values[~np.isnan(values)], imputer) for values in column.T], np.float64)


def _typical(values: np.ndarray, imputer: str) -> float:
    if not len(values):
        return 0.0
    if imputer == "most-frequent":
        distinct, counts = np.unique(values, return_counts=True)
        return float(distinct[counts.argmax()])
    return float(np.mean(values, dtype=np.float64) if imputer == "mean" else np.median(values))


def _impute_date(dates: pl.Series, imputer: str | None) -> str | None:
    if imputer is None or dates.is_empty():
        return None
    instant = _typical(dates.to_physical().to_numpy(), imputer)
    return str(pl.Series([int(instant)]).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")[0])


def _spans(column: Matrix, fill: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest value and the sum of each column, float64 `[dim]`, missing values replaced."""
    if sparse.issparse(column):
        low, high = column.min(axis=0).toarray().ravel(), column.max(axis=0).toarray().ravel()
        return low.astype(np.float64), high.astype(np.float64), np.asarray(column.sum(axis=0, dtype=np.float64))
    filled = np.where(np.isnan(column), fill, column)
    return filled.min(axis=0), filled.max(axis=0), filled.sum(axis=0, dtype=np.float64)
