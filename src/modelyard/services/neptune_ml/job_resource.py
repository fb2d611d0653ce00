"""What the three kinds of Neptune ML jobs have in common: start, get, list and cancel."""

import time
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import orjson

from modelyard import links
from modelyard.jobs.model import AlreadyExists, Job, NotFound, Stage, StageRecord, Status
from modelyard.services.calls import owner
from modelyard.services.neptune_ml.backend import Backend, check_id
from modelyard.services.neptune_ml.names import arn
from modelyard.wire.endpoint import Call, Fixed, quick
from modelyard.wire.errors import Fault

DEFAULT_MAX_ITEMS = 10
MAX_REQUEST = 64 * 1024
"""Bytes of a request that are kept with the job; members that no model knows are kept too."""

STATUS_WORDS = {
    Status.QUEUED: "InProgress",
    Status.RUNNING: "InProgress",
    Status.STOPPING: "Stopping",
    Status.STOPPED: "Stopped",
    Status.COMPLETED: "Completed",
    Status.FAILED: "Failed",
}
"""SageMaker's words, which every known client of Neptune ML compares with."""


class JobKind(Protocol):
    """What tells one kind of job from another.

    name: how the store and people call it.
    """

    name: str

    async def plan(self, call: Call, id: str, request: Mapping[str, Any]) -> Sequence[Stage]:
        """The stages of a job; a Fault for everything that can be refused at once."""
        ...

    def arn(self, job: Job) -> str:
        """The ARN that the start of the job answers."""
        ...

    def describe(self, base_url: str, job: Job) -> dict[str, Any]:
        """What Get answers beside the id and the status."""
        ...


class JobResource:
    """The operations on jobs of one kind."""

    def __init__(self, backend: Backend, kind: JobKind) -> None:
        self._backend = backend
        self._kind = kind
        self._described = lru_cache(maxsize=256)(self._describe)

    async def start(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts a job. The same id with the same body answers as the first time did."""
        id = check_id(request.get("id") or str(uuid.uuid4()))
        body = {**call.extra, **request}
        if (size := len(orjson.dumps(body))) > MAX_REQUEST:
            reason = f"The request has {size} bytes; at most {MAX_REQUEST} are kept with a job"
            raise Fault("InvalidParameterException", reason)
        try:
            job = self._first(call, id, body)
        except NotFound:
            plan = await self._kind.plan(call, id, body)
            try:
                job = await self._backend.store.create(owner(call), self._kind.name, id, body, plan)
            except AlreadyExists:
                job = self._first(call, id, body)
            self._backend.wake()
        return {"id": job.id, "arn": self._kind.arn(job), "creationTimeInMillis": job.created}

    def _first(self, call: Call, id: str, body: Mapping[str, Any]) -> Job:
        """The job that took the id before, with the same body; NotFound if none did."""
        job = self._backend.store.get(owner(call), self._kind.name, id)
        if job.request != body:
            reason = f"id: there is a {self._kind.name} job {id!r} already, with other parameters"
            raise Fault("InvalidParameterException", reason)
        return job

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How a job stands."""
        job = self._job(call, request["id"])
        return self._described(job, call.base_url, int(time.time()) // links.CHANGE_SECONDS)

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Ids of jobs in all states, newest first."""
        limit = request.get("maxItems", DEFAULT_MAX_ITEMS)
        return {"ids": self._backend.store.list_ids(owner(call), self._kind.name, limit)}

    async def cancel(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Stops a job; `clean` deletes what it published, and that of a job that had ended before."""
        job = self._job(call, request["id"])
        await self._backend.store.stop(owner(call), self._kind.name, job.id, clean=request.get("clean", False))
        self._backend.wake()
        return {"status": "200 OK"}

    def _describe(self, job: Job, base_url: str, _: int) -> Fixed:
        """What Get answers for a standing of a job, to a client at a base URL, while its links stay the same."""
        return Fixed({"id": job.id, "status": STATUS_WORDS[job.status], **self._kind.describe(base_url, job)})

    def _job(self, call: Call, id: str) -> Job:
        try:
            return self._backend.store.get(owner(call), self._kind.name, id)
        except NotFound:
            raise Fault("MLResourceNotFoundException", f"There is no {self._kind.name} job {id!r}") from None


def describe_stage(
    backend: Backend, base_url: str, job: Job, record: StageRecord, resource: str
) -> dict[str, Any] | None:
    """A stage as an MlResourceDefinition; None while its turn has not come."""
    if not record.attempt and record.status in (Status.WAITING, Status.STOPPED):
        return None
    status = "Starting" if record.status is Status.QUEUED else STATUS_WORDS[record.status]
    if record.status is Status.RUNNING and job.status is Status.STOPPING:
        status = "Stopping"
    return {
        "name": record.stage.run,
        "arn": arn(job.owner, resource, record.stage.run),
        "status": status,
        "outputLocation": record.stage.publish,
        "failureReason": record.failure,
        "cloudwatchLogUrl": backend.log_url(base_url, record.task),
    }
