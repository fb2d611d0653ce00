"""What the values of a column are like: counted piece by piece, in a few megabytes however many rows there are."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from modelyard.workloads.graph.bring.cells import SEPARATORS, elements, inner, is_list, text
from modelyard.workloads.graph.bring.ids import Hashes
from modelyard.workloads.graph.processing.features import (
    LARGEST,
    BadCell,
    can_be_read,
    parse_dates,
    parse_numbers,
    parse_vectors,
)

MOST_DISTINCT = 1 << 20
"""Values that are told apart exactly, by hashes of 8 bytes; of more it is only known that there are more."""
MOST_COUNTED = 1000
"""Values that are counted one by one, as the classes of a label are."""
CODE = r"^\s*-?0\d"
"""Text that begins with a zero, as postal codes do, is no number, or the zero would be lost."""
VECTOR_SEPARATORS = (";", "|", ",", " ")


@dataclass
class Profile:
    """A column `name` of type `dtype`; the other fields tell of the rows that were added so far."""

    name: str
    dtype: pl.DataType
    rows: int = 0
    missing: int = 0
    numbers: bool = True
    """Whether every value is a number that 32 bits can hold."""
    whole: bool = True
    dates: bool = True
    booleans: bool = True
    words: int = 0
    spread: tuple[float, float] | None = None
    """The smallest and the largest number."""
    not_finite: int | None = None
    """The first row whose number 32 bits cannot hold, in a column of numbers."""
    lengths: tuple[int, int] | None = None
    """The shortest and the longest list."""
    vectors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VECTOR_SEPARATORS, 0))
    """The separators that make every value of text a vector of numbers, with the length that all of them have."""
    holds: set[str] = field(default_factory=set)
    """The separators that some value holds."""
    counts: dict[str, int] | None = field(default_factory=dict)
    """How often each value is there; None where there are more than `MOST_COUNTED`."""
    _seen: Hashes = field(default_factory=Hashes)

    @property
    def values(self) -> int:
        """Rows that have one."""
        return self.rows - self.missing

    @property
    def distinct(self) -> int:
        """Different values; where there are more than `MOST_DISTINCT`, a number above it."""
        return len(self._seen)

    @property
    def is_list(self) -> bool:
        """Whether a cell has several values."""
        return is_list(self.dtype)

    @property
    def is_unique(self) -> bool:
        """Whether no value is there twice; of very many, whether the first ones are so."""
        return self.distinct == self.values or self.distinct > MOST_DISTINCT

    def add(self, values: pl.Series) -> None:
        """Takes the next rows."""
        cells = text(values)
        filled = cells.drop_nulls()
        self._look_at_numbers(cells)
        self.rows += len(cells)
        self.missing += cells.null_count()
        self._look_at_distinct(filled)
        if self.is_list:
            self._look_at_lists(values)
            if inner(self.dtype).is_numeric():
                return
            filled = elements(values)
        if isinstance(self.dtype, pl.Boolean):
            self.dates = False
        self._look_at_text(filled)
        self._count(filled)

    def _look_at_numbers(self, cells: pl.Series) -> None:
        if self.is_list or not self.numbers:
            return
        if not self.dtype.is_numeric() and cells.str.contains(CODE).any():
            self.numbers = False
            self.vectors.clear()
            return
        try:
            numbers = parse_numbers(cells.fill_null(""))
        except BadCell as error:
            self.numbers = False
            if self.values:
                self.vectors.clear()  # the earlier ones are single numbers
            if self.dtype.is_numeric():
                self.not_finite = self.rows + error.row
            return
        self._spread(numbers[~np.isnan(numbers)])

    def _spread(self, numbers: np.ndarray) -> None:
        if len(numbers):
            low, high = self.spread or (np.inf, -np.inf)
            self.spread = min(low, float(numbers.min())), max(high, float(numbers.max()))
            self.whole = self.whole and bool((numbers == np.floor(numbers)).all())

    def _look_at_lists(self, values: pl.Series) -> None:
        lists = values.arr.to_list() if isinstance(values.dtype, pl.Array) else values
        lengths = lists.list.len().drop_nulls()
        lengths = lengths.filter(lengths > 0)
        if len(lengths):
            shortest, longest = int(lengths.min()), int(lengths.max())  # type: ignore[arg-type]  # whole numbers
            low, high = self.lengths or (shortest, longest)
            self.lengths = min(low, shortest), max(high, longest)
        if inner(self.dtype).is_numeric():
            self._look_at_vector_values(lists)

    def _look_at_vector_values(self, lists: pl.Series) -> None:
        """Numbers in lists, which there may be millions of, are not made text to be looked at."""
        flat = lists.explode(empty_as_null=False).drop_nulls()
        if flat.dtype.is_integer():
            self._count(flat)
            return
        self.counts = None
        if self.not_finite is None and (flat.cast(pl.Float64).abs().fill_nan(0) > LARGEST).any():
            largest = lists.list.eval(pl.element().cast(pl.Float64).abs().fill_nan(0)).list.max()
            self.not_finite = self.rows - len(lists) + int((largest > LARGEST).arg_max() or 0)

    def _look_at_text(self, values: pl.Series) -> None:
        if self.is_list and self.numbers:
            self.numbers = can_be_read(parse_numbers, values)
        self.dates = (
            self.dates and not self.is_list and not self.dtype.is_numeric() and can_be_read(parse_dates, values)
        )
        self.booleans = self.booleans and bool(values.str.to_lowercase().is_in(["true", "false"]).all())
        if self.numbers or self.dates or self.booleans:
            return
        self._look_at_vectors(values)
        self.words += int(values.str.count_matches(r"\S+").sum())
        for separator in SEPARATORS:
            if separator not in self.holds and values.str.contains(separator, literal=True).any():
                self.holds.add(separator)

    def _look_at_vectors(self, values: pl.Series) -> None:
        for separator, width in [] if self.is_list else list(self.vectors.items()):
            try:
                self.vectors[separator] = parse_vectors(values, separator, width).shape[1]
            except BadCell:
                del self.vectors[separator]

    def _look_at_distinct(self, values: pl.Series) -> None:
        if self._seen.merged <= MOST_DISTINCT:
            self._seen.add(values.hash().unique().to_numpy())

    def _count(self, values: pl.Series) -> None:
        if self.counts is None or values.is_empty():
            return
        found = values.rename("value").value_counts()
        if len(found) > MOST_COUNTED:
            self.counts = None
            return
        for value, count in found.select(pl.col("value").cast(pl.String), "count").iter_rows():
            self.counts[value] = self.counts.get(value, 0) + count
        if len(self.counts) > MOST_COUNTED:
            self.counts = None
