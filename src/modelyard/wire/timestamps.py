"""The three ways in which AWS writes a moment: ISO 8601, seconds since 1970, and HTTP's date."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(value: str | int | float) -> datetime:
    """A moment in any of the three forms, in UTC; without an offset it is UTC. Raises `ValueError`."""
    if isinstance(value, int | float):
        return _from_seconds(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = _from_text(value)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(f"{value!r} is out of range") from error


def writer(style: str) -> Callable[[datetime], str | int | float]:
    """What writes a moment in the model's `timestampFormat`: `iso8601`, `unixTimestamp` or `rfc822`."""
    return _WRITERS[style.lower()]


def _from_text(value: str) -> datetime:
    try:
        return _from_seconds(float(value))
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{value!r} is not a timestamp") from error


def _from_seconds(seconds: float) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{seconds!r} seconds since 1970 are out of range") from error


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _iso8601(moment: datetime) -> str:
    moment = _utc(moment)
    precision = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    text = moment.replace(tzinfo=None).isoformat(timespec=precision if moment.microsecond else "seconds")
    return text + "Z"


def _unix(moment: datetime) -> int | float:
    seconds = (_utc(moment) - _EPOCH).total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _rfc822(moment: datetime) -> str:
    return format_datetime(_utc(moment), usegmt=True)


_WRITERS: dict[str, Callable[[Any], Any]] = {
    "iso8601": _iso8601,
    "unixtimestamp": _unix,
    "rfc822": _rfc822,
}
