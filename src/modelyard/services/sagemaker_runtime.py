"""The SageMaker runtime: requests to endpoints go to their serving tasks.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from modelyard.jobs.serving import Connections, ServingLost
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

TIMEOUT_SECONDS = 60.0
"""As in SageMaker: a model has 60 seconds to answer."""

ANY_NAME = frozenset({"EndpointName"})
"""What `find` decides: Neptune ML's ids may have underscores and more, which SageMaker's own names do not have."""

_ANSWERING = ("InService", "Updating")
"""While an endpoint is updated, its old task answers."""


@dataclass(frozen=True, slots=True)
class ServedEndpoint:
    """An endpoint that a request names, and the serving task behind it, if there is one."""

    status: str
    task_id: str | None


Find = Callable[[str, str, str], ServedEndpoint | None]
"""`find(account, region, id_or_name)`: the caller's endpoint of that id or name, by one indexed read."""

Handler = Callable[[Call, dict[str, Any]], Awaitable[dict[str, Any]]]


def handlers(find: Find, connections: Connections, timeout: float = TIMEOUT_SECONDS) -> dict[str, Handler]:
    """The handlers by the names of the boto3 methods; `timeout` in seconds."""

    async def invoke_endpoint(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        header = {"content_type": request.get("ContentType", ""), "accept": request.get("Accept", "")}
        name = request["EndpointName"]
        try:
            reply, body = await ask(call, name, header, request["Body"])
        except ServingLost as error:
            raise Fault("ServiceUnavailable", f"endpoint {name} cannot answer now: {error}") from error
        except TimeoutError:
            raise _model_error(504, f"no answer within {timeout:g} seconds") from None
        if reply["status"] != 200:
            raise _model_error(reply["status"], reply["message"])
        return {
            "Body": body,
            "ContentType": reply.get("content_type", "application/json"),
            "InvokedProductionVariant": "AllTraffic",
        }

    async def ask(call: Call, name: str, header: dict[str, str], body: bytes) -> tuple[dict[str, Any], bytes]:
        """Asks again if an update replaced the task meanwhile: a request changes nothing, so it may be repeated."""
        task_id = _serving_task(find(call.account, call.region, name), call, name)
        try:
            return await connections.ask(task_id, header, body, timeout)
        except ServingLost:
            following = _serving_task(find(call.account, call.region, name), call, name)
            if following == task_id:
                raise
            return await connections.ask(following, header, body, timeout)

    return {"invoke_endpoint": invoke_endpoint}


def _serving_task(endpoint: ServedEndpoint | None, call: Call, name: str) -> str:
    if endpoint is None:
        raise Fault("ValidationError", f"Endpoint {name} of account {call.account} not found.")
    if endpoint.task_id is None or endpoint.status not in _ANSWERING:
        raise Fault("ValidationError", f"Endpoint {name} is {endpoint.status}; it answers when it is InService.")
    return endpoint.task_id


def _model_error(status: int, message: str) -> Fault:
    side = "client" if status < 500 else "server"
    return Fault(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{message}"',
        {"OriginalStatusCode": status, "OriginalMessage": message},
    )
