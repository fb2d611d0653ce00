"""The bodies of the rest-json protocol, both ways; the rest of it is `rest`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from botocore.model import OperationModel, Shape, StructureShape

from . import rest, scalars
from .rest import Malformed
from .scalars import Convert, same

MAX_DEPTH = 100
"""Objects and arrays inside each other that a JSON body may have."""

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class RequestParser(rest.RequestParser):
    """Requests with JSON bodies."""

    def __init__(self, operation: OperationModel, lenient: bool = False) -> None:
        self._readers = _Readers(lenient)
        super().__init__(operation, lenient)

    def _reader(self, shape: Shape) -> Convert:
        return self._readers.json(shape)

    def _payload_reader(self, shape: Shape) -> Callable[[bytes], Any]:
        read = self._readers.json(shape)
        return lambda body: read(load_json(body))

    def _read_members(self, body: bytes, values: dict[str, Any]) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        document = load_json(body)
        if document is None:
            return extra
        if not isinstance(document, dict):
            raise Malformed("The request body is no JSON object")
        known, lenient = self._body, self._lenient
        for key, value in document.items():
            if value is None or (lenient and value == ""):
                continue
            entry = known.get(key)
            if entry is None:
                extra[key] = value
            else:
                values[entry[0]] = entry[1](value)
        return extra


def load_json(body: bytes) -> Any:
    """The JSON value of a body; raises `Malformed` for what is no JSON or nested deeper than `MAX_DEPTH`."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _too_deep(body):
        raise Malformed(f"The request body is nested deeper than {MAX_DEPTH} levels")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"The request body is not valid JSON: {error}") from error


def _too_deep(body: bytes) -> bool:
    # Escapes go first, so that what is left between two quotes is a string and nothing else.
    outside_strings = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside_strings.translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")  # takes the innermost level away
    return bool(brackets)


class _Readers:
    """What turns JSON values into Python values."""

    def __init__(self, lenient: bool) -> None:
        self._lenient = lenient
        self._cache: dict[str, Convert] = {}

    def json(self, shape: Shape) -> Convert:
        if getattr(shape, "is_document_type", False):
            return same
        if shape.serialization.get("jsonvalue"):
            return scalars.read_json_text
        kind = shape.type_name
        if kind in ("structure", "list", "map"):
            return self._cache.get(shape.name) or getattr(self, f"_{kind}")(shape)
        if kind in ("integer", "long"):
            return scalars.read_lenient_integer if self._lenient else scalars.read_integer
        if kind in ("float", "double"):
            return scalars.read_lenient_float if self._lenient else scalars.read_float
        if kind == "boolean":
            return scalars.read_lenient_boolean if self._lenient else same
        return {"timestamp": scalars.read_timestamp, "blob": scalars.read_blob}.get(kind, same)

    def _structure(self, shape: StructureShape) -> Convert:
        members: dict[str, tuple[str, Convert]] = {}
        lenient = self._lenient

        def read(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            result = {}
            for key, item in value.items():
                entry = members.get(key)
                if entry is not None and item is not None and not (lenient and item == ""):
                    result[entry[0]] = entry[1](item)
            return result

        self._cache[shape.name] = read  # before the members are read: a shape may contain itself
        for member, member_shape in shape.members.items():
            members[member_shape.serialization.get("name", member)] = (member, self.json(member_shape))
        return read

    def _list(self, shape: Shape) -> Convert:
        item = self.json(shape.member)

        def read(value: Any) -> Any:
            if not isinstance(value, list):
                return value
            return value if item is same else [None if part is None else item(part) for part in value]

        self._cache[shape.name] = read
        return read

    def _map(self, shape: Shape) -> Convert:
        item = self.json(shape.value)

        def read(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            return {key: item(part) for key, part in value.items() if part is not None}

        self._cache[shape.name] = read
        return read


class ResponseRenderer(rest.ResponseRenderer):
    """Answers with JSON bodies."""

    content_type = b"application/json"
    empty_payload = b"{}"

    def __init__(self, shape: StructureShape | None, status: int) -> None:
        self._writers = _Writers()
        super().__init__(shape, status)

    def _writer(self, shape: Shape, name: str) -> Convert:
        return self._writers.json(shape)

    def _document(self, members: dict[str, Any]) -> bytes:
        return orjson.dumps(members)

    def _payload_writer(self, shape: Shape) -> Callable[[Any], bytes]:
        write = self._writers.json(shape)
        return lambda value: orjson.dumps(write(value))


class _Writers:
    """What turns Python values into what orjson writes."""

    def __init__(self) -> None:
        self._cache: dict[str, Convert] = {}

    def json(self, shape: Shape) -> Convert:
        if getattr(shape, "is_document_type", False):
            return same
        if shape.serialization.get("jsonvalue"):
            return lambda value: orjson.dumps(value).decode()
        kind = shape.type_name
        if kind in ("structure", "list", "map"):
            return self._cache.get(shape.name) or getattr(self, f"_{kind}")(shape)
        if kind == "timestamp":
            return scalars.writer(shape, "unixTimestamp")
        if kind == "blob":
            return scalars.write_blob
        return scalars.write_float if kind in ("float", "double") else same

    def _structure(self, shape: StructureShape) -> Convert:
        members: dict[str, tuple[str, Convert]] = {}
        name = shape.name

        def write(value: Mapping[str, Any]) -> dict[str, Any]:
            result = {}
            for member, item in value.items():
                if item is None:
                    continue
                if member not in members:
                    raise ValueError(f"{name} has no member {member!r}")
                wire, convert = members[member]
                result[wire] = item if convert is same else convert(item)
            return result

        self._cache[name] = write  # before the members are read: a shape may contain itself
        for member, member_shape in shape.members.items():
            members[member] = (member_shape.serialization.get("name", member), self.json(member_shape))
        return write

    def _list(self, shape: Shape) -> Convert:
        item = self.json(shape.member)

        def write(value: Sequence[Any]) -> list[Any]:
            return list(value) if item is same else [None if part is None else item(part) for part in value]

        self._cache[shape.name] = write
        return write

    def _map(self, shape: Shape) -> Convert:
        item = self.json(shape.value)

        def write(value: Mapping[str, Any]) -> dict[str, Any]:
            return {key: item(part) for key, part in value.items() if part is not None}

        self._cache[shape.name] = write
        return write
