"""What the models say about a request's values, checked all at once."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from botocore.model import Shape, StructureShape

from .patterns import Pattern
from .violations import ECHOED, Violation, echo

COLLECTED = 1000
"""Violations after which the rest of a list or map is not looked at."""
SCANNED = 16_384
"""A value that is too long anyway is not matched against its pattern above this length, in characters."""

_INTEGERS = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}

Check = Callable[[Any, str, list[Violation]], None]


class Constraints:
    """The checks of a model's shapes, compiled at first use; nothing but the type of the shapes `any_text`."""

    def __init__(self, any_text: Collection[str] = ()) -> None:
        self._any_text = any_text
        self._checks: dict[str, Check] = {}
        self._patterns: dict[str, Pattern] = {}

    def check(self, shape: StructureShape | None, value: Mapping[str, Any]) -> list[Violation]:
        """Everything in `value` that the shape refuses, in the order of the model's members."""
        violations: list[Violation] = []
        if shape is not None:
            self.of(shape)(value, "", violations)
        return violations

    def of(self, shape: Shape) -> Check:
        """What checks a value of the shape: it takes the value, its place, and the list for the violations."""
        known = self._checks.get(shape.name)
        return known if known is not None else self._compile(shape)

    def _compile(self, shape: Shape) -> Check:
        if getattr(shape, "is_document_type", False) or shape.serialization.get("jsonvalue"):
            return _anything
        kind = shape.type_name
        if kind in ("structure", "list", "map"):
            check: Check = getattr(self, f"_{kind}")(shape)
            return check
        check = self._string(shape) if kind == "string" else _scalar(shape)
        self._checks[shape.name] = check
        return check

    def _structure(self, shape: StructureShape) -> Check:
        members: list[tuple[str, bool, Check]] = []
        union, hidden = shape.is_tagged_union, _hidden(shape)

        def check(value: Any, path: str, found: list[Violation]) -> None:
            if not isinstance(value, dict):
                found.append(_violation(path, "type", value, "Member must be an object", hidden))
                return
            for member, required, check_member in members:
                item = value.get(member)
                if item is not None:
                    check_member(item, f"{path}.{member}" if path else member, found)
                elif required:
                    place = f"{path}.{member}" if path else member
                    found.append(_violation(place, "required", None, "Member must not be null", False))
            if union and len(value) != 1:
                text = "Member must have exactly one member set"
                found.append(_violation(path, "union", value, text, hidden))

        self._checks[shape.name] = check  # before the members are read: a shape may contain itself
        required = set(shape.required_members)
        members += [(name, name in required, self.of(member)) for name, member in shape.members.items()]
        return check

    def _list(self, shape: Shape) -> Check:
        check_length = _length(shape)
        item_shape = shape.member
        hidden = _hidden(shape)
        nested = item_shape.type_name in ("structure", "list", "map")
        clause = "Member must satisfy constraint"
        check_item: Check

        def check(value: Any, path: str, found: list[Violation]) -> None:
            if not isinstance(value, list):
                found.append(_violation(path, "type", value, "Member must be a list", hidden))
                return
            check_length(value, path, found)
            for index, item in enumerate(value, 1):
                if len(found) >= COLLECTED:
                    return
                place = f"{path}.{index}.member"
                if item is None:
                    found.append(_violation(place, "required", None, "Member must not be null", False))
                elif nested:
                    check_item(item, place, found)
                elif _refused(check_item, item, place, found):
                    found.append(_inner(path, value, clause, item_shape, found.pop(), hidden))
                    return

        self._checks[shape.name] = check
        check_item = self.of(item_shape)
        return check

    def _map(self, shape: Shape) -> Check:
        check_length = _length(shape)
        key_shape, value_shape = shape.key, shape.value
        hidden = _hidden(shape)
        nested = value_shape.type_name in ("structure", "list", "map")
        check_key = self.of(key_shape)
        check_value: Check

        def check(value: Any, path: str, found: list[Violation]) -> None:
            if not isinstance(value, dict):
                found.append(_violation(path, "type", value, "Member must be an object", hidden))
                return
            check_length(value, path, found)
            for key in value:
                if _refused(check_key, key, path, found):
                    clause = "Map keys must satisfy constraint"
                    found.append(_inner(path, value, clause, key_shape, found.pop(), hidden))
                    break
            for key, item in value.items():
                if len(found) >= COLLECTED:
                    return
                if nested:
                    check_value(item, f"{path}.{echo(key)}.member", found)
                elif _refused(check_value, item, path, found):
                    clause = "Map value must satisfy constraint"
                    found.append(_inner(path, value, clause, value_shape, found.pop(), hidden))
                    break

        self._checks[shape.name] = check
        check_value = self.of(value_shape)
        return check

    def _string(self, shape: Shape) -> Check:
        check_length = _anything if shape.name in self._any_text else _length(shape)
        hidden, pattern = _hidden(shape), self._pattern(shape)
        longest = shape.metadata.get("max")
        enum = frozenset(() if shape.name in self._any_text else shape.enum)
        choices = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"

        def check(value: Any, path: str, found: list[Violation]) -> None:
            if not isinstance(value, str):
                found.append(_violation(path, "type", value, "Member must be a string", hidden))
                return
            check_length(value, path, found)
            if enum and value not in enum:
                found.append(_violation(path, "enum", value, choices, hidden))
            too_long = longest is not None and len(value) > longest
            scanned = not too_long or len(value) <= SCANNED
            if pattern is not None and scanned and not pattern.matches(value):
                text = f"Member must satisfy regular expression pattern: {pattern.source}"
                found.append(_violation(path, "pattern", value, text, hidden))

        return check

    def _pattern(self, shape: Shape) -> Pattern | None:
        source = shape.metadata.get("pattern")
        if source is None or shape.name in self._any_text:
            return None
        return self._patterns.setdefault(source, Pattern(source))


def _anything(value: Any, path: str, found: list[Violation]) -> None:
    """A document may be any JSON value; what streams is not there yet."""


def _violation(path: str, kind: Any, value: Any, constraint: str, hidden: bool) -> Violation:
    shown = " null" if value is None else "" if hidden else f" '{echo(value)}'"
    return Violation(path, kind, f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}")


def _refused(check: Check, value: Any, path: str, found: list[Violation]) -> bool:
    """Whether the check refuses the value; leaves only the first of its violations."""
    before = len(found)
    check(value, path, found)
    del found[before + 1 :]
    return len(found) > before


def _inner(path: str, value: Any, clause: str, shape: Shape, first: Violation, hidden: bool) -> Violation:
    """The violation of a list or map that its items cause: AWS names all that an item must satisfy."""
    if first.kind in ("type", "required"):
        return first
    return _violation(path, first.kind, _listed(value), f"{clause}: [{', '.join(_demands(shape))}]", hidden)


def _listed(value: Any) -> str:
    """A list or map in the form in which AWS repeats it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={item}" for key, item in list(value.items())[:ECHOED]) + "}"
    return "[" + ", ".join(str(item)[:ECHOED] for item in value[:ECHOED]) + "]"


def _demands(shape: Shape) -> list[str]:
    """Everything that the model asks of a scalar, in AWS's order."""
    metadata = shape.metadata
    noun = "length" if shape.type_name in ("string", "blob") else "value"
    demands = []
    if "max" in metadata:
        demands.append(f"Member must have {noun} less than or equal to {metadata['max']}")
    if "min" in metadata:
        demands.append(f"Member must have {noun} greater than or equal to {metadata['min']}")
    if "pattern" in metadata:
        demands.append(f"Member must satisfy regular expression pattern: {metadata['pattern']}")
    if metadata.get("enum"):
        demands.append(f"Member must satisfy enum value set: [{', '.join(metadata['enum'])}]")
    return demands


def _hidden(shape: Shape) -> bool:
    return bool(shape.metadata.get("sensitive"))


def _length(shape: Shape) -> Check:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    hidden = _hidden(shape)

    def check(value: Any, path: str, found: list[Violation]) -> None:
        size = len(value)
        shown = value if isinstance(value, str) else "" if isinstance(value, bytes) else _listed(value)
        if most is not None and size > most:
            text = f"Member must have length less than or equal to {most}"
            found.append(_violation(path, "length", shown, text, hidden))
        if least is not None and size < least:
            text = f"Member must have length greater than or equal to {least}"
            found.append(_violation(path, "length", shown, text, hidden))

    return check if least is not None or most is not None else _anything


def _scalar(shape: Shape) -> Check:
    kind = shape.type_name
    if kind in ("integer", "long"):
        return _number(shape, kind, _is_integer)
    if kind in ("float", "double"):
        return _number(shape, "number", _is_number)
    if kind == "blob":
        return _anything if shape.serialization.get("streaming") else _blob(shape)
    if kind == "boolean":
        return _instance(bool, "Member must be a boolean", _hidden(shape))
    if kind == "timestamp":
        return _instance(datetime, "Member must be a timestamp", _hidden(shape))
    return _anything


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_integer(value)


def _number(shape: Shape, name: str, is_one: Callable[[Any], bool]) -> Check:
    lowest, highest = _INTEGERS.get(name, (None, None))
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    hidden = _hidden(shape)
    wording = f"Member must be {'an' if name == 'integer' else 'a'} {name}"

    def check(value: Any, path: str, found: list[Violation]) -> None:
        if not is_one(value) or (lowest is not None and not lowest <= value <= highest):
            found.append(_violation(path, "type", value, wording, hidden))
        elif most is not None and not value <= most:
            text = f"Member must have value less than or equal to {most}"
            found.append(_violation(path, "range", value, text, hidden))
        elif least is not None and not value >= least:
            text = f"Member must have value greater than or equal to {least}"
            found.append(_violation(path, "range", value, text, hidden))

    return check


def _blob(shape: Shape) -> Check:
    check_length, hidden = _length(shape), _hidden(shape)

    def check(value: Any, path: str, found: list[Violation]) -> None:
        if isinstance(value, bytes):
            check_length(value, path, found)
        else:
            found.append(_violation(path, "type", value, "Member must be base64-encoded bytes", hidden))

    return check


def _instance(kind: type, wording: str, hidden: bool) -> Check:
    def check(value: Any, path: str, found: list[Violation]) -> None:
        if not isinstance(value, kind):
            found.append(_violation(path, "type", value, wording, hidden))

    return check
