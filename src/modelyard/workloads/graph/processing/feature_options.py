"""The types of features, and what can be said of each."""

from collections.abc import Callable, Mapping
from typing import Any

from modelyard.runner.context import InputError
from modelyard.text_models import LANGUAGES
from modelyard.workloads.graph.processing.values import read_number, read_numbers, read_one_of, read_text

OPTIONS: Mapping[str, frozenset[str]] = {
    "category": frozenset({"separator", "imputer"}),
    "numerical": frozenset({"norm", "imputer", "separator"}),
    "bucket_numerical": frozenset({"range", "bucket_cnt", "slide_window_size", "imputer"}),
    "datetime": frozenset({"datetime_parts", "imputer"}),
    "text_tfidf": frozenset({"ngram_range", "min_df", "max_features"}),
    "text_fasttext": frozenset({"language", "max_length"}),
    "text_sbert": frozenset(),
    "text_sbert128": frozenset(),
    "text_sbert512": frozenset(),
    "text_word2vec": frozenset({"language"}),
    "word2vec": frozenset({"language"}),
    "auto": frozenset({"separator", "imputer", "norm"}),
    "none": frozenset(),
}
"""The feature types that are served, with the options of each."""


def read_options(kind: str, given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Those of `given` that a type of features has, checked; what is empty counts as not given."""
    options = {
        key: _READERS[key](option, f"{place}.{key}")
        for key, option in given.items()
        if key in OPTIONS[kind] and option not in (None, "")
    }
    if kind == "bucket_numerical":
        for key in ("range", "bucket_cnt"):
            if key not in options:
                raise InputError(f"{place}: bucket_numerical needs {key}")
    if kind == "text_fasttext":
        read_one_of(options.get("language"), LANGUAGES, f"{place}.language")
    return options


def _imputer(value: Any, place: str) -> str:
    imputer = read_text(value, place).replace("_", "-")
    return read_one_of(imputer, ("mean", "median", "most-frequent"), place)


def _norm(value: Any, place: str) -> str:
    return read_one_of(value, ("none", "min-max", "standard"), place)


def _range(value: Any, place: str) -> tuple[float, float]:
    low, high = read_numbers(value, 2, place)
    if not low < high:
        raise InputError(f"{place}: {value} must rise")
    return low, high


def _ngrams(value: Any, place: str) -> tuple[int, int]:
    low, high = read_numbers(value, 2, place)
    if not (1 <= low <= high <= 10 and low.is_integer() and high.is_integer()):
        raise InputError(f"{place}: {value} must be two whole numbers that rise, from 1 to 10")
    return int(low), int(high)


def _min_df(value: Any, place: str) -> float | int:
    """A share of the values if it is below 1, else a number of values."""
    number = read_number(value, place)
    if number < 0 or (number >= 1 and not number.is_integer()):
        raise InputError(f"{place}: {value} must be a whole number, or a share between 0 and 1")
    return int(number) if number >= 1 else number


def _count(value: Any, place: str) -> int:
    number = read_number(value, place)
    if not (number.is_integer() and 1 <= number <= 100_000):
        raise InputError(f"{place}: {value} must be a whole number from 1 to 100000")
    return int(number)


def _window(value: Any, place: str) -> float:
    number = read_number(value, place)
    if number < 0:
        raise InputError(f"{place}: {value} must not be negative")
    return number


def _datetime_parts(value: Any, place: str) -> tuple[str, ...]:
    known = ("year", "month", "weekday", "hour")
    if not isinstance(value, list) or not value:
        raise InputError(f"{place}: must be a list of {', '.join(known)}")
    asked = {read_one_of(part, known, place) for part in value}
    return tuple(part for part in known if part in asked)


def _language(value: Any, place: str) -> str:
    """A name, or a list of one, as the exporter writes it."""
    return read_text(value[0] if isinstance(value, list) and len(value) == 1 else value, place)


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "separator": read_text,
    "imputer": _imputer,
    "norm": _norm,
    "range": _range,
    "bucket_cnt": _count,
    "slide_window_size": _window,
    "datetime_parts": _datetime_parts,
    "ngram_range": _ngrams,
    "min_df": _min_df,
    "max_features": _count,
    "max_length": _count,
    "language": _language,
}
