"""Presigned addresses, as botocore makes them, at another time or with other words."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from tests.boto import Send

from modelyard.wire.endpoint import Call, Endpoint, Service
from modelyard.wire.presigned import EARLY_SECONDS, LONGEST_SECONDS

Time = Callable[[float], None]


@pytest.fixture
def clock() -> dict[str, float]:
    return {"ahead": 0.0}


@pytest.fixture
def endpoint(clock: dict[str, float]) -> Endpoint:
    async def get(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        return {"Body": f"{call.account} {call.region} {call.access_key} {input['Key']}".encode()}

    service = Service("s3", {"get_object": get, "put_object": get})
    return Endpoint([service], clock=lambda: datetime.now(UTC).timestamp() + clock["ahead"])


def signed(version: str, seconds: int = 60, region: str = "us-east-1") -> str:
    session = boto3.session.Session(aws_access_key_id="111122223333", aws_secret_access_key="x", region_name=region)
    config = Config(signature_version={"v4": "s3v4", "v2": "s3"}[version], s3={"addressing_style": "path"})
    client = session.client("s3", endpoint_url="http://modelyard.test", config=config)
    url: str = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "a b/c"}, seconds)
    client.close()
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def code(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str, str]:
    found = [re.search(f"<{name}>([^<]*)", answer[2].decode()) for name in ("Code", "Message")]
    return answer[0], found[0][1] if found[0] else "", found[1][1] if found[1] else ""


@pytest.mark.parametrize(("version", "region"), [("v4", "eu-west-1"), ("v2", "us-east-1")])
def test_an_address_is_good_until_its_end(
    send: Send, endpoint: Endpoint, clock: dict[str, float], version: str, region: str
) -> None:
    path = signed(version, 60, region)
    assert send(endpoint, "GET", path)[2].decode() == f"111122223333 {region} 111122223333 a b/c"
    clock["ahead"] = 50
    assert send(endpoint, "GET", path)[0] == 200
    clock["ahead"] = 61
    assert code(send(endpoint, "GET", path)) == (403, "AccessDenied", "Request has expired")
    assert code(send(endpoint, "PUT", path, b"x"))[1] == "AccessDenied"


def test_an_address_from_the_future_is_not_good_yet(send: Send, endpoint: Endpoint, clock: dict[str, float]) -> None:
    path = signed("v4")
    clock["ahead"] = -EARLY_SECONDS + 60
    assert send(endpoint, "GET", path)[0] == 200
    clock["ahead"] = -EARLY_SECONDS - 60
    assert code(send(endpoint, "GET", path)) == (403, "AccessDenied", "Request is not yet valid")


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Signature", "Date", "SignedHeaders", "Expires"])
def test_every_part_is_needed(send: Send, endpoint: Endpoint, name: str) -> None:
    path = re.sub(f"X-Amz-{name}=[^&]*&?", "", signed("v4"))
    status, found, message = code(send(endpoint, "GET", path))
    assert (status, found) == (400, "AuthorizationQueryParametersError")
    assert f"X-Amz-{name}" in message


@pytest.mark.parametrize("name", ["AWSAccessKeyId", "Signature", "Expires"])
def test_every_part_of_the_older_form_is_needed(send: Send, endpoint: Endpoint, name: str) -> None:
    path = re.sub(f"{name}=[^&]*&?", "", signed("v2"))
    assert code(send(endpoint, "GET", path))[:2] == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("Algorithm", "AWS4-HMAC-MD5"),
        ("Credential", "111122223333"),
        ("Credential", "111122223333%2F20200101%2Fus-east-1%2Fs3%2Faws4_request"),
        ("Date", "yesterday"),
        ("Date", "20260101"),
        ("Expires", "0"),
        ("Expires", "-5"),
        ("Expires", "1e3"),
        ("Expires", str(LONGEST_SECONDS + 1)),
        ("Expires", "9" * 400),
    ],
)
def test_parts_of_another_form_are_refused(send: Send, endpoint: Endpoint, part: str, value: str) -> None:
    path = re.sub(f"X-Amz-{part}=[^&]*", f"X-Amz-{part}={value}", signed("v4"))
    assert code(send(endpoint, "GET", path))[:2] == (400, "AuthorizationQueryParametersError")


@pytest.mark.parametrize("end", ["soon", "-1", "9" * 400])
def test_an_end_that_is_no_time_is_refused(send: Send, endpoint: Endpoint, end: str) -> None:
    path = re.sub("Expires=[^&]*", f"Expires={end}", signed("v2"))
    assert code(send(endpoint, "GET", path))[:2] == (403, "AccessDenied")


def test_an_address_of_a_week_is_good_for_a_week(send: Send, endpoint: Endpoint, clock: dict[str, float]) -> None:
    path = signed("v4", LONGEST_SECONDS)
    clock["ahead"] = timedelta(days=6, hours=23).total_seconds()
    assert send(endpoint, "GET", path)[0] == 200
