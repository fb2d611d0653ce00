"""Signatures, made by botocore's own signers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from tests.boto import Send, scope_of

from modelyard.wire.endpoint import Endpoint, Service
from modelyard.wire.identity import account_of_key, identify
from modelyard.wire.service import Call, quick
from modelyard.wire.signature import KEY, MECHANISM, MISSING, SKEWED, WRONG, BadSignature, Signatures, body_hash

KEYS = {"AKIAYARDBANKBANKBANK": "bank's own secret", "AKIAYARDSHOPSHOPSHOP": "shop's own secret"}
BANK, SHOP = KEYS
UNKNOWN = "00000000-0000-4000-8000-000000000000"
ARN = f"arn:aws:cleanrooms-ml:us-east-1:111122223333:membership/{UNKNOWN}/trained-model/{UNKNOWN}"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def signed(
    method: str,
    path: str,
    body: bytes = b"",
    service: str = "cleanrooms",
    key: str = BANK,
    secret: str | None = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """The path and the headers of a request as botocore sends it."""
    request = AWSRequest(method, f"http://modelyard.test{path}", {"host": "modelyard.test", **(headers or {})}, body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    request.context["payload_signing_enabled"] = True
    signer(Credentials(key, secret or KEYS[key], token), service, "us-east-1").add_auth(request)
    return path, dict(request.headers.items())


def check(method: str, path: str, headers: Mapping[str, Any], payload: str | None = EMPTY, now: Any = None) -> None:
    scope = scope_of(method, f"http://modelyard.test{path}", dict(headers))
    caller = identify(scope["headers"], scope["query_string"], lambda key, token: account_of_key(key))
    signatures = Signatures(KEYS.get) if now is None else Signatures(KEYS.get, lambda: now)
    signatures.check(scope, caller, payload)


def refused(kind: str, *asked: Any, **more: Any) -> None:
    with pytest.raises(BadSignature) as bad:
        check(*asked, **more)
    assert bad.value.kind == kind


@pytest.mark.parametrize(
    "path",
    [
        "/collaborations",
        f"/tags/{quote(ARN, safe='')}?tagKeys=a&tagKeys=b%20c",
        "/a//b/./c/../d/?x=%2F~&empty=&flag",
        "/%C3%A4%20b?q=a%2Bb",
        "/",
    ],
)
def test_what_botocore_signs_is_right(path: str) -> None:
    check("GET", *signed("GET", path))


@pytest.mark.parametrize(
    "path", ["/bucket/a%20b/~c", "/bucket//d/../e", "/bucket/%C3%A4?versioning", "/b/k?prefix=a+b"]
)
def test_the_paths_of_objects_are_signed_as_they_are(path: str) -> None:
    sent = path.replace("+", "%20")
    _, headers = signed("GET", sent, service="s3")
    check("GET", path, headers, payload=None)


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4),
)
def test_any_key_and_any_parameters(key: str, parameters: list[tuple[str, str]]) -> None:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters if name)
    path = f"/bucket/{quote(key, safe='/~')}?{query}"
    check("GET", *signed("GET", path, service="s3"), payload=None)
    check("GET", *signed("GET", path))


def test_a_body_is_signed_with_the_rest() -> None:
    path, headers = signed("POST", "/memberships", b'{"a": 1}')
    refused(WRONG, "POST", path, headers)
    refused(WRONG, "PUT", path, headers)
    refused(WRONG, "POST", "/membership", headers)
    refused(WRONG, "POST", path + "?a=b", headers)


@pytest.mark.parametrize("change", ["key", "secret", "digit", "region", "service", "account"])
def test_forged_signatures(change: str) -> None:
    path, headers = signed("GET", "/collaborations", secret="guessed" if change == "secret" else None)
    text, kind = headers["Authorization"], WRONG
    if change == "key":
        text, kind = text.replace(BANK, "AKIAYARDNOBODYNOBODY"), KEY
    elif change == "account":
        text, kind = text.replace(BANK, "111122223333"), KEY
    elif change == "digit":
        text = text[:-1] + ("0" if text[-1] != "0" else "1")
    elif change == "region":
        text = text.replace("us-east-1", "eu-west-1")
    elif change == "service":
        text = text.replace("/cleanrooms/", "/s3/")
    refused(kind, "GET", path, {**headers, "Authorization": text})


def test_another_party_s_key_does_not_fit() -> None:
    path, headers = signed("GET", "/collaborations")
    refused(WRONG, "GET", path, {**headers, "Authorization": headers["Authorization"].replace(BANK, SHOP)})


def test_what_is_not_signed() -> None:
    refused(MISSING, "GET", "/collaborations", {})
    refused(MISSING, "GET", "/bucket/key", {}, payload=None)
    refused(MECHANISM, "GET", "/collaborations", {"Authorization": "Bearer 111122223333"})
    refused(MECHANISM, "GET", "/bucket/key", {"Authorization": f"AWS {BANK}:c2lnbmF0dXJl"}, payload=None)
    refused(MECHANISM, "GET", f"/bucket/key?AWSAccessKeyId={BANK}&Signature=x&Expires=9", {}, payload=None)
    for broken in ("", "Credential=", f"Credential={BANK}/20260101/us-east-1/cleanrooms/aws4_request", "=,=,="):
        refused(WRONG, "GET", "/collaborations", {"Authorization": f"AWS4-HMAC-SHA256 {broken}"})


def test_old_requests_are_not_taken_again() -> None:
    path, headers = signed("GET", "/collaborations")
    signed_at = headers["X-Amz-Date"]
    moment = 1_000_000_000.0
    refused(SKEWED, "GET", path, headers, now=moment)
    refused(WRONG, "GET", path, {**headers, "X-Amz-Date": "20010909T014640Z"}, now=moment)
    other_day = headers["Authorization"].replace(signed_at[:8], "20010909")
    refused(WRONG, "GET", path, {**headers, "X-Amz-Date": "20010909T014640Z", "Authorization": other_day}, now=moment)
    refused(MISSING, "GET", path, {name: value for name, value in headers.items() if name != "X-Amz-Date"})
    refused(WRONG, "GET", path, {**headers, "X-Amz-Date": "20261399T999999Z"})


def test_headers_with_a_meaning_are_covered() -> None:
    path, headers = signed("PUT", "/bucket/key", service="s3")
    refused(WRONG, "PUT", path, {**headers, "x-amz-copy-source": "/theirs/secret"}, payload=None)
    refused(WRONG, "PUT", path, {**headers, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, payload=None)
    refused(WRONG, "PUT", path, {**headers, "host": "elsewhere"}, payload=None)
    bare = headers["Authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    refused(WRONG, "PUT", path, {**headers, "Authorization": bare}, payload=None)


def presigned(path: str, **more: Any) -> str:
    request = AWSRequest("GET", f"http://modelyard.test{path}", {"host": "modelyard.test"})
    S3SigV4QueryAuth(Credentials(BANK, KEYS[BANK], **more), "s3", "us-east-1", expires=60).add_auth(request)
    return str(request.url).removeprefix("http://modelyard.test")


def test_presigned_addresses_of_objects_alone() -> None:
    path = presigned("/bucket/a%20key?response-content-type=text%2Fplain", token="session+/=")
    check("GET", path, {}, payload=None)
    refused(WRONG, "PUT", path, {}, payload=None)
    refused(WRONG, "GET", path.replace("a%20key", "b%20key"), {}, payload=None)
    refused(WRONG, "GET", path.replace("X-Amz-Expires=60", "X-Amz-Expires=600000"), {}, payload=None)
    refused(MECHANISM, "GET", path + "&X-Amz-Expires=600000", {}, payload=None)
    refused(WRONG, "GET", path, {"x-amz-copy-source": "/theirs/secret"}, payload=None)
    refused(MISSING, "GET", path, {})


def test_two_authorizations_are_none() -> None:
    path, headers = signed("GET", "/collaborations")
    scope = scope_of("GET", f"http://modelyard.test{path}", headers)
    caller = identify(scope["headers"], b"", lambda key, token: account_of_key(key))
    scope["headers"].append((b"authorization", b"AWS4-HMAC-SHA256 Credential=x"))
    with pytest.raises(BadSignature):
        Signatures(KEYS.get).check(scope, caller, EMPTY)


def test_the_hash_of_a_body() -> None:
    assert body_hash([(b"x-amz-content-sha256", EMPTY.encode())]) == EMPTY
    assert body_hash([(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")]) is None
    assert body_hash([]) is None


@pytest.fixture
def app() -> Endpoint:
    @quick
    def list_collaborations(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        return {"collaborationList": []}

    async def create_membership(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("was let in")

    async def put_object(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        pieces = [piece async for piece in request["Body"]]
        return {"ETag": str(sum(map(len, pieces)))}

    @quick
    def get_caller_identity(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        return {"Account": call.account}

    handlers = {"list_collaborations": list_collaborations, "create_membership": create_membership}
    services = [
        Service("cleanrooms", handlers),
        Service("s3", {"put_object": put_object}),
        Service("sts", {"get_caller_identity": get_caller_identity}),
    ]
    return Endpoint(services, signatures=Signatures(KEYS.get))


def test_each_service_refuses_in_its_own_words(app: Endpoint, send: Send) -> None:
    def answer(method: str, path: str, headers: dict[str, Any], body: bytes = b"") -> tuple[int, str]:
        status, answered, content = send(app, method, path, body, headers)
        found = answered.get("x-amzn-errortype") or content.decode().partition("<Code>")[2].partition("<")[0]
        return status, found

    nobody = {"key": "AKIAYARDNOBODYNOBODY", "secret": "guessed"}
    assert answer("GET", *signed("GET", "/collaborations")) == (200, "")
    assert answer("GET", "/collaborations", {}) == (403, "MissingAuthenticationTokenException")
    assert answer("GET", *signed("GET", "/collaborations", **nobody)) == (403, "UnrecognizedClientException")
    assert answer("GET", *signed("GET", "/collaborations", secret="x")) == (403, "InvalidSignatureException")
    path, headers = signed("POST", "/memberships", b"{}")
    assert answer("POST", path, headers, b'{"a": 1}') == (403, "InvalidSignatureException")

    path, headers = signed("PUT", "/bucket/key", b"rows", "s3")
    assert answer("PUT", path, headers, b"rows") == (200, "")
    assert answer("PUT", path, headers, b"cows") == (400, "XAmzContentSHA256Mismatch")
    assert answer("PUT", *signed("PUT", "/bucket/key", service="s3", secret="x")) == (403, "SignatureDoesNotMatch")
    assert answer("PUT", *signed("PUT", "/bucket/key", service="s3", **nobody)) == (403, "InvalidAccessKeyId")

    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    typed = {"content-type": "application/x-www-form-urlencoded"}
    path, headers = signed("POST", "/", form, "sts", headers=typed)
    assert answer("POST", path, headers, form) == (200, "")
    assert answer("POST", path, headers, form + b"&a=b") == (403, "SignatureDoesNotMatch")
    old = {**headers, "X-Amz-Date": "20010909T014640Z"}
    assert answer("POST", path, old, form) == (403, "SignatureDoesNotMatch")
