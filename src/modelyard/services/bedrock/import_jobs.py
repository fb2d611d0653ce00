"""Model import jobs: a folder of safetensors becomes a model that answers.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateModelImportJob.html
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from modelyard.engines.base import TaskSpec
from modelyard.jobs import resources, tags
from modelyard.jobs.model import RESERVED, Job, Keep, Stage, Status
from modelyard.model_folder import BadModel, inspect
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend, key_arn, message, search, tag_values
from modelyard.services.bedrock.imported_models import IMPORTED_MODEL
from modelyard.services.bedrock.requests import STATUS_WORDS, STATUSES, created, facts, replayed, reserve
from modelyard.services.calls import listed, moment, owner
from modelyard.storage.folders import Folders
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KIND = "model import"
ACTIVE = "Active"


class ImportJobs:
    """The operations on import jobs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(KIND, _finish)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts a job, after a look at the folder."""
        if (job := replayed(self._backend, call, KIND, request)) is None:
            job = await self._create(call, request)
        return {"jobArn": facts(job)["arn"]}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How a job stands, and what it came to."""
        job = self._backend.job(call, KIND, request["jobIdentifier"])
        return {
            **_summary(job),
            "roleArn": job.request["roleArn"],
            "modelDataSource": job.request["modelDataSource"],
            "failureMessage": message(job.failure),
            "vpcConfig": job.request.get("vpcConfig"),
            "importedModelKmsKeyArn": key_arn(job.request.get("importedModelKmsKeyId")),
        }

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of jobs."""
        looked = search(request, statuses=STATUSES.get(request.get("statusEquals", ""), ()))
        page = self._backend.store.page(owner(call), KIND, looked)
        return listed("modelImportJobSummaries", page, _summary)

    async def _create(self, call: Call, request: Mapping[str, Any]) -> Job:
        uri = request["modelDataSource"]["s3DataSource"]["s3Uri"]
        await self._check(call, uri)
        id, model_id, whose = arns.new_id(), arns.new_id(), owner(call)
        settled = {"arn": arns.import_job(whose, id), "modelArn": arns.imported_model(whose, model_id)}
        spec = TaskSpec("modelyard.workloads.language.copying:run", {"form": "full"}, {"model": uri})
        stages = [Stage("import", f"{id}-import", spec, publish=_place(model_id), keep=Keep.IF_COMPLETED)]
        model = resources.new(
            whose, IMPORTED_MODEL, model_id, request["importedModelName"], RESERVED, {"arn": settled["modelArn"]}
        )
        tagged = tag_values(request.get("jobTags"), "jobTags")
        tag_values(request.get("importedModelTags"), "importedModelTags")

        def within(connection: Connection) -> None:
            reserve(connection, model)
            tags.put(connection, settled["arn"], tagged)

        return await created(self._backend, call, KIND, id, request, settled, stages, within)

    async def _check(self, call: Call, uri: str) -> None:
        """Faults if the folder cannot be read, or, where it lies on this machine, is no model."""
        member = "modelDataSource.s3DataSource.s3Uri"
        await self._backend.check_readable(call, member, uri, folder=True)
        if isinstance(self._backend.storage, Folders):
            try:
                await asyncio.to_thread(inspect, self._backend.storage.path(uri))
            except BadModel as error:
                text = str(error).replace(str(self._backend.storage.path(uri)), uri.rstrip("/"))
                raise Fault("ValidationException", f"{member}: {text}") from None


def _place(model_id: str) -> str:
    return f"modelyard://models/imported/{model_id}"


def _summary(job: Job) -> dict[str, Any]:
    times = [job.created, job.ended, *(time for record in job.stages for time in (record.started, record.ended))]
    return {
        "jobArn": facts(job)["arn"],
        "jobName": job.name,
        "status": STATUS_WORDS[job.status],
        "creationTime": moment(job.created),
        "lastModifiedTime": moment(max(time for time in times if time)),
        "endTime": moment(job.ended) if job.ended else None,
        "importedModelArn": facts(job)["modelArn"] if job.status is Status.COMPLETED else None,
        "importedModelName": job.request["importedModelName"],
    }


def _finish(connection: Connection, job: Job) -> None:
    """Puts the imported model in the place that was reserved for it, or gives that up."""
    arn = arns.parse(facts(job)["modelArn"])
    assert arn
    resources.remove(connection, job.owner, IMPORTED_MODEL, arn.id)
    if job.status is not Status.COMPLETED:
        return
    result = job.stages[0].result
    document = {
        "arn": facts(job)["modelArn"],
        "folder": _place(arn.id),
        "jobName": job.name,
        "jobArn": facts(job)["arn"],
        "modelDataSource": job.request["modelDataSource"],
        "kmsKeyId": job.request.get("importedModelKmsKeyId"),
        "architecture": result["architecture"],
        "instruct": result["instruct"],
        "context": result["context"],
    }
    name = job.request["importedModelName"]
    resources.add(connection, resources.new(job.owner, IMPORTED_MODEL, arn.id, name, ACTIVE, document))
    tags.put(connection, document["arn"], tag_values(job.request.get("importedModelTags")))
