"""Model copy jobs: a custom model of one region becomes one of another.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateModelCopyJob.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from modelyard.jobs import resources, tags
from modelyard.jobs.model import RESERVED, Job, NotFound, Resource, Status
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend, key_arn, message, not_found, search, tag_list, tag_values
from modelyard.services.bedrock.custom_models import copying
from modelyard.services.bedrock.requests import STATUS_WORDS, STATUSES, created, facts, replayed, reserve
from modelyard.services.bedrock.weights import ACTIVE, CUSTOM_MODEL, place
from modelyard.services.calls import moment, owner, sifted
from modelyard.storage.names import join
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KIND = "model copy"


class CopyJobs:
    """The operations on copy jobs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(KIND, _finish)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Copies a custom model of the caller's, from any region to the one that is asked."""
        if (job := replayed(self._backend, call, KIND, request)) is None:
            job = await self._create(call, request)
        return {"jobArn": facts(job)["arn"]}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How a job stands, and what it came to."""
        return _describe(self._backend.job(call, KIND, request["jobArn"]))

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of jobs."""
        looked = search(request, statuses=STATUSES.get(request.get("statusEquals", ""), ()))
        return sifted(
            "modelCopyJobSummaries",
            lambda looked: self._backend.store.page(owner(call), KIND, looked),
            replace(looked, contains=None),
            lambda job: _describe(job) if _matches(job, request) else None,
        )

    async def _create(self, call: Call, request: Mapping[str, Any]) -> Job:
        source = self._source(call, request["sourceModelArn"])
        id, model_id, whose = arns.new_id(), arns.new_id(), owner(call)
        path = source.document["arn"].partition(":custom-model/")[2].rpartition("/")[0]
        model_arn = arns.custom_model(whose, path, model_id)
        settled = {
            "arn": arns.copy_job(whose, id),
            "modelArn": model_arn,
            "sourceName": source.name,
            "base": source.base,
            "root": source.root,
            "document": {**source.document, "arn": model_arn, "folder": place(model_id)},
        }
        name, form = request["targetModelName"], source.document["form"]
        model = resources.new(
            whose, CUSTOM_MODEL, model_id, name, RESERVED, {"arn": model_arn}, source.base, source.root
        )
        tag_values(request.get("targetModelTags"), "targetModelTags")

        def within(connection: Connection) -> None:
            resources.require(connection, source)
            reserve(connection, model)

        stages = copying(model_id, join(source.document["folder"], "model"), form)
        return await created(self._backend, call, KIND, id, request, settled, stages, within)

    def _source(self, call: Call, identifier: str) -> Resource:
        arn = arns.parse(identifier)
        if arn is None or arn.resource != "custom-model":
            raise Fault(
                "ValidationException", f"sourceModelArn: only custom models can be copied, not {identifier[:300]}"
            )
        try:
            if arn.account == call.account:
                found = self._backend.resources.get(arn.owner, CUSTOM_MODEL, arn.id)
                if found.document["arn"] == identifier and found.status == ACTIVE:
                    return found
        except NotFound:
            pass
        raise not_found(call, f"{CUSTOM_MODEL} that is {ACTIVE},", identifier)


def _matches(job: Job, request: Mapping[str, Any]) -> bool:
    """Whether a job is as a request asks, where only its document tells."""
    return (
        request.get("targetModelNameContains", "") in job.request["targetModelName"]
        and request.get("sourceModelArnEquals", job.request["sourceModelArn"]) == job.request["sourceModelArn"]
        and request.get("sourceAccountEquals", job.owner.account) == job.owner.account
    )


def _describe(job: Job) -> dict[str, Any]:
    return {
        "jobArn": facts(job)["arn"],
        "status": STATUS_WORDS[job.status],
        "creationTime": moment(job.created),
        "targetModelArn": facts(job)["modelArn"],
        "targetModelName": job.request["targetModelName"],
        "sourceAccountId": job.owner.account,
        "sourceModelArn": job.request["sourceModelArn"],
        "sourceModelName": facts(job)["sourceName"],
        "targetModelKmsKeyArn": key_arn(job.request.get("modelKmsKeyId")),
        "targetModelTags": tag_list(tag_values(job.request.get("targetModelTags"))),
        "failureMessage": message(job.failure),
    }


def _finish(connection: Connection, job: Job) -> None:
    """Puts the copy in the place that was reserved for it, or gives that up."""
    settled = facts(job)
    arn = arns.parse(settled["modelArn"])
    assert arn
    resources.remove(connection, job.owner, CUSTOM_MODEL, arn.id)
    if job.status is Status.COMPLETED:
        name, document = job.request["targetModelName"], settled["document"]
        copy = resources.new(job.owner, CUSTOM_MODEL, arn.id, name, ACTIVE, document, settled["base"], settled["root"])
        resources.add(connection, copy)
        tags.put(connection, settled["modelArn"], tag_values(job.request.get("targetModelTags")))
