"""Batch inference: jobs that answer the records of files.

https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs import tags
from modelyard.jobs.model import AlreadyExists, Job, NotFound, Stage, StageRecord, Status
from modelyard.jobs.on_demand import ServedModel
from modelyard.jobs.store import now
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend, message, not_found, search, tag_values
from modelyard.services.calls import moment, owner, sifted
from modelyard.storage.names import join
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KIND = "model invocation job"
DEFAULT_HOURS = 24
QUOTA_RECORDS = 100
"""As few records as AWS takes."""

_IN, _OUT = "inputDataConfig.s3InputDataConfig", "outputDataConfig.s3OutputDataConfig"
_ECHOED = (
    "modelId",
    "roleArn",
    "clientRequestToken",
    "inputDataConfig",
    "outputDataConfig",
    "vpcConfig",
    "modelInvocationType",
)
_WORDS = {Status.STOPPING: "Stopping", Status.STOPPED: "Stopped", Status.FAILED: "Failed"}
_STATUSES: Mapping[str, Sequence[Status]] = {
    "Submitted": (Status.QUEUED,),
    "Validating": (Status.RUNNING,),
    "Scheduled": (Status.RUNNING,),
    "InProgress": (Status.RUNNING,),
    "Completed": (Status.COMPLETED,),
    "PartiallyCompleted": (Status.COMPLETED,),
    "Stopping": (Status.STOPPING,),
    "Stopped": (Status.STOPPED,),
    "Failed": (Status.FAILED,),
}
"""Where jobs of a status of Bedrock's stand in the core; those that expired may stand anywhere."""

Resolve = Callable[[str, str, str], ServedModel]
Progress = Callable[[StageRecord], Mapping[str, Any] | None]
"""The latest event of a stage, if it told any."""


class InvocationJobs:
    """The operations on batch inference jobs. `least_records`: fewer in a job make it fail."""

    def __init__(self, backend: Backend, resolve: Resolve, progress: Progress, least_records: int = 1) -> None:
        self._backend = backend
        self._resolve = resolve
        self._progress = progress
        self._least_records = least_records

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts a job. The same token with the same request answers as the first time did."""
        token = request.get("clientRequestToken")
        first = self._backend.store.with_token(owner(call), KIND, token) if token else None
        if first is not None:
            return self._again(first, request)
        id = arns.new_id()
        plan = await self._plan(call, id, request)
        arn = arns.invocation_job(owner(call), id)
        tagged = partial(tags.put, resource=arn, values=tag_values(request.get("tags")))
        try:
            await self._backend.store.create(
                owner(call), KIND, id, request, plan, name=request["jobName"], token=token, within=tagged
            )
        except AlreadyExists as taken:
            if taken.by == "token":
                return self._again(self._backend.store.get(owner(call), KIND, taken.id), request)
            text = f"The provided job name is currently in use. jobName: {request['jobName']} is job {taken.id}"
            raise Fault("ConflictException", text) from None
        self._backend.wake()
        return {"jobArn": arn}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How a job stands."""
        return self._describe(self._job(call, request["jobIdentifier"]))

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Jobs by page. The status that is asked for is finer than what is kept."""
        wanted: str | None = request.get("statusEquals")
        looked = search(request, after="submitTimeAfter", before="submitTimeBefore")
        return sifted(
            "invocationJobSummaries",
            lambda looked: self._backend.store.page(owner(call), KIND, looked),
            replace(looked, statuses=_STATUSES.get(wanted or "", ())),
            lambda job: self._describe(job) if wanted in (None, _status(job)) else None,
        )

    async def stop(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Stops a job; what it has answered so far appears at its output location."""
        job = self._job(call, request["jobIdentifier"])
        if (status := _status(job)) not in (
            "Submitted",
            "Validating",
            "Scheduled",
            "InProgress",
            "Stopping",
            "Stopped",
        ):
            raise Fault(
                "ValidationException", f"The job {job.id} is {status}; only one that has not ended can be stopped"
            )
        await self._backend.store.stop(job.owner, KIND, job.id)
        self._backend.wake()
        return {}

    def _again(self, first: Job, request: Mapping[str, Any]) -> dict[str, Any]:
        if first.request != request:
            reason = f"clientRequestToken: another request came with it before, for the job {first.name}"
            raise Fault("ConflictException", reason)
        return {"jobArn": arns.invocation_job(first.owner, first.id)}

    def _job(self, call: Call, identifier: str) -> Job:
        """The caller's job with this ARN or id."""
        arn = arns.parse(identifier)
        try:
            if arn is None:
                return self._backend.store.get(owner(call), KIND, identifier)
            if arn.owner == owner(call) and arn.resource == "model-invocation-job":
                return self._backend.store.get(arn.owner, KIND, arn.id)
        except NotFound:
            pass
        raise not_found(call, KIND, identifier)

    async def _plan(self, call: Call, id: str, request: Mapping[str, Any]) -> Sequence[Stage]:
        """The validation, and the inference, which publishes the answers."""
        model = self._resolve(call.account, call.region, request["modelId"])
        kind = request.get("modelInvocationType", "InvokeModel")
        if kind == "Converse" and not model.instruct:
            reason = f"modelInvocationType: {request['modelId']} has no chat template; use InvokeModel"
            raise Fault("ValidationException", reason)
        source, target = await self._places(call, request)
        parameters = {
            "base": str(model.base),
            "adapter": str(model.adapter) if model.adapter else None,
            "family": model.family,
            "imported": model.imported,
            "model": request["modelId"],
            "invocation_type": kind,
            "engine": self._backend.engine,
            "deadline": time.time() + 3600 * request.get("timeoutDurationInHours", DEFAULT_HOURS),
        }
        entry, inputs = "modelyard.workloads.language", {"records": source}
        validation = TaskSpec(
            f"{entry}.records:validate",
            parameters={"least_records": self._least_records},
            inputs=inputs,
            family="language",
        )
        inference = TaskSpec(
            f"{entry}.batch:run",
            parameters=parameters,
            inputs=inputs,
            cores=max(1, self._backend.slots // 2),
            family="language",
        )
        return [
            Stage(name="validation", run=f"{id}-validation", spec=validation),
            Stage(name="inference", run=f"{id}-inference", spec=inference, publish=join(target, id), partial=True),
        ]

    async def _places(self, call: Call, request: Mapping[str, Any]) -> tuple[str, str]:
        """Where the records are, and below which prefix the answers are to appear; a Fault if they may not."""
        source = request["inputDataConfig"]["s3InputDataConfig"]
        target = request["outputDataConfig"]["s3OutputDataConfig"]
        await self._backend.check_readable(call, f"{_IN}.s3Uri", source["s3Uri"], folder=True)
        await self._backend.check_writable(call, f"{_OUT}.s3Uri", target["s3Uri"])
        for member, place in ((_IN, source), (_OUT, target)):
            expected = place.get("s3BucketOwner")
            found = self._backend.buckets.owner(self._backend.storage.bucket(place["s3Uri"]))
            if expected and found not in (None, expected):
                reason = f"{member}.s3BucketOwner: the bucket of {place['s3Uri']} is not of account {expected}"
                raise Fault("AccessDeniedException", reason)
        return source["s3Uri"], target["s3Uri"]

    def _describe(self, job: Job) -> dict[str, Any]:
        request, status = job.request, _status(job)
        ended = job.ended or (_deadline(job) if status == "Expired" else None)
        times = [job.created, ended, *(time for stage in job.stages for time in (stage.started, stage.ended))]
        return {
            **{member: request.get(member) for member in _ECHOED},
            "jobArn": arns.invocation_job(job.owner, job.id),
            "jobName": job.name,
            "status": status,
            "message": message(_why(job, status)),
            "submitTime": moment(job.created),
            "lastModifiedTime": moment(max(time for time in times if time)),
            "endTime": moment(ended) if ended else None,
            "timeoutDurationInHours": request.get("timeoutDurationInHours", DEFAULT_HOURS),
            "jobExpirationTime": moment(_deadline(job)),
            "modelInvocationType": request.get("modelInvocationType", "InvokeModel"),
            **self._counts(job),
        }

    def _counts(self, job: Job) -> dict[str, int]:
        """How many records there are, known when they are validated, and how many were answered."""
        validation, inference = job.stages
        told = inference.result or (self._progress(inference) if inference.attempt else None) or {}
        succeeded, failed = told.get("succeeded", 0), told.get("failed", 0)
        return {
            "totalRecordCount": validation.result.get("records", 0),
            "processedRecordCount": succeeded + failed,
            "successRecordCount": succeeded,
            "errorRecordCount": failed,
        }


def _status(job: Job) -> str:
    """Bedrock's word for how a job stands."""
    validation, inference = job.stages
    begun = inference.started is not None and inference.started <= _deadline(job)
    if inference.result.get("expired") or (not job.status.final and not begun and now() > _deadline(job)):
        return "Expired"
    if job.status is Status.COMPLETED:
        return "Completed" if inference.result["processed"] == inference.result["total"] else "PartiallyCompleted"
    if job.status in _WORDS:
        return _WORDS[job.status]
    if inference.attempt:
        return "InProgress"
    if validation.status is Status.COMPLETED:
        return "Scheduled"
    return "Validating" if validation.attempt else "Submitted"


def _why(job: Job, status: str) -> str | None:
    """What there is to say about how a job ended."""
    hours = job.request.get("timeoutDurationInHours", DEFAULT_HOURS)
    if status == "Expired":
        return f"The job did not start within its {hours} hours; create it again when fewer jobs wait."
    if status == "PartiallyCompleted":
        return (
            f"The job reached the end of its {hours} hours; the records that are missing in the output were not asked."
        )
    return job.failure


def _deadline(job: Job) -> int:
    """When the job's time is up; milliseconds since the epoch."""
    deadline: float = job.stages[1].stage.spec.parameters["deadline"]
    return int(deadline * 1000)
