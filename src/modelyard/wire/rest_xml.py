"""The bodies of the rest-xml protocol, both ways, as S3 speaks it; the rest of it is `rest`.

https://docs.aws.amazon.com/AmazonS3/latest/API/Type_API_Reference.html
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from botocore.model import Shape, StructureShape

from . import rest, scalars
from .rest import Answer, Malformed
from .scalars import Convert

MAX_TAGS = 400_000
"""Tags that an XML body may have: a list of 10,000 parts with all their checksums has fewer."""
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

_SPECIAL = re.compile(r'[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f]')
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}

_ROOTS = {
    "CreateMultipartUploadOutput": "InitiateMultipartUploadResult",
    "DeleteObjectsOutput": "DeleteResult",
    "GetBucketAccelerateConfigurationOutput": "AccelerateConfiguration",
    "GetBucketAclOutput": "AccessControlPolicy",
    "GetBucketCorsOutput": "CORSConfiguration",
    "GetBucketLifecycleConfigurationOutput": "LifecycleConfiguration",
    "GetBucketLocationOutput": "LocationConstraint",
    "GetBucketLoggingOutput": "BucketLoggingStatus",
    "GetBucketRequestPaymentOutput": "RequestPaymentConfiguration",
    "GetBucketTaggingOutput": "Tagging",
    "GetBucketVersioningOutput": "VersioningConfiguration",
    "GetBucketWebsiteOutput": "WebsiteConfiguration",
    "GetObjectAclOutput": "AccessControlPolicy",
    "GetObjectAttributesOutput": "GetObjectAttributesResponse",
    "GetObjectTaggingOutput": "Tagging",
    "ListBucketsOutput": "ListAllMyBucketsResult",
    "ListObjectVersionsOutput": "ListVersionsResult",
    "ListObjectsOutput": "ListBucketResult",
    "ListObjectsV2Output": "ListBucketResult",
}
# The model names no root elements, S3's documentation does; elsewhere "...Output" is "...Result".


class RequestParser(rest.RequestParser):
    """Requests with XML bodies. Elements that the model does not know are passed over."""

    def _reader(self, shape: Shape) -> Convert:
        return element_reader(shape)

    def _payload_reader(self, shape: Shape) -> Callable[[bytes], Any]:
        root = shape.serialization.get("name", shape.name)
        read = element_reader(shape)

        def read_document(body: bytes) -> Any:
            element = load_xml(body)
            if local_name(element.tag) != root:
                raise Malformed(f"The root of the XML is {local_name(element.tag)[:100]!r}, not {root!r}")
            return read(element)

        return read_document

    def _read_members(self, body: bytes, values: dict[str, Any]) -> dict[str, Any]:
        for child in load_xml(body):
            entry = self._body.get(local_name(child.tag))
            if entry is not None:
                values[entry[0]] = entry[1](child)
        return {}


def load_xml(body: bytes) -> ElementTree.Element:
    """The root element; raises `Malformed` for what is no XML, has too many tags, or a document type.

    Without a document type there are no entities to expand. Text in two bytes a character could hide one: it has NULs.
    """
    if b"\0" in body:
        raise Malformed("The request body is not UTF-8")
    if b"<!DOCTYPE" in body:
        raise Malformed("The XML has a document type")
    if body.count(b"<") > MAX_TAGS:
        raise Malformed(f"The XML has more than {MAX_TAGS} tags")
    parser = ElementTree.XMLParser(encoding="utf-8")
    try:
        parser.feed(body)
        return parser.close()
    except ElementTree.ParseError as error:
        raise Malformed(f"The request body is not valid XML: {error}") from error


def local_name(tag: str) -> str:
    """A tag or an attribute's name without its namespace."""
    return tag.rpartition("}")[2]


def element_reader(shape: Shape) -> Convert:
    """What reads an element of this shape."""
    kind = shape.type_name
    if kind == "structure":
        return _structure_reader(shape)
    if kind == "list":
        item = element_reader(shape.member)
        return lambda element: [item(child) for child in element]
    if kind == "string":
        return lambda element: element.text or ""
    read = scalars.reader(shape)
    return lambda element: read((element.text or "").strip())


def _structure_reader(shape: StructureShape) -> Convert:
    members: dict[str, tuple[str, Convert, bool]] = {}
    attributes: dict[str, str] = {}
    for member, member_shape in shape.members.items():
        wire = member_shape.serialization.get("name", member)
        if member_shape.serialization.get("xmlAttribute"):
            attributes[wire.rpartition(":")[2]] = member
        else:
            many = _is_flat(member_shape)
            members[wire] = (member, element_reader(member_shape.member if many else member_shape), many)

    def read(element: ElementTree.Element) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, text in element.items():
            if (found := attributes.get(local_name(name))) is not None:
                values[found] = text
        for child in element:
            entry = members.get(local_name(child.tag))
            if entry is None:
                continue
            member, convert, many = entry
            if many:
                values.setdefault(member, []).append(convert(child))
            else:
                values[member] = convert(child)
        return values

    return read


def _is_flat(shape: Shape) -> bool:
    return shape.type_name == "list" and bool(shape.serialization.get("flattened"))


class ResponseRenderer(rest.ResponseRenderer):
    """Answers with XML bodies. An output without members for the body has none."""

    content_type = b"application/xml"
    empty_payload = b""

    def __init__(self, shape: StructureShape | None, status: int) -> None:
        super().__init__(shape, status)
        self._no_body = self._no_body or not self._body
        self._root = _root(shape) if shape is not None else ""

    def render(self, output: Mapping[str, Any], request_id: str = "") -> Answer:
        """As in `rest`; the status of a part of an object is HTTP's own, which the model leaves out."""
        status, headers, content = super().render(output, request_id)
        in_part = any(name == b"content-range" for name, _ in headers)
        return 206 if in_part else status, headers, content

    def _writer(self, shape: Shape, name: str) -> Convert:
        return element_writer(shape, name)

    def _document(self, members: dict[str, Any]) -> bytes:
        content = "".join(members.values())
        if self._root in members:  # GetBucketLocation: the one member is the document
            return _encode(content.replace(f"<{self._root}>", f'<{self._root} xmlns="{NAMESPACE}">', 1))
        return _encode(f'<{self._root} xmlns="{NAMESPACE}">{content}</{self._root}>')

    def _payload_writer(self, shape: Shape) -> Callable[[Any], bytes]:
        root = shape.serialization.get("name", shape.name)
        write = element_writer(shape, root)
        return lambda value: _encode(write(value).replace(f"<{root}>", f'<{root} xmlns="{NAMESPACE}">', 1))


def _root(shape: StructureShape) -> str:
    return _ROOTS.get(shape.name) or str(shape.name).removesuffix("Output") + "Result"


def _encode(document: str) -> bytes:
    return (DECLARATION + document).encode("utf-8", "replace")


def escape(text: str) -> str:
    """Text as XML holds it. As S3 does, control characters are written as references, though XML 1.0 knows none."""
    return _SPECIAL.sub(lambda found: _REFERENCES.get(found[0]) or f"&#{ord(found[0])};", text)


def element(name: str, text: str) -> str:
    """An element that holds a text."""
    return f"<{name}>{escape(text)}</{name}>"


def element_writer(shape: Shape, name: str) -> Convert:
    """What writes a value of this shape as an element called `name`."""
    kind = shape.type_name
    if kind == "structure":
        return _structure_writer(shape, name)
    if kind == "list":
        return _list_writer(shape, name)
    if kind == "timestamp":
        return _timestamp_writer(shape, name)
    write = scalars.writer(shape, "iso8601")
    if kind in ("string", "character"):
        return lambda value: f"<{name}>{escape(str(value))}</{name}>"
    return lambda value: f"<{name}>{write(value)}</{name}>"


def _timestamp_writer(shape: Shape, name: str) -> Convert:
    write = scalars.writer(shape, "iso8601")

    @lru_cache(maxsize=1024)  # the items of a listing have few times between them
    def write_with_fraction(value: Any) -> str:
        text = str(write(value))
        if text.endswith("Z") and "." not in text:  # S3 always writes milliseconds, and clients' formats rely on it
            text = text[:-1] + ".000Z"
        return f"<{name}>{text}</{name}>"

    return write_with_fraction


def _list_writer(shape: Shape, name: str) -> Convert:
    flat = _is_flat(shape)
    item_name = shape.member.serialization.get("name", name if flat else "member")
    item = element_writer(shape.member, item_name)

    def write(value: Sequence[Any]) -> str:
        items = "".join([item(part) for part in value])
        return items if flat else f"<{name}>{items}</{name}>"

    return write


def _structure_writer(shape: StructureShape, name: str) -> Convert:
    members: dict[str, Callable[[Any], str]] = {}
    attributes: dict[str, str] = {}
    for member, member_shape in shape.members.items():
        wire = member_shape.serialization.get("name", member)
        if member_shape.serialization.get("xmlAttribute"):
            attributes[member] = wire
        else:
            members[member] = element_writer(member_shape, wire)
    start = name + _namespace(shape)

    def write(value: Mapping[str, Any]) -> str:
        parts = []
        attribute_text = ""
        for member, item in value.items():
            if item is None:
                continue
            if (write_member := members.get(member)) is not None:
                parts.append(write_member(item))
            elif member in attributes:
                attribute_text += f' {attributes[member]}="{escape(str(item))}"'
            else:
                raise ValueError(f"{shape.name} has no member {member!r}")
        return f"<{start}{attribute_text}>{''.join(parts)}</{name}>"

    return write


def _namespace(shape: Shape) -> str:
    namespace = shape.serialization.get("xmlNamespace")
    if namespace is None:
        return ""
    prefix = namespace.get("prefix")
    return f' xmlns{":" + prefix if prefix else ""}="{namespace["uri"]}"'
