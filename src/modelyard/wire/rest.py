"""What the REST protocols share: where a shape's members stand in a request or an answer, beside the body.

Compiled from the shapes of botocore's models at first use. Reading never refuses a value: what is not of the shape's
type stays as it came, and `constraints` names it.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
from botocore.model import OperationModel, Shape, StructureShape

from . import scalars
from .scalars import Convert
from .streams import Body, Headers

Content = bytes | AsyncIterator[bytes]
"""The body of an answer: all of it, or its pieces as they come."""
Answer = tuple[int, Headers, Content]
"""Status, headers with lower-case names and content."""

MAX_QUERY_FIELDS = 1000

_EVENTS = "event stream"
_CONTENT_TYPES = {
    "blob": b"application/octet-stream",
    "string": b"text/plain",
    _EVENTS: b"application/vnd.amazon.eventstream",
}
"""Of the members that are a whole body, unless the output says otherwise."""


class Malformed(ValueError):
    """The request cannot be read at all: no JSON or XML, not what it should hold, too deep, not UTF-8."""


class RequestParser(ABC):
    """Turns HTTP requests of one operation into a dict with boto3's member names.

    Timestamps become `datetime` in UTC, blobs `bytes`. `lenient` takes empty strings for absent members and
    reads numbers and booleans (in any case) out of strings. `reads_body` says whether the operation has members
    in the body, `streams` whether the body is one member that the handler gets as it arrives.
    """

    def __init__(self, operation: OperationModel, lenient: bool = False) -> None:
        self._lenient = lenient
        self._labels: list[tuple[str, str, Convert]] = []
        self._query: dict[str, tuple[str, Convert, bool]] = {}
        self._query_map: tuple[str, bool] | None = None
        self._headers: dict[bytes, tuple[str, Convert, bool]] = {}
        self._prefixes: list[tuple[bytes, str]] = []
        self._payload: tuple[str, Callable[[bytes], Any] | None] | None = None
        self._tokens: list[str] = []
        self._body: dict[str, tuple[str, Convert]] = {}
        self.streams = False
        if operation.input_shape is not None:
            self._compile(operation.input_shape)
        self.reads_body = bool(self._body) or self._payload is not None

    @abstractmethod
    def _reader(self, shape: Shape) -> Convert:
        """What reads a member of the body."""

    @abstractmethod
    def _payload_reader(self, shape: Shape) -> Callable[[bytes], Any]:
        """What reads the member that is the whole body, where that is no blob and no text."""

    @abstractmethod
    def _read_members(self, body: bytes, values: dict[str, Any]) -> dict[str, Any]:
        """Puts the members of the body into `values`; what the model does not know is returned."""

    def _compile(self, shape: StructureShape) -> None:
        payload = shape.serialization.get("payload")
        for member, member_shape in shape.members.items():
            location = member_shape.serialization.get("location")
            wire = member_shape.serialization.get("name", member)
            if member_shape.metadata.get("idempotencyToken") and member in shape.required_members:
                self._tokens.append(member)
            if location == "uri":
                self._labels.append((wire, member, _text_reader(member_shape, self._lenient)))
            elif location == "querystring":
                self._compile_query(wire, member, member_shape)
            elif location == "header":
                chosen = self._lenient or "enum" in member_shape.metadata
                self._headers[wire.lower().encode()] = (member, _text_reader(member_shape, self._lenient), chosen)
            elif location == "headers":
                self._prefixes.append((wire.lower().encode(), member))
            elif member == payload:
                read = _read_text if member_shape.type_name == "string" else self._payload_reader(member_shape)
                self._payload = (member, None if member_shape.type_name == "blob" else read)
                self.streams = bool(member_shape.serialization.get("streaming"))
            else:
                self._body[wire] = (member, self._reader(member_shape))

    def _compile_query(self, wire: str, member: str, shape: Shape) -> None:
        if shape.type_name == "map":
            self._query_map = (member, shape.value.type_name == "list")
        elif shape.type_name == "list":
            self._query[wire] = (member, _text_reader(shape.member, self._lenient), True)
        else:
            self._query[wire] = (member, _text_reader(shape, self._lenient), False)

    def parse(
        self, labels: Mapping[str, str], query: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes | Body
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
        for key, text in query_fields(query):
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
                member, convert, chosen = known
                text = _decode_header(raw)
                if text or not chosen:  # a choice that is empty is none: s3fs sends an x-amz-acl of nothing
                    values[member] = convert(text)
            for prefix, member in self._prefixes:
                if name.startswith(prefix):
                    values.setdefault(member, {})[name[len(prefix) :].decode("latin-1")] = _decode_header(raw)

    def _parse_body(self, body: bytes | Body, values: dict[str, Any]) -> dict[str, Any]:
        if self._payload is None:
            assert isinstance(body, bytes)
            return self._read_members(body, values) if self._body else {}
        member, read = self._payload
        if read is None:
            values[member] = body
        else:
            assert isinstance(body, bytes)
            values[member] = read(body)
        return {}


def query_fields(query: bytes) -> list[tuple[str, str]]:
    """The decoded fields of a query string or a form; raises `Malformed` if there are too many."""
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise Malformed(f"The query string has more than {MAX_QUERY_FIELDS} fields") from error


def _read_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The request body is not UTF-8: {error}") from error


def _decode_header(raw: bytes) -> str:
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def _text_reader(shape: Shape, lenient: bool) -> Convert:
    if shape.serialization.get("jsonvalue"):
        return _read_base64_json
    if shape.type_name == "list":
        item = _text_reader(shape.member, lenient)
        return lambda text: [item(part.strip()) for part in text.split(",")]
    return scalars.reader(shape, lenient)


def _read_base64_json(value: str) -> Any:
    decoded = scalars.read_blob(value)
    return scalars.read_json_text(decoded.decode("utf-8", "replace")) if isinstance(decoded, bytes) else value


class ResponseRenderer(ABC):
    """Turns a dict of one shape (an operation's output, or an error) into status, headers and body."""

    content_type: bytes
    empty_payload: bytes
    """The body of an output whose one member of the body is absent."""

    def __init__(self, shape: StructureShape | None, status: int) -> None:
        self._status = status
        self._status_member: str | None = None
        self._headers: dict[str, tuple[bytes, Convert]] = {}
        self._prefixes: dict[str, bytes] = {}
        self._payload: tuple[str, Callable[[Any], bytes], str] | None = None
        self._body: dict[str, tuple[str, Convert]] = {}
        self._name = shape.name if shape is not None else "an operation without output"
        self._no_body = shape is None or status == 204
        if shape is not None:
            self._compile(shape)

    @abstractmethod
    def _writer(self, shape: Shape, name: str) -> Convert:
        """What writes a member of the body, which is called `name` there."""

    @abstractmethod
    def _document(self, members: dict[str, Any]) -> bytes:
        """The body out of the written members."""

    @abstractmethod
    def _payload_writer(self, shape: Shape) -> Callable[[Any], bytes]:
        """What writes the member that is the whole body, where that is no blob and no text."""

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
                kind = _EVENTS if member_shape.serialization.get("eventstream") else member_shape.type_name
                self._payload = (member, self._payload_writer(member_shape), kind)
            else:
                self._body[member] = (wire, self._writer(member_shape, wire))

    def render(self, output: Mapping[str, Any], request_id: str = "") -> Answer:
        """Absent members and those that are None are left out.

        Raises `ValueError` where `output` has a member that the shape does not know.
        """
        status, headers, members = self._status, [], {}
        for member, value in output.items():
            if value is None:
                continue
            entry = self._body.get(member)
            if entry is not None:
                members[entry[0]] = entry[1](value)
            elif member in self._headers:
                name, convert = self._headers[member]
                headers.append((name, header_bytes(convert(value))))
            elif member == self._status_member:
                status = int(value)
            elif member in self._prefixes:
                prefix = self._prefixes[member]
                headers += [(prefix + k.lower().encode(), header_bytes(v)) for k, v in value.items()]
            elif self._payload is None or member != self._payload[0]:
                raise ValueError(f"{self._name} has no member {member!r}")
        if self._payload is not None:
            return with_length(status, headers, self._render_payload(output, headers))
        if self._no_body:
            return with_length(status, headers, b"")
        content = self._document(members)
        headers.append((b"content-type", self.content_type))
        headers.append((b"content-length", b"%d" % len(content)))
        return status, headers, content

    def _render_payload(self, output: Mapping[str, Any], headers: Headers) -> Content:
        assert self._payload is not None
        member, write, kind = self._payload
        value = output.get(member)
        if kind in _CONTENT_TYPES:
            if not any(name == b"content-type" for name, _ in headers):
                headers.append((b"content-type", _CONTENT_TYPES[kind]))
            return _content(value)
        headers.append((b"content-type", self.content_type))
        return self.empty_payload if value is None else write(value)


def with_length(status: int, headers: Headers, content: Content) -> Answer:
    """An answer that tells the length of its content, unless it does already, or may not."""
    if isinstance(content, bytes) and status not in (204, 304) and not any(n == b"content-length" for n, _ in headers):
        headers.append((b"content-length", b"%d" % len(content)))
    return status, headers, content


def _content(value: Any) -> Content:
    if isinstance(value, bytes):
        return value
    if isinstance(value, AsyncIterator):
        return value
    return value.encode() if isinstance(value, str) else bytes(value or b"")


def _header_writer(shape: Shape) -> Convert:
    if shape.serialization.get("jsonvalue"):
        return lambda value: scalars.write_blob(orjson.dumps(value))
    if shape.type_name == "list":
        item = _header_writer(shape.member)
        return lambda value: ",".join(str(item(part)) for part in value)
    return scalars.writer(shape, "rfc822")


def header_bytes(value: Any) -> bytes:
    """A header's value."""
    # A line break would begin another header.
    text = str(value).replace("\r", " ").replace("\n", " ").replace("\0", " ")
    return text.encode()
