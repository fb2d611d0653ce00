"""The codec beside botocore's own: what its serializer writes we read, what we write its parser reads."""

import io
import math
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import OperationModel, ServiceModel, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from tests.wire.shapes import EVENT_STREAMS, JSON_SERVICES, Maker, has_event_stream

from modelyard.wire.models import Model
from modelyard.wire.rest_json import Malformed, RequestParser, ResponseRenderer, load_json
from modelyard.wire.routing import Route, Router

FILLS = (0.0, 1.0, 0.5, 0.5, 0.3)


@pytest.fixture(scope="module", params=JSON_SERVICES)
def model(request: pytest.FixtureRequest) -> Model:
    return Model(request.param)


def operations(model: Model) -> list[OperationModel]:
    return [o for o in model.operations.values() if o.name not in EVENT_STREAMS]


def test_only_event_streams_are_left_out(model: Model) -> None:
    assert all((o.name in EVENT_STREAMS) == has_event_stream(o) for o in model.operations.values())


def test_every_request_that_botocore_writes_is_read_back(model: Model) -> None:
    router: Router[OperationModel] = Router()
    for operation in model.operations.values():
        router.add(Route.of(model.signing_name, operation, operation))
    for operation in operations(model):
        if operation.input_shape is None:
            continue
        parser = RequestParser(operation)
        for round_, fill in enumerate(FILLS):
            values = Maker(f"{operation.name}{round_}", fill, whole_seconds=True).structure(operation.input_shape)
            method, path, query, headers, body = written(operation, values)
            found, labels = router.match(model.signing_name, method, path)
            assert found is operation
            got, extra = parser.parse(labels, query, headers, body)
            tokens = {name for name in operation.idempotent_members if name not in values}
            assert {k: v for k, v in got.items() if k not in tokens} == values, operation.name
            assert extra == {}


def written(
    operation: OperationModel, values: dict[str, Any]
) -> tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes]:
    request = create_serializer("rest-json", include_validation=False).serialize_to_request(values, operation)
    prepare_request_dict(request, "http://modelyard.test", context={})
    prepared = create_request_object(request).prepare()
    parts = urlsplit(prepared.url)
    body = prepared.body or b""
    headers = [(k.lower().encode(), v if isinstance(v, bytes) else v.encode()) for k, v in prepared.headers.items()]
    return (
        prepared.method,
        parts.path,
        parts.query.encode(),
        headers,
        body.encode() if isinstance(body, str) else body,
    )


def test_every_answer_is_read_by_botocore(model: Model) -> None:
    parser = create_parser("rest-json")
    for operation in operations(model):
        shape = operation.output_shape
        renderer = ResponseRenderer(shape, operation.http.get("responseCode", 200))
        for round_, fill in enumerate(FILLS if shape is not None else ()):
            values = Maker(f"{operation.name}{round_}", fill, whole_seconds=False).structure(shape)
            status, headers, body = renderer.render({**values, "absent": None})
            response = {
                "status_code": status,
                "headers": HeadersDict({k.decode(): v.decode() for k, v in headers}),
                "body": io.BytesIO(body) if operation.has_streaming_output else body,
            }
            parsed = parser.parse(response, shape)
            parsed.pop("ResponseMetadata")
            if operation.has_streaming_output:
                payload = shape.serialization["payload"]
                parsed[payload] = parsed[payload].read()
                if type_member := content_type_member(shape):
                    values.setdefault(type_member, "application/octet-stream")
                values.setdefault(payload, b"")
            assert parsed == values, operation.name


def content_type_member(shape: StructureShape) -> str | None:
    names = [name for name, member in shape.members.items() if member.serialization.get("name") == "Content-Type"]
    return names[0] if names else None


def test_timestamps_in_any_format_are_read() -> None:
    operation = Model("bedrock").operations["list_custom_models"]
    moment = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    for text in (
        b"2025-01-02T03:04:05Z",
        b"2025-01-02T04:04:05%2B01:00",
        b"1735787045",
        b"1735787045.0",
        b"Thu, 02 Jan 2025 03:04:05 GMT",
        b"2025-01-02T03:04:05.000Z",
        b"20250102T030405Z",
    ):
        values, _ = RequestParser(operation).parse({}, b"creationTimeBefore=" + text, [], b"")
        assert values == {"creationTimeBefore": moment}
    for text in (b"yesterday", b"1e400", b"99999999999999999999", b"9999-12-31T23:59:59-23:00", b"nan"):
        values, _ = RequestParser(operation).parse({}, b"creationTimeBefore=" + text, [], b"")
        assert isinstance(values["creationTimeBefore"], str)


def test_unknown_members_of_the_body_are_handed_on_from_the_top_level_only() -> None:
    parser = RequestParser(Model("neptunedata").operations["start_ml_model_training_job"])
    body = b'{"modelName":"rgcn","id":null,"customModelTrainingParameters":{"sourceS3DirectoryPath":"s3://b","x":1}}'
    values, extra = parser.parse({}, b"", [], body)
    assert values == {"customModelTrainingParameters": {"sourceS3DirectoryPath": "s3://b"}}
    assert extra == {"modelName": "rgcn"}


def test_deep_bodies_are_refused_and_brackets_in_strings_do_not_count() -> None:
    assert load_json(b"[" * 100 + b"]" * 100)
    with pytest.raises(Malformed, match="deeper than 100"):
        load_json(b"[" * 101 + b"]" * 101)
    with pytest.raises(Malformed, match="deeper than 100"):
        load_json(b'{"a":[' * 60 + b"]}" * 60)
    assert load_json(b'["' + b"[" * 500 + b'\\"[\\\\"]') == ["[" * 500 + '"[\\']
    assert load_json(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501


def test_what_the_services_do_not_use() -> None:
    """Prefix headers, maps and lists in the query string, greedy labels, JSON in strings, lists in headers."""
    operation = synthetic()
    values = {
        "path": "a/b c",
        "tags": {"k": "v"},
        "meta": {"one": "1", "two": "2"},
        "names": ["a", "b"],
        "json": {"a": [1]},
        "when": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        "ratio": math.inf,
        "text": "payload",
    }
    method, path, query, headers, body = written(operation, values)
    router: Router[OperationModel] = Router()
    router.add(Route("made", method, operation.http["requestUri"], operation))
    _, labels = router.match("made", method, path)
    assert RequestParser(operation).parse(labels, query, headers, body)[0] == values


def synthetic() -> OperationModel:
    shapes: dict[str, Any] = {
        "In": {
            "type": "structure",
            "payload": "text",
            "members": {
                "path": {"shape": "S", "location": "uri", "locationName": "Path"},
                "tags": {"shape": "M", "location": "querystring"},
                "meta": {"shape": "M", "location": "headers", "locationName": "x-meta-"},
                "names": {"shape": "L", "location": "header", "locationName": "x-names"},
                "json": {"shape": "S", "location": "header", "locationName": "x-json", "jsonvalue": True},
                "when": {"shape": "T", "location": "header", "locationName": "x-when"},
                "ratio": {"shape": "F", "location": "querystring", "locationName": "ratio"},
                "text": {"shape": "S"},
            },
        },
        "S": {"type": "string"},
        "F": {"type": "double"},
        "T": {"type": "timestamp"},
        "L": {"type": "list", "member": {"shape": "S"}},
        "M": {"type": "map", "key": {"shape": "S"}, "value": {"shape": "S"}},
    }
    operation = {
        "name": "Made",
        "http": {"method": "POST", "requestUri": "/made/{Path+}"},
        "input": {"shape": "In"},
    }
    metadata = {"protocol": "rest-json", "signingName": "made", "endpointPrefix": "made"}
    service = ServiceModel({"metadata": metadata, "operations": {"Made": operation}, "shapes": shapes}, "made")
    return service.operation_model("Made")


def test_header_values_cannot_begin_another_header() -> None:
    shape = Model("sagemaker-runtime").operations["invoke_endpoint"].output_shape
    _, headers, _ = ResponseRenderer(shape, 200).render({"Body": b"", "CustomAttributes": "1\r\nSet-Cookie: x"})
    assert (b"x-amzn-sagemaker-custom-attributes", b"1  Set-Cookie: x") in headers
