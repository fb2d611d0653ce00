"""The XML codec beside botocore's own: what its serializer writes we read, what we write its parser reads."""

import io
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import OperationModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from tests.wire.shapes import EVENT_STREAMS, HEADER_TEXTS, Maker

from modelyard.wire.models import Model
from modelyard.wire.rest import Malformed
from modelyard.wire.rest_xml import MAX_TAGS, RequestParser, ResponseRenderer, load_xml
from modelyard.wire.routing import Route, Router

FILLS = (0.0, 1.0, 0.5, 0.5, 0.3)
MODEL = Model("s3")
AMBIGUOUS = frozenset({"GetBucketNotification", "PutBucketNotification"})
"""Deprecated operations whose `Event` and `Events` are the same elements."""
OPERATIONS = [o for o in MODEL.operations.values() if o.name not in EVENT_STREAMS | AMBIGUOUS]
SAME_REQUEST = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
}
"""Operations whose requests say nothing that tells them from another: deprecated ones, and another endpoint's."""


@pytest.fixture(scope="module")
def router() -> Router[OperationModel]:
    router: Router[OperationModel] = Router()
    for operation in MODEL.operations.values():
        router.add(Route.of("s3", operation, operation))
    return router


class S3Maker(Maker):
    """Keys and buckets that a path can hold; header lists without what HTTP would part or join."""

    def value(self, shape: Shape, depth: int) -> Any:
        where = shape.serialization.get("location")
        if shape.name == "MetadataKey":
            return self._random.choice(("one", "two-three"))
        if shape.name == "MetadataValue":
            return self._random.choice(HEADER_TEXTS)
        if shape.name == "RequestRoute":
            return "a-route"
        if where == "uri" and shape.serialization["name"] == "Bucket":
            return "a-bucket"
        if where == "header" and shape.type_name == "timestamp":
            return super().value(shape, depth).replace(microsecond=0)
        if where == "header" and shape.type_name == "list":
            return [self.value(shape.member, depth + 1)]
        if where in ("header", "querystring", "uri") and shape.type_name in ("string", "list"):
            return self.value_in_place(shape)
        return super().value(shape, depth)

    def value_in_place(self, shape: Shape) -> Any:
        return self._random.choice(shape.enum or (*HEADER_TEXTS, "a/b+c d"))


def normal(value: Any, shape: Shape) -> Any:
    """Without flattened lists that are empty: XML has nothing to write for them."""
    if isinstance(value, dict) and shape.type_name == "structure":
        kept = {name: normal(part, shape.members[name]) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part != [] or not is_flat(shape.members[name])}
    return [normal(part, shape.member) for part in value] if isinstance(value, list) else value


def is_flat(shape: Shape) -> bool:
    return shape.type_name == "list" and bool(shape.serialization.get("flattened") or "location" in shape.serialization)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_request_that_botocore_writes_is_read_back(
    router: Router[OperationModel], operation: OperationModel
) -> None:
    if operation.input_shape is None:
        return
    parser = RequestParser(operation)
    for round_, fill in enumerate(FILLS):
        values = S3Maker(f"{operation.name}{round_}", fill, whole_seconds=True).structure(operation.input_shape)
        method, path, query, headers, body = written(operation, values)
        found, labels = router.match("s3", method, path, query, headers)
        assert found.name == SAME_REQUEST.get(operation.name, operation.name)
        got, extra = parser.parse(labels, query, headers, body)
        assert normal(got, operation.input_shape) == normal(values, operation.input_shape)
        assert extra == {}


def written(
    operation: OperationModel, values: dict[str, Any]
) -> tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes]:
    request = create_serializer("rest-xml", include_validation=False).serialize_to_request(values, operation)
    prepare_request_dict(request, "http://modelyard.test", context={})
    prepared = create_request_object(request).prepare()
    parts = urlsplit(prepared.url)
    body = prepared.body or b""
    headers = [(k.lower().encode(), v if isinstance(v, bytes) else v.encode()) for k, v in prepared.headers.items()]
    if "ContentLength" not in values:  # HTTP's own then
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    return prepared.method, parts.path, parts.query.encode(), headers, body.encode() if isinstance(body, str) else body


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_answer_is_read_by_botocore(operation: OperationModel) -> None:
    parser = create_parser("rest-xml")
    shape = operation.output_shape
    if shape is None or operation.name == "GetBucketLocation":  # which botocore reads beside its model
        return
    renderer = ResponseRenderer(shape, operation.http.get("responseCode", 200))
    for round_, fill in enumerate(FILLS):
        values = S3Maker(f"{operation.name}{round_}", fill, whole_seconds=False).structure(shape)
        status, headers, body = renderer.render({**values, "absent": None})
        assert isinstance(body, bytes)
        assert status in (200, 206, 204)
        response = {
            "status_code": status,
            "headers": HeadersDict({k.decode(): v.decode() for k, v in headers}),
            "body": io.BytesIO(body) if operation.has_streaming_output else body,
        }
        parsed = parser.parse(response, shape)
        parsed.pop("ResponseMetadata")
        payload = shape.serialization.get("payload")
        if operation.has_streaming_output:
            parsed[payload] = parsed[payload].read()
            values.setdefault(payload, b"")
            if "ContentType" in shape.members:
                values.setdefault("ContentType", "application/octet-stream")
        elif payload is not None and payload not in values:  # botocore makes an empty one
            assert not parsed.pop(payload, None)
        if "ContentLength" in shape.members:
            values.setdefault("ContentLength", len(body))
        for name, member in shape.members.items():
            if member.serialization.get("location") == "headers":
                values.setdefault(name, {})
        assert parsed == normal(values, shape)


def rendered(method: str, output: dict[str, Any]) -> str:
    operation = MODEL.operations[method]
    _, _, body = ResponseRenderer(operation.output_shape, 200).render(output)
    assert isinstance(body, bytes)
    return body.decode().partition("\n")[2]


def test_documents_have_the_names_that_s3_gives_them() -> None:
    listing = rendered("list_objects_v2", {"Name": "b", "KeyCount": 1, "Contents": [{"Key": "a&b\r\x01", "Size": 3}]})
    assert listing == (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><KeyCount>1</KeyCount>'
        "<Contents><Key>a&amp;b&#13;&#1;</Key><Size>3</Size></Contents></ListBucketResult>"
    )
    assert rendered("copy_object", {"CopyObjectResult": {"ETag": '"e"'}}) == (
        '<CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>&quot;e&quot;</ETag></CopyObjectResult>'
    )
    assert rendered("list_parts", {"Bucket": "b"}).startswith("<ListPartsResult ")
    assert rendered("get_bucket_location", {"LocationConstraint": "eu-west-1"}) == (
        '<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1</LocationConstraint>'
    )


def test_answers_without_members_of_the_body_have_none() -> None:
    renderer = ResponseRenderer(MODEL.operations["put_object"].output_shape, 200)
    assert renderer.render({"ETag": '"x"'}) == (200, [(b"etag", b'"x"'), (b"content-length", b"0")], b"")


def test_a_part_of_an_object_says_so_in_its_status() -> None:
    renderer = ResponseRenderer(MODEL.operations["get_object"].output_shape, 200)
    assert renderer.render({"Body": b"x", "ContentRange": "bytes 0-0/9"})[0] == 206
    assert renderer.render({"Body": b"x"})[0] == 200


def test_outputs_that_the_model_does_not_know_are_our_mistake() -> None:
    with pytest.raises(ValueError, match="Object has no member 'Kye'"):
        rendered("list_objects_v2", {"Contents": [{"Kye": "a"}]})


DELETE = MODEL.operations["delete_objects"]


def read(body: bytes) -> Any:
    return RequestParser(DELETE).parse({"Bucket": "b"}, b"", [], body)[0]["Delete"]


def test_a_choice_that_is_empty_is_none() -> None:
    parser = RequestParser(MODEL.operations["put_object"])
    labels = {"Bucket": "b", "Key": "k"}
    values, _ = parser.parse(labels, b"", [(b"x-amz-acl", b""), (b"content-type", b"")], b"")
    assert values == {**labels, "ContentType": ""}


def test_documents_of_clients_who_write_by_hand() -> None:
    plain = b"<Delete><Object><Key> a </Key></Object><Quiet> true\n</Quiet><New>1</New></Delete>"
    assert read(plain) == {"Objects": [{"Key": " a "}], "Quiet": True}
    prefixed = b'<s:Delete xmlns:s="urn:x"><s:Object><s:Key>a</s:Key></s:Object></s:Delete>'
    assert read(prefixed) == {"Objects": [{"Key": "a"}]}
    assert read(b"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-16'?><Delete/>") == {}
    assert read(b"<Delete><Object><Key><![CDATA[<&>]]></Key></Object></Delete>") == {"Objects": [{"Key": "<&>"}]}


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY a%d "%s">' % (n, b"&a%s;" % (b"%d" % (n - 1) if n else b"") * 10) for n in range(9)
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (LAUGHS + b"]><Delete>&a8;</Delete>", "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Delete/>', "document type"),
        (b"<Delete>&x;</Delete>", "not valid XML"),
        (b"<Delete>", "not valid XML"),
        (b"{}", "not valid XML"),
        (b"<Delete>\xff</Delete>", "not valid XML"),
        ("<Delete/>".encode("utf-16"), "not UTF-8"),
        (b"<Other/>", "root of the XML is 'Other', not 'Delete'"),
        (b"<Delete>" + b"<a/>" * MAX_TAGS + b"</Delete>", "more than"),
    ],
)
def test_hostile_documents_are_refused(body: bytes, reason: str) -> None:
    began = time.perf_counter()
    with pytest.raises(Malformed, match=reason):
        read(body)
    assert time.perf_counter() - began < 1


def test_a_deep_document_breaks_nothing() -> None:
    assert read(b"<Delete>" + b"<a>" * 150_000 + b"</a>" * 150_000 + b"</Delete>") == {}
    load_xml(b"<a>" * 150_000 + b"</a>" * 150_000)
