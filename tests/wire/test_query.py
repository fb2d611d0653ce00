"""The query protocol beside botocore's own codec."""

from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from tests.boto import Clients, Send
from tests.wire.shapes import Maker

from modelyard.wire.endpoint import Call, Endpoint, Service
from modelyard.wire.models import Model
from modelyard.wire.query import RequestParser, ResponseRenderer
from modelyard.wire.rest import Malformed

FILLS = (0.0, 1.0, 0.5, 0.5, 0.3)
OPERATIONS = list(Model("sts").operations.values())
SIGNED = "AWS4-HMAC-SHA256 Credential=111122223333/20260101/eu-west-1/sts/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_request_that_botocore_writes_is_read_back(operation: OperationModel) -> None:
    for round_, fill in enumerate(FILLS):
        made = Maker(f"{operation.name}{round_}", fill, whole_seconds=True).structure(operation.input_shape)
        values = normal(made)
        request = create_serializer("query", include_validation=False).serialize_to_request(values, operation)
        body = urlencode(request["body"], doseq=True).encode()
        assert RequestParser(operation).parse({}, b"", [], body) == (values, {})
        assert RequestParser(operation).parse({}, body, [], b"") == (values, {})


def normal(value: Any) -> Any:
    """Without structures that are empty: a form has nothing to write for them."""
    if isinstance(value, list):
        return [normal(part) for part in value if part != {}]
    return {k: normal(v) for k, v in value.items() if v != {}} if isinstance(value, dict) else value


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_answer_is_read_by_botocore(operation: OperationModel) -> None:
    shape = operation.output_shape
    for round_, fill in enumerate(FILLS):
        values = Maker(f"{operation.name}{round_}", fill, whole_seconds=False).structure(shape)
        status, headers, body = ResponseRenderer(operation).render({**values}, "an-id")
        response = {"status_code": status, "headers": {k.decode(): v.decode() for k, v in headers}, "body": body}
        parsed = create_parser("query").parse(response, shape)
        assert parsed.pop("ResponseMetadata")["RequestId"] == "an-id"
        assert parsed == values


ASSUME = Model("sts").operations["assume_role"]


@pytest.mark.parametrize("body", [b"Tags=1&Tags.member.1.Key=a", b"&" * 2000, b"a.b=1&a=2&a.b.c=3"])
def test_forms_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Malformed):
        RequestParser(ASSUME).parse({}, b"", [], body)


def test_odd_fields_are_left_for_the_checks_or_left_aside() -> None:
    def read(body: bytes) -> dict[str, Any]:
        return RequestParser(ASSUME).parse({}, b"", [], body)[0]

    assert read(b"DurationSeconds=x&Tags.member.x.Key=a") == {
        "DurationSeconds": "x",
        "Tags": {"member": {"x": {"Key": "a"}}},
    }
    assert read(b"RoleArn.a=1" + b".a" * 5000 + b"=2&Other=1")["RoleArn"].keys() == {"a"}
    assert read(b"TransitiveTagKeys.member.10=j&TransitiveTagKeys.member.9=i") == {"TransitiveTagKeys": ["i", "j"]}


@pytest.fixture
def endpoint() -> Endpoint:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a page"})

    async def identity(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        return {"Account": call.account, "Arn": call.region}

    return Endpoint([Service("sts", {"get_caller_identity": identity})], {"/": page})


def test_a_form_names_the_operation(client_for: Clients, send: Send, endpoint: Endpoint) -> None:
    client = client_for(endpoint, "sts")
    answer = client.get_caller_identity()
    assert (answer["Account"], answer["Arn"]) == ("111122223333", "us-east-1")
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36
    query = "/?Action=GetCallerIdentity&Version=2011-06-15"
    assert b"<Arn>eu-west-1</Arn>" in send(endpoint, "GET", query, headers={"authorization": SIGNED})[2]
    assert send(endpoint, "GET", "/")[2] == b"a page"
    with pytest.raises(ClientError) as caught:
        client.get_access_key_info(AccessKeyId="A" * 20)
    assert caught.value.response["Error"]["Code"] == "InvalidAction"
    assert "GetAccessKeyInfo of sts is not served here" in str(caught.value)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, b"<Code>MissingAction</Code>"),
        (b"Action=Nothing", 400, b"<Code>InvalidAction</Code>"),
        (b"a=1&" * 2000, 400, b"<Code>MalformedQueryString</Code>"),
    ],
)
def test_forms_that_name_no_operation(send: Send, endpoint: Endpoint, body: bytes, status: int, code: bytes) -> None:
    found, headers, answer = send(endpoint, "POST", "/", body, {"authorization": SIGNED})
    assert (found, headers["content-type"]) == (status, "application/xml")
    assert code in answer
    assert b"<RequestId>" + headers["x-amzn-requestid"].encode() in answer
