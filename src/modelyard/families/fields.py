"""Reads the members of a JSON body one by one, and gathers what is wrong with them, in Bedrock's own words."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.families.request import BodyError

_JSON_TYPES = {
    dict: "JSONObject",
    list: "JSONArray",
    str: "String",
    bool: "Boolean",
    int: "Integer",
    float: "Double",
    type(None): "Null",
}
_SHOWN = 10
"""So many findings are told; a hostile body has thousands."""


class Fields:
    """One object of a body. Members are taken by name; what nobody took is extraneous.

    `path` is where the object lies, as in `#/messages/0`. Findings of objects inside each other come together:
    `end` of the outermost raises them all.
    """

    def __init__(self, value: Any, path: str = "#", problems: list[str] | None = None) -> None:
        self.path = path
        self._problems = [] if problems is None else problems
        self._is_object = isinstance(value, Mapping)
        self._left: dict[str, Any] = dict(value) if self._is_object else {}
        if not self._is_object:
            self._expected(path, "JSONObject", value)

    def text(self, name: str, required: bool = False) -> str | None:
        """A string, which is not empty if it is `required`; None where it is absent."""
        value: str | None = self._take(name, str, "String", required)
        if required and value == "":
            self.problem(f"{self.path}/{name}", "expected minLength: 1, actual: 0")
        return value

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A number from `low` to `high`."""
        value = self._take(name, (int, float), "Number", False)
        return float(self._within(name, value, low, high, default))

    def above(self, name: str, low: float, high: float, default: float) -> float:
        """A number above `low`, and at most `high`."""
        value = self._take(name, (int, float), "Number", False)
        if value is not None and value <= low:
            self.problem(f"{self.path}/{name}", f"{value} is not greater than {low}")
            return default
        return float(self._within(name, value, low, high, default))

    def integer(self, name: str, low: int, high: int | None, default: int | None, required: bool = False) -> int | None:
        """A whole number from `low` to `high`."""
        value = self._take(name, int, "Integer", required)
        whole: int | None = self._within(name, value, low, high, default)
        return whole

    def strings(self, name: str, most: int) -> tuple[str, ...]:
        """A list of at most `most` strings, none of them empty."""
        value = self._take(name, list, "JSONArray", False) or []
        if len(value) > most:
            self.problem(f"{self.path}/{name}", f"expected maximum item count: {most}, found: {len(value)}")
        for position, item in enumerate(value):
            if not isinstance(item, str):
                self._expected(f"{self.path}/{name}/{position}", "String", item)
            elif not item:
                self.problem(f"{self.path}/{name}/{position}", "expected minLength: 1, actual: 0")
        return tuple(item for item in value if isinstance(item, str) and item)

    def objects(self, name: str, required: bool = False) -> Sequence["Fields"]:
        """A list of objects; with `required` it has one at least."""
        value = self._take(name, list, "JSONArray", required)
        if required and value is not None and not value:
            self.problem(f"{self.path}/{name}", "expected minimum item count: 1, found: 0")
        return [Fields(item, f"{self.path}/{name}/{i}", self._problems) for i, item in enumerate(value or ())]

    def object(self, name: str) -> "Fields":
        """An object; an empty one where it is absent."""
        value = self._take(name, dict, "JSONObject", False)
        return Fields(value or {}, f"{self.path}/{name}", self._problems)

    @property
    def names(self) -> set[str]:
        """The members that nobody took."""
        return set(self._left)

    def peek(self, name: str) -> Any:
        """Whatever the member is; it stays to be taken. None where it is absent."""
        return self._left.get(name)

    def drop(self) -> None:
        """Forgets what nobody took: what is wrong with the object has been said."""
        self._left = {}

    def ignored(self, *names: str) -> None:
        """Members that are allowed and mean nothing here."""
        for name in names:
            self._left.pop(name, None)

    def refused(self, why: str, *names: str) -> None:
        """Members that AWS knows and this server does not serve."""
        for name in names:
            if self._left.pop(name, None) is not None:
                self.problem(f"{self.path}/{name}", why)

    def one_of(self, name: str, *values: Any, required: bool = False) -> Any:
        """One of some values; the first where it is absent."""
        if name not in self._left and not required:
            return values[0]
        value = self._take(name, type(values[0]), _JSON_TYPES[type(values[0])], required)
        if value is not None and value not in values:
            self.problem(f"{self.path}/{name}", f"{_short(value)} is not a valid enum value: {list(values)}")
        return value

    def problem(self, path: str, text: str) -> None:
        """Notes what is wrong at a place."""
        self._problems.append(f"{path}: {text}")

    def here(self, text: str) -> None:
        """Notes what is wrong with this object."""
        self.problem(self.path, text)

    def close(self) -> None:
        """Notes the members that nobody took."""
        for name in self._left:
            self.problem(self.path, f"extraneous key [{_short(name)}] is not permitted")
        self._left = {}

    def end(self, hint: str = "") -> None:
        """Raises BodyError if there was anything wrong; `hint` says what the body should be."""
        self.close()
        found = self._problems
        if not found:
            return
        told = "; ".join(found[:_SHOWN]) + ("; …" if len(found) > _SHOWN else "")
        count = f"{len(found)} schema violations found: " if len(found) > 1 else ""
        raise BodyError(f"Malformed input request: {count}{told}, please reformat your input and try again.{hint}")

    def _take(self, name: str, kind: type | tuple[type, ...], called: str, required: bool) -> Any:
        value = self._left.pop(name, None)
        if value is None:
            if required and self._is_object:
                self.problem(self.path, f"required key [{name}] not found")
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._expected(f"{self.path}/{name}", called, value)
            return None
        return value

    def _within(self, name: str, value: Any, low: float, high: float | None, default: Any) -> Any:
        if value is None:
            return default
        if not value >= low:
            self.problem(f"{self.path}/{name}", f"{_short(value)} is not greater or equal to {low}")
        elif high is not None and value > high:
            self.problem(f"{self.path}/{name}", f"{_short(value)} is not less or equal to {high}")
        else:
            return value
        return default

    def _expected(self, path: str, called: str, value: Any) -> None:
        self.problem(path, f"expected type: {called}, found: {_JSON_TYPES.get(type(value), type(value).__name__)}")


def _short(value: Any) -> str:
    """The value, cut where it would fill the message, without line breaks."""
    text = value if isinstance(value, str) else str(value) if not isinstance(value, int) else _digits(value)
    return text[:80].encode("unicode_escape").decode()


def _digits(value: int) -> str:
    return str(value) if abs(value) < 10**30 else "a number of more than 30 digits"
