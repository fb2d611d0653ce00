"""Faults through botocore's own error parser: typed exceptions with code, text and members."""

from typing import Any

import pytest
from tests.boto import Clients
from tests.wire.shapes import JSON_SERVICES, Maker

from modelyard.wire.endpoint import Endpoint, Service
from modelyard.wire.errors import Fault, render
from modelyard.wire.models import SERVICES, Model, error_status

OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "neptunedata": ("list_ml_endpoints", {}),
    "bedrock": ("list_custom_models", {}),
    "bedrock-runtime": ("list_async_invokes", {}),
    "cleanrooms": ("list_collaborations", {}),
    "cleanroomsml": ("list_training_datasets", {}),
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "e", "Body": b"{}"}),
    "s3": ("list_objects_v2", {"Bucket": "bucket"}),
    "sts": ("get_caller_identity", {}),
}
TEXTS = {"message", "Message", "detailedMessage", "code", "requestId"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_modelled_error_arrives_typed(client_for: Clients, service: str) -> None:
    method, params = OPERATIONS[service]
    faults: list[Fault] = []

    async def fail(call: Any, input: Any) -> dict[str, Any]:
        raise faults[-1]

    client = client_for(Endpoint([Service(service, {method: fail})]), service)
    for shape in Model(service).errors:
        members = Maker(shape.name, 1.0, whole_seconds=True).structure(shape)
        members = {name: value for name, value in members.items() if name not in TEXTS}
        faults.append(Fault(shape.error_code, "It is 'gone' ü", members))
        with pytest.raises(client.exceptions.from_code(shape.error_code)) as caught:
            getattr(client, method)(**params)
        response = caught.value.response
        assert type(caught.value).__name__ == shape.name
        assert response["Error"]["Code"] == shape.error_code
        assert response["Error"]["Message"] == "It is 'gone' ü"
        assert response["ResponseMetadata"]["HTTPStatusCode"] == error_status(shape)
        assert {name: response[name] for name in members} == members
        if service not in JSON_SERVICES:  # XML has the text once
            continue
        expected = {
            "message": "It is 'gone' ü",
            "Message": "It is 'gone' ü",
            "detailedMessage": "It is 'gone' ü",
            "code": shape.name,
            "requestId": response["ResponseMetadata"]["RequestId"],
        }
        assert {n: response[n] for n in expected if n in shape.members} == {
            n: v for n, v in expected.items() if n in shape.members
        }


def test_codes_that_the_model_lacks_take_the_faults_status() -> None:
    model = Model("bedrock")
    assert render(Fault("Strange", "x"), "id", model)[0] == 400
    assert render(Fault("Strange", "x", status=418), "id", model)[0] == 418
    assert render(Fault("UnknownOperationException", "x"), "id", None)[0] == 404


def test_each_service_names_its_own_failure() -> None:
    assert {name: Model(name).internal_error for name in SERVICES} == {
        "neptunedata": "InternalFailureException",
        "bedrock": "InternalServerException",
        "bedrock-runtime": "InternalServerException",
        "cleanrooms": "InternalServerException",
        "cleanroomsml": "InternalServiceException",
        "sagemaker-runtime": "InternalFailure",
        "s3": "InternalError",
        "sts": "InternalFailure",
    }


def test_s3_words_its_faults_in_xml_with_the_resource() -> None:
    headers_given = {"etag": '"e"', "x-note": "a\r\nb"}
    fault = Fault("NoSuchKey", "It is <gone>.", {"Key": "k"}, headers=headers_given)
    status, headers, body = render(fault, "id", Model("s3"), "/bucket/k")
    assert status == 404
    assert body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>It is &lt;gone&gt;.</Message>'
        "<Key>k</Key><Resource>/bucket/k</Resource><RequestId>id</RequestId><HostId>id</HostId></Error>"
    )
    assert headers == [
        (b"content-type", b"application/xml"),
        (b"x-amz-request-id", b"id"),
        (b"x-amz-id-2", b"id"),
        (b"etag", b'"e"'),
        (b"x-note", b"a  b"),
        (b"content-length", str(len(body)).encode()),
    ]


def test_what_has_not_changed_has_no_body() -> None:
    status, headers, body = render(Fault("NotModified", "Not Modified", status=304), "id", Model("s3"))
    assert (status, body) == (304, b"")
    assert b"content-type" not in dict(headers)
