"""The rest-json protocol, both ways, compiled from the shapes of botocore's models at first use.

Reading never refuses a value: what is not of the shape's type stays as it came, and `constraints` names it.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
from botocore.model import OperationModel, Shape, StructureShape

from . import timestamps

Headers = list[tuple[bytes, bytes]]
Convert = Callable[[Any], Any]
MAX_DEPTH = 100
"""Objects and arrays inside each other that a JSON body may have."""
MAX_QUERY_FIELDS = 1000

_DEFAULT_TIMESTAMPS = {"header": "rfc822", "querystring": "iso8601", "uri": "iso8601"}
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Malformed(ValueError):
    """The request cannot be read at all: no JSON, no object, too deep, not UTF-8."""


def _same(value: Any) -> Any:
    return value


class RequestParser:
    """Turns HTTP requests of one operation into a dict with boto3's member names.

    Timestamps become `datetime` in UTC, blobs `bytes`. `lenient` takes empty strings for absent members and
    reads numbers and booleans (in any case) out of strings. `reads_body` says whether the operation has members
    in the body.
    """

    def __init__(self, operation: OperationModel, lenient: bool = False) -> None:
        self._readers = _Readers(lenient)
        self._lenient = lenient
        self._labels: list[tuple[str, str, Convert]] = []
        self._query: dict[str, tuple[str, Convert, bool]] = {}
        self._query_map: tuple[str, bool] | None = None
        self._headers: dict[bytes, tuple[str, Convert]] = {}
        self._prefixes: list[tuple[bytes, str]] = []
        self._payload: tuple[str, Convert, str] | None = None
        self._tokens: list[str] = []
        self._body: dict[str, tuple[str, Convert]] = {}
        if operation.input_shape is not None:
            self._compile(operation.input_shape)
        self.reads_body = bool(self._body) or self._payload is not None

    def _compile(self, shape: StructureShape) -> None:
        payload = shape.serialization.get("payload")
        for member, member_shape in shape.members.items():
            location = member_shape.serialization.get("location")
            wire = member_shape.serialization.get("name", member)
            if member_shape.metadata.get("idempotencyToken") and member in shape.required_members:
                self._tokens.append(member)
            if location == "uri":
                self._labels.append((wire, member, self._readers.text(member_shape)))
            elif location == "querystring":
                self._compile_query(wire, member, member_shape)
            elif location == "header":
                self._headers[wire.lower().encode()] = (member, self._readers.text(member_shape))
            elif location == "headers":
                self._prefixes.append((wire.lower().encode(), member))
            elif member == payload:
                self._payload = (member, self._readers.json(member_shape), member_shape.type_name)
            else:
                self._body[wire] = (member, self._readers.json(member_shape))

    def _compile_query(self, wire: str, member: str, shape: Shape) -> None:
        if shape.type_name == "map":
            self._query_map = (member, shape.value.type_name == "list")
        elif shape.type_name == "list":
            self._query[wire] = (member, self._readers.text(shape.member), True)
        else:
            self._query[wire] = (member, self._readers.text(shape), False)

    def parse(
        self, labels: Mapping[str, str], query: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The input, and the top-level members of a JSON body that the model does not know.

        `labels` are decoded already, header names are in lower case. Raises `Malformed`.
        """
        values: dict[str, Any] = {}
        for wire, member, convert in self._labels:
            values[member] = convert(labels[wire])
        if query and (self._query or self._query_map):
            self._parse_query(query, values)
        if self._headers or self._prefixes:
            self._parse_headers(headers, values)
        extra = self._parse_body(body, values) if body else {}
        for member in self._tokens:
            values.setdefault(member, str(uuid4()))
        return values, extra

    def _parse_query(self, query: bytes, values: dict[str, Any]) -> None:
        try:
            fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError as error:
            raise Malformed(f"The query string has more than {MAX_QUERY_FIELDS} fields") from error
        for key, text in fields:
            if key not in self._query:
                self._put_in_query_map(key, text, values)
            elif not (text == "" and self._lenient):
                member, convert, many = self._query[key]
                if many:
                    values.setdefault(member, []).append(convert(text))
                else:
                    values[member] = convert(text)

    def _put_in_query_map(self, key: str, text: str, values: dict[str, Any]) -> None:
        if self._query_map is None:
            return
        member, many = self._query_map
        target = values.setdefault(member, {})
        if many:
            target.setdefault(key, []).append(text)
        else:
            target[key] = text

    def _parse_headers(self, headers: Sequence[tuple[bytes, bytes]], values: dict[str, Any]) -> None:
        for name, raw in headers:
            known = self._headers.get(name)
            if known is not None:
                member, convert = known
                text = _decode_header(raw)
                if not (text == "" and self._lenient):
                    values[member] = convert(text)
            for prefix, member in self._prefixes:
                if name.startswith(prefix):
                    values.setdefault(member, {})[name[len(prefix) :].decode("latin-1")] = _decode_header(raw)

    def _parse_body(self, body: bytes, values: dict[str, Any]) -> dict[str, Any]:
        if self._payload is not None:
            member, convert, kind = self._payload
            values[member] = _read_payload(body, kind, convert)
            return {}
        return self._parse_members(body, values) if self._body else {}

    def _parse_members(self, body: bytes, values: dict[str, Any]) -> dict[str, Any]:
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


def _read_payload(body: bytes, kind: str, convert: Convert) -> Any:
    if kind == "blob":
        return body
    if kind == "string":
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"The request body is not UTF-8: {error}") from error
    return convert(load_json(body))


def _decode_header(raw: bytes) -> str:
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


class _Readers:
    """What turns JSON values, and texts of labels, queries and headers, into Python values."""

    def __init__(self, lenient: bool) -> None:
        self._lenient = lenient
        self._cache: dict[str, Convert] = {}

    def json(self, shape: Shape) -> Convert:
        if getattr(shape, "is_document_type", False):
            return _same
        if shape.serialization.get("jsonvalue"):
            return _read_json_text
        kind = shape.type_name
        if kind in ("structure", "list", "map"):
            return self._cache.get(shape.name) or getattr(self, f"_{kind}")(shape)
        if kind in ("integer", "long"):
            return _read_lenient_integer if self._lenient else _read_integer
        if kind in ("float", "double"):
            return _read_lenient_float if self._lenient else _read_float
        if kind == "boolean":
            return _read_lenient_boolean if self._lenient else _same
        return {"timestamp": _read_timestamp, "blob": _read_blob}.get(kind, _same)

    def text(self, shape: Shape) -> Convert:
        if shape.serialization.get("jsonvalue"):
            return _read_base64_json
        kind = shape.type_name
        if kind == "list":
            item = self.text(shape.member)
            return lambda text: [item(part.strip()) for part in text.split(",")]
        if kind == "boolean":
            return _read_lenient_boolean if self._lenient else _read_boolean_text
        return {
            "integer": _read_lenient_integer,
            "long": _read_lenient_integer,
            "float": _read_lenient_float,
            "double": _read_lenient_float,
            "timestamp": _read_timestamp,
            "blob": _read_blob,
        }.get(kind, _same)

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
            return value if item is _same else [None if part is None else item(part) for part in value]

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


def _read_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_lenient_integer(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= 20 and value.lstrip("+-").isascii():
        try:
            return int(value)
        except ValueError:
            return value
    return _read_integer(value)


def _read_float(value: Any) -> Any:
    if isinstance(value, str):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value, value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _read_lenient_float(value: Any) -> Any:
    value = _read_float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _read_boolean_text(value: str) -> Any:
    return {"true": True, "false": False}.get(value, value)


def _read_lenient_boolean(value: Any) -> Any:
    return _read_boolean_text(value.lower()) if isinstance(value, str) else value


def _read_timestamp(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return timestamps.read(value)
    except ValueError:
        return value


def _read_blob(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except (binascii.Error, ValueError):
        return value


def _read_json_text(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _read_base64_json(value: str) -> Any:
    decoded = _read_blob(value)
    return _read_json_text(decoded.decode("utf-8", "replace")) if isinstance(decoded, bytes) else value


class ResponseRenderer:
    """Turns a dict of one shape (an operation's output, or an error) into status, headers and body."""

    def __init__(self, shape: StructureShape | None, status: int) -> None:
        self._status = status
        self._writers = _Writers()
        self._status_member: str | None = None
        self._headers: dict[str, tuple[bytes, Convert]] = {}
        self._prefixes: dict[str, bytes] = {}
        self._payload: tuple[str, Convert, str] | None = None
        self._body: dict[str, tuple[str, Convert]] = {}
        self._name = shape.name if shape is not None else "an operation without output"
        self._no_body = shape is None or status == 204
        if shape is not None:
            self._compile(shape)

    def _compile(self, shape: StructureShape) -> None:
        payload = shape.serialization.get("payload")
        for member, member_shape in shape.members.items():
            location = member_shape.serialization.get("location")
            wire = member_shape.serialization.get("name", member)
            if location == "statusCode":
                self._status_member = member
            elif location == "header":
                self._headers[member] = (wire.lower().encode(), _header_writer(member_shape))
            elif location == "headers":
                self._prefixes[member] = wire.lower().encode()
            elif member == payload:
                self._payload = (member, self._writers.json(member_shape), member_shape.type_name)
            else:
                self._body[member] = (wire, self._writers.json(member_shape))

    def render(self, output: Mapping[str, Any]) -> tuple[int, Headers, bytes]:
        """Absent members and those that are None are left out.

        Raises `ValueError` where `output` has a member that the shape does not know.
        """
        status, headers, document = self._status, [], {}
        for member, value in output.items():
            if value is None:
                continue
            entry = self._body.get(member)
            if entry is not None:
                document[entry[0]] = entry[1](value)
            elif member in self._headers:
                name, convert = self._headers[member]
                headers.append((name, _header_bytes(convert(value))))
            elif member == self._status_member:
                status = int(value)
            elif member in self._prefixes:
                prefix = self._prefixes[member]
                headers += [(prefix + k.lower().encode(), _header_bytes(v)) for k, v in value.items()]
            elif self._payload is None or member != self._payload[0]:
                raise ValueError(f"{self._name} has no member {member!r}")
        if self._payload is not None:
            return status, headers, self._render_payload(output, headers)
        if self._no_body:
            return status, headers, b""
        headers.append((b"content-type", b"application/json"))
        return status, headers, orjson.dumps(document)

    def _render_payload(self, output: Mapping[str, Any], headers: Headers) -> bytes:
        assert self._payload is not None
        member, convert, kind = self._payload
        value = output.get(member)
        if kind in ("blob", "string"):
            if not any(name == b"content-type" for name, _ in headers):
                headers.append((b"content-type", b"application/octet-stream" if kind == "blob" else b"text/plain"))
            body = b"" if value is None else value
            return body.encode() if isinstance(body, str) else bytes(body)
        headers.append((b"content-type", b"application/json"))
        return orjson.dumps({} if value is None else convert(value))


def _header_writer(shape: Shape) -> Convert:
    if shape.serialization.get("jsonvalue"):
        return lambda value: base64.b64encode(orjson.dumps(value)).decode()
    if shape.type_name == "timestamp":
        return timestamps.writer(_timestamp_format(shape))
    if shape.type_name == "list":
        item = _header_writer(shape.member)
        return lambda value: ",".join(str(item(part)) for part in value)
    if shape.type_name == "blob":
        return lambda value: base64.b64encode(value).decode()
    return (lambda value: "true" if value else "false") if shape.type_name == "boolean" else _same


def _header_bytes(value: Any) -> bytes:
    # A line break would begin another header.
    text = str(value).replace("\r", " ").replace("\n", " ").replace("\0", " ")
    return text.encode()


def _timestamp_format(shape: Shape) -> str:
    location = shape.serialization.get("location", "body")
    style = shape.serialization.get("timestampFormat") or _DEFAULT_TIMESTAMPS.get(location, "unixTimestamp")
    return str(style)


class _Writers:
    """What turns Python values into what orjson writes."""

    def __init__(self) -> None:
        self._cache: dict[str, Convert] = {}

    def json(self, shape: Shape) -> Convert:
        if getattr(shape, "is_document_type", False):
            return _same
        if shape.serialization.get("jsonvalue"):
            return lambda value: orjson.dumps(value).decode()
        kind = shape.type_name
        if kind in ("structure", "list", "map"):
            return self._cache.get(shape.name) or getattr(self, f"_{kind}")(shape)
        if kind == "timestamp":
            return timestamps.writer(_timestamp_format(shape))
        if kind == "blob":
            return _write_blob
        return _write_float if kind in ("float", "double") else _same

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
                result[wire] = item if convert is _same else convert(item)
            return result

        self._cache[name] = write  # before the members are read: a shape may contain itself
        for member, member_shape in shape.members.items():
            members[member] = (member_shape.serialization.get("name", member), self.json(member_shape))
        return write

    def _list(self, shape: Shape) -> Convert:
        item = self.json(shape.member)

        def write(value: Sequence[Any]) -> list[Any]:
            return list(value) if item is _same else [None if part is None else item(part) for part in value]

        self._cache[shape.name] = write
        return write

    def _map(self, shape: Shape) -> Convert:
        item = self.json(shape.value)

        def write(value: Mapping[str, Any]) -> dict[str, Any]:
            return {key: item(part) for key, part in value.items() if part is not None}

        self._cache[shape.name] = write
        return write


def _write_blob(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _write_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
