import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Clients, Loop

from modelyard.jobs.serving import Connections
from modelyard.runner.context import Context
from modelyard.runner.serving import RequestError, serve
from modelyard.services.sagemaker_runtime import ANY_NAME, ServedEndpoint, handlers
from modelyard.wire.endpoint import Endpoint, Service

_ENDPOINTS = {
    ("111122223333", "us-east-1", "films"): ServedEndpoint("InService", "task-1"),
    ("111122223333", "us-east-1", "films_of 2024/ü"): ServedEndpoint("InService", "task-1"),
    ("111122223333", "us-east-1", "newer"): ServedEndpoint("Updating", "task-1"),
    ("111122223333", "us-east-1", "starting"): ServedEndpoint("Creating", None),
    ("111122223333", "us-east-1", "ending"): ServedEndpoint("Deleting", "task-1"),
    ("111122223333", "us-east-1", "gone"): ServedEndpoint("InService", "task-2"),
}


async def _answer(header: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
    if body == b"bad":
        raise RequestError("topk is 500; it must be a whole number from 1 to 100")
    if body == b"broken":
        raise KeyError("inside")
    if body == b"slow":
        await asyncio.sleep(60)
    return {"status": 200, "content_type": "application/json"}, json.dumps({"got": len(body), **header}).encode()


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Path]:
    """A serving loop in a thread; gives the folder of its task."""
    stop, folder = threading.Event(), tmp_path / "task-1"
    folder.mkdir()
    context = Context({}, {}, folder, folder, should_stop=stop.is_set)
    thread = threading.Thread(target=serve, args=(context, folder / "serve.sock", _answer), daemon=True)
    thread.start()
    while not (folder / "serve.sock").exists():
        assert thread.is_alive()
    yield folder
    stop.set()
    thread.join(1)


@pytest.fixture
def find() -> Callable[..., ServedEndpoint | None]:
    """Finds endpoints; `updated` was still served by a task that is gone when it was first looked up."""
    lookups = iter(["task-2", "task-1"])

    def _find(*key: str) -> ServedEndpoint | None:
        return ServedEndpoint("InService", next(lookups)) if key[2] == "updated" else _ENDPOINTS.get(key)

    return _find


@pytest.fixture
def runtime(find: Callable[..., Any], task: Path, client_for: Clients, loop: Loop) -> Iterator[Callable[..., Any]]:
    connections = Connections(lambda task_id: task.parent / task_id / "serve.sock")
    service = Service("sagemaker-runtime", handlers(find, connections, timeout=0.5), any_text=ANY_NAME)
    application = Endpoint([service])
    yield lambda **who: client_for(application, "sagemaker-runtime", **who)

    async def close() -> None:
        connections.close()

    loop.run(close())


def _error(client: Any, **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(**request)
    response: dict[str, Any] = caught.value.response
    return response


@pytest.mark.parametrize("name", ["films", "films_of 2024/ü", "newer", "updated"])
def test_an_answer_comes_from_the_serving_task(runtime: Callable[..., Any], name: str) -> None:
    answer = runtime().invoke_endpoint(
        EndpointName=name, Body=b"\x00" * 1000, ContentType="application/json", Accept="application/json"
    )
    assert json.loads(answer["Body"].read()) == {
        "got": 1000,
        "content_type": "application/json",
        "accept": "application/json",
    }
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", "Endpoint other of account 111122223333 not found."),
        ("starting", "Endpoint starting is Creating; it answers when it is InService."),
        ("ending", "Endpoint ending is Deleting; it answers when it is InService."),
    ],
)
def test_an_endpoint_that_cannot_answer_says_so(runtime: Callable[..., Any], name: str, message: str) -> None:
    response = _error(runtime(), EndpointName=name, Body=b"{}")
    assert response["Error"] == {"Code": "ValidationError", "Message": message}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("who", [{"account": "444455556666"}, {"region": "eu-west-1"}])
def test_an_endpoint_is_its_owners_alone(runtime: Callable[..., Any], who: dict[str, str]) -> None:
    assert _error(runtime(**who), EndpointName="films", Body=b"{}")["Error"]["Code"] == "ValidationError"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"bad", 400, "topk is 500; it must be a whole number from 1 to 100"),
        (b"broken", 500, "KeyError: 'inside'"),
        (b"slow", 504, "no answer within 0.5 seconds"),
    ],
)
def test_a_models_refusal_is_a_model_error(runtime: Callable[..., Any], body: bytes, status: int, message: str) -> None:
    response = _error(runtime(), EndpointName="films", Body=body)
    assert response["Error"]["Code"] == "ModelError"
    assert message in response["Error"]["Message"]
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (status, message)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_a_lost_task_is_unavailable_which_clients_try_again(runtime: Callable[..., Any]) -> None:
    response = _error(runtime(), EndpointName="gone", Body=b"{}")
    assert response["Error"]["Code"] == "ServiceUnavailable"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_a_body_beyond_the_limit_is_refused(runtime: Callable[..., Any]) -> None:
    response = _error(runtime(), EndpointName="films", Body=bytes(6 * 1024 * 1024 + 1))
    assert response["Error"]["Code"] == "ValidationError"
    assert "6291456" in response["Error"]["Message"]
