"""Requests that make a job: asked twice they make one, and names are taken once.

With a job's request go the facts that were settled when it was accepted, under a name that AWS has no member of.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from modelyard.jobs import resources
from modelyard.jobs.model import AlreadyExists, Job, Resource, Stage, Status
from modelyard.jobs.store import Within
from modelyard.services.bedrock.backend import Backend
from modelyard.services.calls import owner
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

FACTS = "modelyard"

STATUS_WORDS = {
    Status.QUEUED: "InProgress",
    Status.RUNNING: "InProgress",
    Status.STOPPING: "Stopping",
    Status.STOPPED: "Stopped",
    Status.COMPLETED: "Completed",
    Status.FAILED: "Failed",
}
STATUSES = {
    "InProgress": (Status.QUEUED, Status.RUNNING),
    "Stopping": (Status.STOPPING,),
    "Stopped": (Status.STOPPED,),
    "Completed": (Status.COMPLETED,),
    "Failed": (Status.FAILED,),
}
"""Where jobs of a status of Bedrock's stand in the core."""


def facts(job: Job) -> dict[str, Any]:
    """What was settled when a job was accepted."""
    settled: dict[str, Any] = job.request[FACTS]
    return settled


def replayed(backend: Backend, call: Call, kind: str, request: Mapping[str, Any]) -> Job | None:
    """The job that the same request made before, as its token tells; a Fault if that was another request."""
    token = request.get("clientRequestToken")
    job = backend.store.with_token(owner(call), kind, token) if token else None
    if job is not None and _asked(job.request) != request:
        raise token_reused(str(token))
    return job


def replayed_resource(backend: Backend, call: Call, kind: str, request: Mapping[str, Any]) -> Resource | None:
    """`replayed` for what is no job: its document has the request."""
    token = request.get("clientRequestToken")
    found = backend.resources.with_token(owner(call), kind, token) if token else None
    if found is not None and found.document["request"] != request:
        raise token_reused(str(token))
    return found


async def created(
    backend: Backend,
    call: Call,
    kind: str,
    id: str,
    request: Mapping[str, Any],
    settled: Mapping[str, Any],
    stages: Sequence[Stage],
    within: Within,
) -> Job:
    """A new job, or the one that the same request has made in this very moment; a Fault if its name is taken."""
    name, token = request.get("jobName"), request.get("clientRequestToken")
    document = {**request, FACTS: settled}
    try:
        job = await backend.store.create(owner(call), kind, id, document, stages, name, token, within)
    except AlreadyExists as taken:
        first = replayed(backend, call, kind, request) if taken.by == "token" else None
        if first is None:
            raise Fault("ValidationException", f"The provided job name is currently in use: {name}") from None
        return first
    backend.wake()
    return job


def reserve(connection: Connection, model: Resource) -> None:
    """Takes the id and the name of a model that a job is to make; a Fault if the name is taken."""
    try:
        resources.add(connection, model)
    except AlreadyExists:
        reason = f"The provided model name is currently in use: {model.name}; choose another, or delete that model"
        raise Fault("ValidationException", reason) from None


def token_reused(token: str) -> Fault:
    """The answer to a token that another request came with."""
    reason = "came with another request before; a client makes a new one for each request"
    return Fault("ConflictException", f"clientRequestToken: {token} {reason}")


def _asked(request: Mapping[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in request.items() if member != FACTS}
