"""Fitted encoders of features: each turns a column of values into `[num_rows, dim]` numbers, and into JSON and back.

An encoder's fields are plain JSON values, so that a later incremental job encodes new rows exactly as the
first did. Rules: Neptune User Guide, "Feature encoding in Neptune ML".
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import polars as pl
from scipy import sparse

from modelyard.workloads.graph.processing.text import TextVectors

Matrix: TypeAlias = np.ndarray | sparse.csr_array
"""float32 `[num_rows, dim]`, dense or CSR."""

SLOTS = {"month": (1, 12), "weekday": (1, 7), "hour": (0, 24)}
"""First value and number of values of each part of a date; the year's depend on the data."""


class Encoder(Protocol):
    """What all encoders have: their width, and the way from a column of their kind to numbers."""

    @property
    def dim(self) -> int:
        """Columns of the result."""

    def encode(self, column: Any) -> Matrix:
        """float32 `[num_rows, dim]` of a column of text, dates or numbers, as the encoder's kind needs it."""


@dataclass(frozen=True)
class OneHot:
    """A slot for each category, several of which may be set if `separator` splits the cell.

    With `other` a last slot takes every category that has none of its own; an empty cell sets no slot.
    """

    categories: Sequence[str]
    other: bool = False
    separator: str | None = None

    @property
    def dim(self) -> int:
        """The categories, and the slot of all others."""
        return len(self.categories) + self.other

    def encode(self, column: pl.Series) -> Matrix:
        """Of text `[num_rows]`."""
        rows, values = split_categories(column, self.separator)
        default = len(self.categories) if self.other else -1
        slots = values.replace_strict(
            list(self.categories), list(range(len(self.categories))), default=default, return_dtype=pl.Int64
        ).to_numpy()
        return multi_hot(rows[slots >= 0], slots[slots >= 0], len(column), self.dim)


@dataclass(frozen=True)
class Affine:
    """`(value - offset) * scale` for each column of numbers, where a missing value is first replaced by
    `fill`.
    """

    fill: Sequence[float]
    offset: Sequence[float]
    scale: Sequence[float]

    @property
    def dim(self) -> int:
        """The length of the value."""
        return len(self.scale)

    def encode(self, column: Matrix) -> Matrix:
        """Of numbers `[num_rows, dim]`; a missing one is NaN. Stays sparse where zeros stay zeros."""
        offset, scale = np.asarray(self.offset), np.asarray(self.scale)
        if not isinstance(column, np.ndarray) and not offset.any():
            return sparse.csr_array(column.multiply(scale[None, :])).astype(np.float32)
        values = dense(column)
        filled = np.where(np.isnan(values), np.asarray(self.fill), values)
        return ((filled - offset) * scale).astype(np.float32)


@dataclass(frozen=True)
class Buckets:
    """`count` equal buckets of `[low, high]`; a value sets every bucket that `window`, centred on it, overlaps.

    Values below or above the range fall into the first or the last bucket.
    """

    low: float
    high: float
    count: int
    window: float = 0.0
    fill: float = 0.0

    @property
    def dim(self) -> int:
        """The number of buckets."""
        return self.count

    def encode(self, column: np.ndarray) -> Matrix:
        """Of numbers `[num_rows, 1]`; a missing one is NaN."""
        values = np.where(np.isnan(column[:, 0]), self.fill, column[:, 0])
        first, last = self._bucket(values - self.window / 2), self._bucket(values + self.window / 2)
        counts = last - first + 1
        rows = np.repeat(np.arange(len(values)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return multi_hot(rows, first[rows] + within, len(values), self.count)

    def _bucket(self, values: np.ndarray) -> np.ndarray:
        size = (self.high - self.low) / self.count
        return np.clip(np.floor((values - self.low) / size), 0, self.count - 1).astype(np.int64)


@dataclass(frozen=True)
class DateParts:
    """One-hot parts of a date in UTC; `parts` gives each part's first value and number of slots.

    A missing date is replaced by `fill` (ISO 8601); without one, as for a value outside the slots, nothing is
    set.
    """

    parts: Mapping[str, Sequence[int]]
    fill: str | None = None

    @property
    def dim(self) -> int:
        """The slots of all parts."""
        return sum(count for _, count in self.parts.values())

    def encode(self, column: pl.Series) -> Matrix:
        """Of dates `[num_rows]`; a missing one is null."""
        if self.fill is not None:
            column = column.fill_null(pl.Series([self.fill]).str.to_datetime(time_unit="us")[0])
        encoded = [self._part(column, part, *slots) for part, slots in self.parts.items()]
        return sparse.csr_array(sparse.hstack(encoded, format="csr"))

    def _part(self, column: pl.Series, part: str, first: int, count: int) -> sparse.csr_array:
        slots = date_part(column, part).cast(pl.Int64).fill_null(first - 1).to_numpy() - first
        rows = np.flatnonzero((slots >= 0) & (slots < count))
        return multi_hot(rows, slots[rows], len(column), count)


@dataclass(frozen=True)
class Tfidf:
    """How often a term occurs in the value, divided by how many values hold it; many terms are projected to a few.

    `projection` is the sparse random matrix `[terms, 100]` as its rows, columns and values (Achlioptas 2003;
    Li et al. 2006).
    """

    vocabulary: Sequence[str]
    document_counts: Sequence[int]
    ngram_range: Sequence[int]
    projection: Mapping[str, Sequence[float]] | None = None
    projected: int = 0

    @property
    def dim(self) -> int:
        """The terms, or the columns of the projection."""
        return self.projected if self.projection else len(self.vocabulary)

    def encode(self, column: pl.Series) -> Matrix:
        """Of text `[num_rows]`."""
        from sklearn.feature_extraction.text import CountVectorizer  # seconds to import, seldom needed

        low, high = self.ngram_range
        vectorizer = CountVectorizer(ngram_range=(low, high), vocabulary=list(self.vocabulary))
        counts = sparse.csr_array(vectorizer.transform(column.to_list()), dtype=np.float64)
        weighted = counts.multiply(1 / np.asarray(self.document_counts, dtype=np.float64)[None, :])
        if self.projection is None:
            return sparse.csr_array(weighted).astype(np.float32)
        shape = (len(self.vocabulary), self.projected)
        entries = (self.projection["rows"], self.projection["columns"])
        matrix = sparse.csr_array((self.projection["values"], entries), shape=shape)
        return sparse.csr_array(weighted @ matrix).toarray().astype(np.float32)


_KINDS = {
    "one_hot": OneHot,
    "affine": Affine,
    "buckets": Buckets,
    "date_parts": DateParts,
    "tfidf": Tfidf,
    "text_vectors": TextVectors,
}


def to_document(encoder: Encoder) -> dict[str, Any]:
    """The encoder as JSON; of one of text, without the models at hand."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(encoder, kind))
    plain = replace(encoder, models=None) if isinstance(encoder, TextVectors) else encoder
    document = {"encoder": kind, **asdict(plain)}  # type: ignore[arg-type]  # all encoders are dataclasses
    document.pop("models", None)
    return document


def from_document(document: Mapping[str, Any]) -> Encoder:
    """The encoder that `to_document` wrote."""
    fields = dict(document)
    encoder: Encoder = _KINDS[fields.pop("encoder")](**fields)
    return encoder


def multi_hot(rows: np.ndarray, slots: np.ndarray, num_rows: int, dim: int) -> sparse.csr_array:
    """A matrix `[num_rows, dim]` with ones at `(rows, slots)`; a pair that occurs twice still gives one."""
    matrix = sparse.csr_array((np.ones(len(rows), np.float32), (rows, slots)), shape=(num_rows, dim))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def split_categories(column: pl.Series, separator: str | None) -> tuple[np.ndarray, pl.Series]:
    """The categories of all cells, without empty ones, and the row of each."""
    cells = pl.DataFrame({"row": np.arange(len(column)), "value": column})
    if separator is not None:
        cells = cells.with_columns(pl.col("value").str.split(separator)).explode("value")
    cells = cells.with_columns(pl.col("value").str.strip_chars()).filter(pl.col("value") != "")
    return cells["row"].to_numpy(), cells["value"]


def date_part(column: pl.Series, part: str) -> pl.Series:
    """The year, month (1 to 12), weekday (1, Monday, to 7) or hour (0 to 23) of dates."""
    values: pl.Series = getattr(column.dt, part)()
    return values


def compact(matrix: Matrix) -> Matrix:
    """Sparse where that takes less than half the room: wide and at most a quarter full. Else dense."""
    rows, dim = matrix.shape
    if dim < 32 or np.count_nonzero(_stored(matrix)) * 4 > rows * dim:
        return dense(matrix)
    return as_sparse(matrix)


def as_sparse(matrix: Matrix) -> sparse.csr_array:
    """The same numbers in rows of their non-zeros."""
    result = sparse.csr_array(matrix)
    result.eliminate_zeros()
    result.sort_indices()
    return result


def dense(matrix: Matrix) -> np.ndarray:
    """The same numbers as one array."""
    return np.ascontiguousarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())


def _stored(matrix: Matrix) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else matrix.data
