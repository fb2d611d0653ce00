"""Values of a configuration's JSON, checked: each raises InputError, which names the value and its place."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.runner.context import InputError


def read_pair(holder: Mapping[str, Any], key: str, place: str) -> tuple[str, str]:
    """Two strings, such as a column and a type."""
    first, second = read_texts(holder.get(key), 2, f"{place}.{key}")
    return first, second


def read_texts(value: Any, length: int, place: str) -> list[str]:
    """A list of strings."""
    if not isinstance(value, list) or len(value) != length or not all(isinstance(v, str) for v in value):
        raise InputError(f"{place}: must be a list of {length} strings, not {json.dumps(value)[:200]}")
    return value


def read_text(value: Any, place: str) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{place}: must be a string that is not empty, not {kind_of(value)}")
    return value


def read_one_of(value: Any, known: Sequence[str], place: str) -> str:
    """One of the words that are known."""
    if (word := read_text(value, place)) not in known:
        raise InputError(f"{place}: unknown value {word!r}; there are {', '.join(known)}")
    return word


def read_separator(value: Any, place: str) -> str:
    """A character that can separate columns."""
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in '"\r\n\0':
        raise InputError(f"{place}: must be one ASCII character that separates columns, not {value!r:.80}")
    return value


def read_number(value: Any, place: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e300:
        raise InputError(f"{place}: must be a finite number, not {json.dumps(value)[:80]}")
    return float(value)


def read_numbers(value: Any, length: int, place: str) -> list[float]:
    """A list of finite numbers."""
    if not isinstance(value, list) or len(value) != length:
        raise InputError(f"{place}: must be a list of {length} numbers, not {json.dumps(value)[:80]}")
    return [read_number(number, place) for number in value]


def kind_of(value: Any) -> str:
    """What JSON calls a value, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return "the empty string" if value == "" else names.get(type(value), "a number")
