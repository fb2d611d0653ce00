"""Scalars out of text, and into it: in labels, queries, headers, forms and XML.

Reading never refuses a value: what is not of its type stays as it came.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable
from typing import Any

from botocore.model import Shape

from . import timestamps

Convert = Callable[[Any], Any]


def same(value: Any) -> Any:
    """For what needs no conversion."""
    return value


def reader(shape: Shape, lenient: bool = False) -> Convert:
    """What reads a scalar of this shape out of its text; `lenient` takes booleans in any case."""
    if shape.type_name == "boolean":
        return read_lenient_boolean if lenient else _read_boolean
    return _READERS.get(shape.type_name, same)


def writer(shape: Shape, timestamp_style: str) -> Convert:
    """What writes a scalar of this shape as text; `timestamp_style` is for a shape that names no style of its own."""
    kind = shape.type_name
    if kind == "timestamp":
        return timestamps.writer(str(shape.serialization.get("timestampFormat") or timestamp_style))
    if kind in ("float", "double"):
        return lambda value: str(write_float(value))
    return _WRITERS.get(kind, str)


def read_integer(value: Any) -> Any:
    """Of a whole float too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_lenient_integer(value: Any) -> Any:
    """Of text too."""
    if isinstance(value, str) and len(value) <= 20 and value.lstrip("+-").isascii():
        try:
            return int(value)
        except ValueError:
            return value
    return read_integer(value)


def read_float(value: Any) -> Any:
    """Of an integer too, and of the names of what JSON has no numbers for."""
    if isinstance(value, str):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value, value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def read_lenient_float(value: Any) -> Any:
    """Of text too."""
    value = read_float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def write_float(value: float) -> float | str:
    """A number, or the name of what is none."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def read_lenient_boolean(value: Any) -> Any:
    """Of text in any case."""
    return _read_boolean(value.lower()) if isinstance(value, str) else value


def _read_boolean(value: str) -> Any:
    return {"true": True, "false": False}.get(value, value)


def read_timestamp(value: Any) -> Any:
    """A `datetime` in UTC."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return timestamps.read(value)
    except ValueError:
        return value


def read_blob(value: Any) -> Any:
    """Bytes out of base64."""
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except (binascii.Error, ValueError):
        return value


def write_blob(value: bytes | str) -> str:
    """Bytes as base64."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def read_json_text(value: Any) -> Any:
    """What a string says as JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


_READERS: dict[str, Convert] = {
    "integer": read_lenient_integer,
    "long": read_lenient_integer,
    "float": read_lenient_float,
    "double": read_lenient_float,
    "timestamp": read_timestamp,
    "blob": read_blob,
}
_WRITERS: dict[str, Convert] = {
    "blob": write_blob,
    "boolean": lambda value: "true" if value else "false",
}
