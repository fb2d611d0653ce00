"""The query protocol, both ways, as STS speaks it: a form in, XML out.

https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

from collections.abc import Mapping
from typing import Any

from botocore.model import OperationModel, Shape, StructureShape

from . import scalars
from .rest import Answer, Malformed, query_fields, with_length
from .rest_xml import DECLARATION, element, element_writer
from .scalars import Convert
from .streams import Body

_DEEPEST = 20
"""Dots in the name of a field; the models need a few."""

Tree = dict[str, Any]


def form(query: bytes, body: bytes) -> Mapping[str, str]:
    """The fields of a request; raises `Malformed`."""
    return dict(query_fields(query) + query_fields(body))


class RequestParser:
    """Turns forms of one operation into a dict with boto3's member names."""

    reads_body = True
    streams = False

    def __init__(self, operation: OperationModel) -> None:
        self._read = _reader(operation.input_shape) if operation.input_shape is not None else _no_input

    def parse(self, labels: object, query: bytes, headers: object, body: bytes | Body) -> tuple[Tree, Tree]:
        """The input, and nothing; `Action` and `Version` are no part of it. Raises `Malformed`."""
        assert isinstance(body, bytes)
        tree: Tree = {}
        for name, text in form(query, body).items():
            _put(tree, name.split(".", _DEEPEST), text)
        return self._read(tree), {}


def _no_input(_: Tree) -> Tree:
    return {}


def _put(tree: Tree, path: list[str], text: str) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise Malformed(f"The field {'.'.join(path)[:100]!r} is a value and a structure at once")
    tree[path[-1]] = text


def _reader(shape: Shape) -> Convert:
    if shape.type_name == "structure":
        return _structure_reader(shape)
    if shape.type_name == "list":
        return _list_reader(shape)
    return scalars.reader(shape)


def _structure_reader(shape: StructureShape) -> Convert:
    members = [(name, part.serialization.get("name", name), _reader(part)) for name, part in shape.members.items()]

    def read(tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        return {member: convert(tree[wire]) for member, wire, convert in members if wire in tree}

    return read


def _list_reader(shape: Shape) -> Convert:
    item = _reader(shape.member)
    name = shape.member.serialization.get("name", "member")
    assert not shape.serialization.get("flattened"), "no service of ours has any"

    def read(tree: Any) -> Any:
        if tree == "":
            return []
        items = tree.get(name) if isinstance(tree, dict) else None
        if not isinstance(items, dict) or not all(key.isdecimal() and len(key) < 9 for key in items):
            return tree
        return [item(items[key]) for key in sorted(items, key=int)]

    return read


class ResponseRenderer:
    """Turns an operation's output into an answer."""

    def __init__(self, operation: OperationModel) -> None:
        shape = operation.output_shape
        self._root = f"{operation.name}Response"
        self._namespace = operation.service_model.metadata["xmlNamespace"]
        self._write = element_writer(shape, shape.serialization["resultWrapper"]) if shape is not None else _nothing

    def render(self, output: Mapping[str, Any], request_id: str = "") -> Answer:
        """Absent members and those that are None are left out."""
        metadata = f"<ResponseMetadata>{element('RequestId', request_id)}</ResponseMetadata>"
        content = self._write(output) + metadata
        document = f'{DECLARATION}<{self._root} xmlns="{self._namespace}">{content}</{self._root}>'
        return with_length(200, [(b"content-type", b"text/xml")], document.encode("utf-8", "replace"))


def _nothing(_: Any) -> str:
    return ""
