"""Requests through the whole wire: boto3 or plain HTTP in, handlers' calls out."""

import asyncio
import errno
import json
import threading
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.boto import Clients, Loop, Send, exchange

from modelyard.wire.endpoint import Call, Endpoint, Fixed, Service, quick
from modelyard.wire.errors import Fault
from modelyard.wire.models import Model
from modelyard.wire.streams import Body

SIGNED = "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{name}/aws4_request, SignedHeaders=host, Signature=0"


class Recorder:
    """Handlers that keep what they were called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, dict[str, Any]]] = []

    @quick
    def get(self, call: Call, input: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((call, input))
        return {"id": input["id"], "status": "InProgress"}

    async def start(self, call: Call, input: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((call, input))
        return {"id": input.get("id", "made"), "arn": "arn", "creationTimeInMillis": 1}

    def cancel(self, call: Call, input: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((call, input))
        return {"status": threading.current_thread().name}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def endpoint(recorder: Recorder) -> Endpoint:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    neptune = Service(
        "neptunedata",
        {
            "get_ml_model_training_job": recorder.get,
            "start_ml_model_training_job": recorder.start,
            "cancel_ml_model_training_job": recorder.cancel,
        },
        lenient=True,
    )
    others = [Service(name, {}) for name in ("bedrock", "bedrock-runtime", "cleanrooms", "cleanroomsml")]
    return Endpoint([neptune, *others], {"/health": page, "/-/logs/": page}, max_body=10_000)


def test_boto3_reaches_a_handler_and_reads_its_answer(
    client_for: Clients, endpoint: Endpoint, recorder: Recorder
) -> None:
    client = client_for(endpoint, "neptunedata", account="123456789012", region="eu-west-1")
    answer = client.get_ml_model_training_job(id="a b/c")
    call, input = recorder.calls[0]
    assert (answer["id"], answer["status"]) == ("a b/c", "InProgress")
    assert input == {"id": "a b/c"}
    assert (call.account, call.region) == ("123456789012", "eu-west-1")
    assert (call.service, call.operation) == ("neptunedata", "get_ml_model_training_job")
    assert call.request_id == answer["ResponseMetadata"]["RequestId"]
    assert call.base_url == "http://modelyard.test"


def test_an_output_that_stays_is_rendered_once_and_every_answer_has_its_own_id(client_for: Clients) -> None:
    stays = Fixed(id="trained", status="Completed")
    client = client_for(
        Endpoint([Service("neptunedata", {"get_ml_model_training_job": quick(lambda *_: stays)})]), "neptunedata"
    )
    first, second = client.get_ml_model_training_job(id="x"), client.get_ml_model_training_job(id="x")
    ids = [answer.pop("ResponseMetadata")["HTTPHeaders"]["x-amzn-requestid"] for answer in (first, second)]
    assert first == second == {"id": "trained", "status": "Completed"}
    assert len(set(ids)) == 2
    assert all("," not in id for id in ids)


def test_plain_functions_run_in_a_thread(client_for: Clients, endpoint: Endpoint) -> None:
    status = client_for(endpoint, "neptunedata").cancel_ml_model_training_job(id="x", clean=True)["status"]
    assert status.startswith("asyncio_")


def test_sloppy_values_are_read_where_the_service_is_lenient(
    send: Send, endpoint: Endpoint, recorder: Recorder
) -> None:
    body = {
        "id": "",
        "dataProcessingJobId": "d",
        "trainModelS3Location": "s3://b/k",
        "maxHPONumberOfTrainingJobs": "4",
        "enableManagedSpotTraining": "TRUE",
        "modelName": "rgcn",
    }
    status, _, _ = send(endpoint, "POST", "/ml/modeltraining/", json.dumps(body).encode(), {"content-type": "x"})
    call, input = recorder.calls[0]
    assert status == 200
    assert input == {
        "dataProcessingJobId": "d",
        "trainModelS3Location": "s3://b/k",
        "maxHPONumberOfTrainingJobs": 4,
        "enableManagedSpotTraining": True,
    }
    assert call.extra == {"modelName": "rgcn"}
    assert (call.account, call.region) == ("000000000000", "us-east-1")
    assert send(endpoint, "DELETE", "/ml/modeltraining/x?clean=False")[0] == 200
    assert recorder.calls[1][1] == {"id": "x", "clean": False}


def test_all_violations_come_in_one_message(client_for: Clients, endpoint: Endpoint) -> None:
    with pytest.raises(ClientError) as caught:
        client_for(endpoint, "neptunedata").list_ml_endpoints(maxItems=5000)
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperationException"
    service = Service("bedrock", {"get_custom_model": lambda call, input: {}})
    with pytest.raises(ClientError) as caught:
        client_for(Endpoint([service]), "bedrock").get_custom_model(modelIdentifier="ä" * 3000)
    message = caught.value.response["Error"]["Message"]
    assert message.startswith("2 validation errors detected: Value 'ä")
    assert "' at 'modelIdentifier' failed to satisfy constraint: Member must have length" in message
    assert "Member must satisfy regular expression pattern: " in message
    assert len(message) < 2500


def test_known_operations_without_handler(client_for: Clients, endpoint: Endpoint) -> None:
    neptune = client_for(endpoint, "neptunedata")
    with pytest.raises(neptune.exceptions.UnsupportedOperationException) as caught:
        neptune.get_engine_status()
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["code"] == "UnsupportedOperationException"
    assert response["requestId"] == response["ResponseMetadata"]["RequestId"]
    assert "GetEngineStatus" in response["detailedMessage"]
    assert "GetEngineStatus" in response["Error"]["Message"]
    with pytest.raises(ClientError) as caught_too:
        client_for(endpoint, "bedrock").list_custom_models()
    assert caught_too.value.response["Error"]["Code"] == "UnknownOperationException"
    assert caught_too.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


@pytest.mark.parametrize(
    ("service", "method", "name"),
    [
        ("iam", "list_roles", "iam"),
        ("ec2", "describe_instances", "ec2"),
        ("logs", "describe_log_groups", "logs"),
        ("lambda", "list_functions", "lambda"),
    ],
)
def test_services_that_are_not_here_say_so_to_their_own_clients(
    client_for: Clients, endpoint: Endpoint, service: str, method: str, name: str
) -> None:
    for application in (endpoint, Endpoint([Service("s3", {}), Service("sts", {})], {"/": None})):
        with pytest.raises(ClientError, match=f"{name} is not served here") as caught:
            getattr(client_for(application, service), method)()
        assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "UnknownOperationException"),
        ("GET", "/", 404, "UnknownOperationException"),
        ("PATCH", "/ml/endpoints", 405, "MethodNotAllowedException"),
        ("OPTIONS", "/ml/endpoints", 204, None),
        ("HEAD", "/ml/modeltraining/x", 200, None),
    ],
)
def test_unknown_paths_and_methods(
    send: Send, endpoint: Endpoint, method: str, path: str, status: int, code: str | None
) -> None:
    got, headers, body = send(endpoint, method, path)
    assert got == status
    assert headers.get("x-amzn-errortype") == code
    assert "x-amzn-requestid" in headers
    if code is not None:
        assert json.loads(body)["message"]
    if status in (204, 405):
        assert headers["allow"] == "GET, POST"
    if method in ("HEAD", "OPTIONS"):
        assert body == b""


def test_a_signed_request_goes_by_its_scope_and_an_unsigned_one_by_the_arn(send: Send) -> None:
    def tags(name: str) -> Service:
        return Service(name, {"list_tags_for_resource": lambda call, input: {"tags": {"of": name}}})

    endpoint = Endpoint([tags("cleanrooms"), tags("cleanroomsml")])

    def owner(arn_service: str, signed_for: str | None) -> str:
        headers = {}
        if signed_for:
            headers["authorization"] = SIGNED.format(key="1" * 12, region="us-east-1", name=signed_for)
        kind = "collaboration" if arn_service == "cleanrooms" else "training-dataset"
        arn = f"arn:aws:{arn_service}:us-east-1:111122223333:{kind}%2F12345678-1234-1234-1234-123456789012"
        _, _, body = send(endpoint, "GET", f"/tags/{arn}", headers=headers)
        return str(json.loads(body).get("tags", {}).get("of"))

    assert owner("cleanrooms", None) == "cleanrooms"
    assert owner("cleanrooms-ml", None) == "cleanroomsml"
    assert owner("cleanrooms", "cleanrooms") == "cleanrooms"
    assert owner("cleanrooms-ml", "cleanrooms-ml") == "cleanroomsml"


@pytest.mark.parametrize(
    ("authorization", "account", "region"),
    [
        (SIGNED.format(key="AKIA", region="eu-central-1", name="neptune-db"), "999999999999", "eu-central-1"),
        (SIGNED.format(key="123456789012", region="us-west-2", name="s3"), "123456789012", "us-west-2"),
        ("Bearer 123456789012", "123456789012", "us-east-1"),
        ("Bearer secret-key", "999999999999", "us-east-1"),
        ("Basic abc", "000000000000", "us-east-1"),
        ("AWS4-HMAC-SHA256 Credential=", "000000000000", "us-east-1"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request", "000000000000", "us-east-1"),
        ("\xff\xfe", "000000000000", "us-east-1"),
    ],
)
def test_identity(send: Send, recorder: Recorder, authorization: str, account: str, region: str) -> None:
    service = Service("neptunedata", {"get_ml_model_training_job": recorder.get})
    endpoint = Endpoint([service], {}, identify=lambda key, token: "999999999999")
    status, _, _ = send(endpoint, "GET", "/ml/modeltraining/x", headers={"authorization": authorization})
    call, _ = recorder.calls[0]
    assert (status, call.account, call.region) == (200, account, region)


def test_a_presigned_address_names_its_caller(send: Send, endpoint: Endpoint, recorder: Recorder) -> None:
    query = "X-Amz-Credential=123456789012%2F20260101%2Feu-west-1%2Fneptune-db%2Faws4_request"
    assert send(endpoint, "GET", f"/ml/modeltraining/x?{query}")[0] == 200
    assert (recorder.calls[0][0].account, recorder.calls[0][0].region) == ("123456789012", "eu-west-1")


@pytest.mark.parametrize(
    "authorization", ["AWS 123456789012:c2lnbmF0dXJl", SIGNED.format(key="123456789012", region="us-east-1", name="s3")]
)
def test_s3_is_found_in_paths_and_in_hosts(send: Send, recorder: Recorder, authorization: str) -> None:
    async def put(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        recorder.calls.append((call, input))
        return {}

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a page"})

    names = ("list_buckets", "list_objects", "get_object", "head_object")
    services = [Service("s3", dict.fromkeys(names, put)), Service("neptunedata", {})]
    endpoint = Endpoint(services, {"/": page, "/health": page})
    headers = {"authorization": authorization}
    for method, host, path, operation, bucket in (
        ("GET", "localhost:8080", "/", "list_buckets", None),
        ("GET", "localhost:8080", "/health", "list_objects", "health"),
        ("GET", "data.localhost:8080", "/", "list_objects", "data"),
        ("GET", "data.localhost:8080", "/health", "get_object", "data"),
        ("HEAD", "data.s3.amazonaws.com", "/a//b/", "head_object", "data"),
        ("GET", "127.0.0.1:8080", "/data/ml/endpoints", "get_object", "data"),
    ):
        assert send(endpoint, method, path, headers={**headers, "host": host})[0] == 200
        call, input = recorder.calls.pop()
        assert (call.operation, input.get("Bucket"), call.account) == (operation, bucket, "123456789012")
    assert send(endpoint, "GET", "/", headers={"host": "data.localhost"})[2] == b"a page"
    assert send(endpoint, "GET", "/ml/endpoints", headers={"host": "data.localhost"})[0] == 400
    send(endpoint, "GET", "/key", headers={"host": "data.localhost"})
    assert recorder.calls.pop()[1] == {"Bucket": "data", "Key": "key"}


def test_s3_refuses_in_its_own_words(client_for: Clients, send: Send) -> None:
    async def fail(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        raise Fault("NoSuchKey", "The specified key does not exist.", {"Key": input["Key"]})

    endpoint = Endpoint(
        [Service("s3", {"head_object": fail, "get_object": fail, "list_objects_v2": fail, "delete_objects": fail})]
    )
    client = client_for(endpoint, "s3")
    with pytest.raises(ClientError) as caught:
        client.get_bucket_acl(Bucket="bucket")
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(client.exceptions.NoSuchKey) as missing:
        client.get_object(Bucket="bucket", Key="key")
    assert missing.value.response["Error"]["Key"] == "key"
    assert missing.value.response["ResponseMetadata"]["HostId"]
    with pytest.raises(ClientError) as nothing:
        client.head_object(Bucket="bucket", Key="key")
    assert nothing.value.response["Error"]["Code"] == "404"
    authorization = {"authorization": SIGNED.format(key="1" * 12, region="us-east-1", name="s3")}

    def code(method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        status, _, answer = send(endpoint, method, path, body, authorization)
        return status, answer.partition(b"<Code>")[2].partition(b"<")[0]

    assert code("GET", "/bucket?list-type=2&max-keys=many") == (400, b"InvalidArgument")
    assert code("POST", "/bucket?delete", b"<Delete") == (400, b"MalformedXML")
    assert code("POST", "/bucket?delete", b"<Delete><Object/></Delete>") == (400, b"MalformedXML")
    assert code("POST", "/bucket", b"x") == (405, b"MethodNotAllowed")
    assert code("GET", "/bucket?" + "a&" * 2000) == (400, b"InvalidURI")
    assert code("GET", "/bucket/%ff") == (400, b"InvalidURI")


def test_a_host_header_that_is_no_host_is_not_repeated(send: Send, endpoint: Endpoint, recorder: Recorder) -> None:
    send(endpoint, "GET", "/ml/modeltraining/x", headers={"host": "<script>"})
    send(endpoint, "GET", "/ml/modeltraining/x", headers={"host": "[::1]:8080"})
    assert [call.base_url for call, _ in recorder.calls] == ["http://127.0.0.1:80", "http://[::1]:8080"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"a":' * 500 + b"1" + b"}" * 500])
def test_unreadable_bodies_get_the_services_own_error(send: Send, endpoint: Endpoint, body: bytes) -> None:
    status, headers, answer = send(endpoint, "POST", "/ml/modeltraining", body)
    assert (status, headers["x-amzn-errortype"]) == (400, "BadRequestException")
    assert json.loads(answer)["code"] == "BadRequestException"


@pytest.mark.parametrize("declared", [True, False])
def test_bodies_beyond_the_limit_are_refused(send: Send, endpoint: Endpoint, declared: bool) -> None:
    headers = {"content-length": "20000"} if declared else {}
    status, headers, _ = send(endpoint, "POST", "/ml/modeltraining", b"x" * 20_000, headers)
    assert (status, headers["x-amzn-errortype"]) == (413, "BadRequestException")


def test_faults_and_failures(client_for: Clients, send: Send, caplog: pytest.LogCaptureFixture) -> None:
    def handler(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        if input["id"] == "gone":
            raise KeyError("gone")
        raise RuntimeError("the secret cause")

    def faults(error: Exception) -> Fault | None:
        if isinstance(error, KeyError):
            return Fault("MLResourceNotFoundException", f"No job {error.args[0]}")
        return None

    endpoint = Endpoint([Service("neptunedata", {"get_ml_model_training_job": handler}, faults)])
    client = client_for(endpoint, "neptunedata")
    with pytest.raises(client.exceptions.MLResourceNotFoundException, match="No job gone") as caught:
        client.get_ml_model_training_job(id="gone")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(client.exceptions.InternalFailureException) as failed:
        client.get_ml_model_training_job(id="x")
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "secret" not in str(failed.value)
    assert failed.value.response["requestId"] in caplog.text
    assert "the secret cause" in caplog.text


def test_a_full_disk_is_told_to_the_client_once(client_for: Clients) -> None:
    asked = []

    def handler(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        asked.append(input)
        raise OSError(errno.ENOSPC, "No space left on device")

    client = client_for(Endpoint([Service("neptunedata", {"get_ml_model_training_job": handler})]), "neptunedata")
    with pytest.raises(client.exceptions.InternalFailureException, match="no room left") as caught:
        client.get_ml_model_training_job(id="x")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 507
    assert len(asked) == 1


def test_an_output_that_the_model_does_not_know_is_our_mistake(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    handlers = {"get_ml_model_training_job": lambda call, input: {"nonsense": 1}}
    assert send(Endpoint([Service("neptunedata", handlers)]), "GET", "/ml/modeltraining/x")[0] == 500
    assert "has no member 'nonsense'" in caplog.text


def test_a_client_that_hangs_up_cancels_the_work(loop: Loop) -> None:
    async def scenario() -> str:
        started, ended = asyncio.Event(), asyncio.Event()

        async def handler(call: Call, input: dict[str, Any]) -> dict[str, Any]:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return {}

        async def receive() -> dict[str, Any]:
            await started.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError("nobody is there to answer")

        endpoint = Endpoint([Service("neptunedata", {"get_ml_model_training_job": handler})])
        scope = {"type": "http", "method": "GET", "path": "/ml/modeltraining/x", "headers": []}
        await endpoint({**scope, "query_string": b""}, receive, send)
        return "ended" if ended.is_set() else "still works"

    assert loop.run(scenario(), timeout=10) == "ended"


def test_pages_of_other_sites_cannot_start_anything(send: Send, endpoint: Endpoint, recorder: Recorder) -> None:
    body = b'{"dataProcessingJobId": "d", "trainModelS3Location": "s3://b/k"}'
    statuses = {
        origin: send(endpoint, "POST", "/ml/modeltraining", body, {"origin": origin})[0]
        for origin in ("http://evil.test", "null", "http://modelyard.test")
    }
    assert statuses == {"http://evil.test": 403, "null": 403, "http://modelyard.test": 200}
    assert len(recorder.calls) == 1


def test_pages_stand_beside_the_services(send: Send, endpoint: Endpoint) -> None:
    assert send(endpoint, "GET", "/health")[2] == b"/health"
    assert send(endpoint, "GET", "/-/logs/job/1")[2] == b"/-/logs/job/1"
    assert send(endpoint, "GET", "/-/other/x")[0] == 404


S3_FIELDS = sorted(
    {
        part
        for operation in Model("s3").operations.values()
        for part in operation.http["requestUri"].partition("?")[2].split("&")
    }
    | {
        "uploadId=a",
        "partNumber=x",
        "max-keys=-1",
        "X-Amz-Signature=a",
        "Signature=a",
        "Action=GetCallerIdentity",
        "id=",
    }
)


@pytest.fixture
def everything() -> Endpoint:
    """S3 and STS with every operation served: reading is what they do."""

    async def handler(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        for value in input.values():
            if isinstance(value, Body):
                assert isinstance(b"".join([piece async for piece in value]), bytes)
        return {}

    services = []
    for name in ("s3", "sts"):
        methods = [m for m, o in Model(name).operations.items() if not o.has_event_stream_output]
        services.append(Service(name, dict.fromkeys(methods, handler)))
    return Endpoint(services)


def test_handlers_must_belong_to_an_operation() -> None:
    with pytest.raises(ValueError, match="neptunedata has no operation train_it"):
        Service("neptunedata", {"train_it": lambda call, input: {}})


S3_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(
            st.text(max_size=20), st.sampled_from(["aws-chunked", "STREAMING-X", "5", "bytes=0-", "REPLACE"])
        )
        for name in (
            *("content-encoding", "x-amz-content-sha256", "x-amz-decoded-content-length", "content-length", "host"),
            *(
                "x-amz-copy-source",
                "x-amz-trailer",
                "expect",
                "range",
                "if-modified-since",
                "x-amz-meta-a",
                "content-md5",
            ),
        )
    },
)
S3_QUERIES = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(S3_FIELDS), max_size=3).map("&".join),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]),
    path=st.one_of(
        st.sampled_from(["/", "/bucket", "/bucket/", "/bucket/key", "//", "/bucket/%ff", "/b/../c"]),
        st.text(max_size=30).map(lambda text: "/" + text),
    ),
    query=S3_QUERIES,
    headers=S3_HEADERS,
    body=st.one_of(
        st.binary(max_size=50), st.sampled_from([b"<Delete/>", b"5\r\nhello\r\n0\r\n\r\n", b"<!DOCTYPE a>"])
    ),
    signing_name=st.sampled_from(["s3", "sts", "other", None]),
)
def test_no_request_breaks_s3_or_sts(
    loop: Loop,
    everything: Endpoint,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    signing_name: str | None,
) -> None:
    if signing_name is not None:
        headers["authorization"] = SIGNED.format(key="1" * 12, region="us-east-1", name=signing_name)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query.encode("utf-8", "surrogatepass"),
        "headers": [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items()],
    }
    status, answer_headers, answer = loop.run(exchange(everything, scope, body))
    assert status < 500
    if signing_name == "other":
        assert method == "HEAD" or b"other is not served here" in answer
    elif status >= 400 and method != "HEAD":
        assert ElementTree.fromstring(answer).tag.rpartition("}")[2] in ("Error", "ErrorResponse")
    assert "content-length" in answer_headers or status in (204, 304)


PATHS = st.one_of(
    st.sampled_from(["/ml/modeltraining", "/ml/modeltraining/x", "/tags/x", "/model/x/invoke", "/%", "//"]),
    st.text(max_size=30).map(lambda text: "/" + text),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["id", "dataProcessingJobId", "subnets", "x"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "BREW", ""]),
    path=PATHS,
    query=st.text(max_size=30),
    body=BODIES,
    authorization=st.text(max_size=60) | st.just(SIGNED.format(key="x", region="y", name="bedrock")),
)
def test_no_request_breaks_the_endpoint(
    loop: Loop, endpoint: Endpoint, method: str, path: str, query: str, body: bytes, authorization: str
) -> None:
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query.encode("utf-8", "surrogatepass"),
        "headers": [(b"authorization", authorization.encode("utf-8", "surrogatepass"))],
    }
    answers: list[dict[str, Any]] = []

    async def run() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            answers.append(message)

        await endpoint(scope, receive, send)

    loop.run(run())
    assert answers[0]["status"] < 500
    assert isinstance(json.loads(answers[1]["body"]), dict)
