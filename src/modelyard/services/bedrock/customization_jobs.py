"""Model customization jobs: a base model and a user's rows become a custom model.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateModelCustomizationJob.html
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from modelyard.jobs import resources, tags
from modelyard.jobs.model import (
    RESERVED,
    Job,
    NotFound,
    Resource,
    StageRecord,
    Status,
)
from modelyard.services.bedrock import arns, hyperparameters
from modelyard.services.bedrock.backend import Backend, key_arn, message, search, tag_values
from modelyard.services.bedrock.customization_plan import Base, plan, validation_data
from modelyard.services.bedrock.foundation_models import CUSTOMIZATION_WORDS, find_foundation_model
from modelyard.services.bedrock.requests import STATUS_WORDS, STATUSES, created, facts, replayed, reserve
from modelyard.services.bedrock.weights import ACTIVE, ADAPTER, CUSTOM_MODEL, FULL, place, root, weights
from modelyard.services.calls import listed, moment, owner
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KIND = "model customization"
CUSTOMIZATIONS = {word: customization for customization, word in CUSTOMIZATION_WORDS.items()}


class CustomizationJobs:
    """The operations on customization jobs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(KIND, _finish)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts a job, after everything that can be refused at once was checked."""
        if (first := replayed(self._backend, call, KIND, request)) is None:
            customization = _customization(request)
            base = self._base(call, request["baseModelIdentifier"], customization)
            await self._check_data(call, request, customization)
            first = await self._create(call, request, base, customization)
        return {"jobArn": facts(first)["arn"]}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How a job stands, and what it came to."""
        job = self._backend.job(call, KIND, request["jobIdentifier"])
        asked, completed = job.request, job.status is Status.COMPLETED
        return {
            **_summary(job),
            "outputModelName": asked["customModelName"],
            "outputModelArn": facts(job)["modelArn"] if completed else None,
            "clientRequestToken": asked.get("clientRequestToken"),
            "roleArn": asked["roleArn"],
            "failureMessage": message(job.failure),
            "baseModelArn": facts(job)["foundationModelArn"],
            "hyperParameters": facts(job)["hyperParameters"],
            "trainingDataConfig": asked["trainingDataConfig"],
            "validationDataConfig": asked.get("validationDataConfig", {"validators": []}),
            "outputDataConfig": asked["outputDataConfig"],
            "outputModelKmsKeyArn": key_arn(asked.get("customModelKmsKeyId")),
            "vpcConfig": asked.get("vpcConfig"),
            "customizationConfig": asked.get("customizationConfig"),
            **(_metrics(job) if completed else {}),
        }

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of jobs."""
        statuses = STATUSES.get(request.get("statusEquals", ""), ())
        page = self._backend.store.page(owner(call), KIND, search(request, statuses=statuses))
        return listed("modelCustomizationJobSummaries", page, _listed)

    async def stop(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Stops a job: at once it is Stopping, and no model comes of it. A Fault if it has ended."""
        job = self._backend.job(call, KIND, request["jobIdentifier"])
        if not job.status.final:
            await self._backend.store.stop(job.owner, KIND, job.id)
            job = self._backend.store.get(job.owner, KIND, job.id)
            self._backend.wake()
        if job.status in (Status.COMPLETED, Status.FAILED):
            reason = f"The job {job.name} is {STATUS_WORDS[job.status]}; only a job that is InProgress can be stopped"
            raise Fault("ValidationException", reason)
        return {}

    def _base(self, call: Call, identifier: str, customization: str) -> Base:
        """The model that a job begins with: a foundation model, or a custom model by name or ARN."""
        arn = arns.parse(identifier)
        if arn.resource == "custom-model" if arn else "." not in identifier:
            base = self._custom_base(call, identifier)
        else:
            model = find_foundation_model(self._backend, identifier, code="ValidationException")
            base = Base(model, arns.foundation_model(call.region, model.id), Path(model.path))
        if customization not in base.model.customizations:
            served = ", ".join(CUSTOMIZATION_WORDS[one] for one in base.model.customizations) or "none"
            asked = CUSTOMIZATION_WORDS[customization]
            raise Fault("ValidationException", f"customizationType: {base.model.id} takes {served}, not {asked}")
        return base

    def _custom_base(self, call: Call, identifier: str) -> Base:
        found = self._backend.resource(call, CUSTOM_MODEL, identifier)
        if found.status != ACTIVE:
            reason = f"baseModelIdentifier: the custom model {found.name} is {found.status}, not {ACTIVE}"
            raise Fault("ValidationException", reason)
        try:
            folder, adapter = weights(self._backend, found)
            model = root(self._backend, found)
        except NotFound:
            reason = f"baseModelIdentifier: the foundation model under {identifier} is not registered any more"
            raise Fault("ResourceNotFoundException", reason) from None
        full = found.document["form"] == FULL
        rests_on = found.document["arn"] if full else found.document["rests_on"]
        return Base(model, found.document["arn"], folder, adapter, rests_on, found)

    async def _check_data(self, call: Call, request: Mapping[str, Any], customization: str) -> None:
        """Faults unless the data can be read and the output written. Distillation takes folders too."""
        training = request["trainingDataConfig"]
        if "s3Uri" not in training or "invocationLogsConfig" in training:
            reason = "trainingDataConfig: invocation logs are not served; give s3Uri, a file of rows"
            raise Fault("ValidationException", reason)
        folders = customization == "distillation"
        await self._backend.check_readable(call, "trainingDataConfig.s3Uri", training["s3Uri"], folders)
        for n, uri in enumerate(validation_data(request)):
            await self._backend.check_readable(call, f"validationDataConfig.validators.{n}.s3Uri", uri, folders)
        await self._backend.check_writable(call, "outputDataConfig.s3Uri", request["outputDataConfig"]["s3Uri"])

    async def _create(self, call: Call, request: Mapping[str, Any], base: Base, customization: str) -> Job:
        rows = await self._backend.count_rows(request["trainingDataConfig"]["s3Uri"])
        read = hyperparameters.read(base.model, request.get("hyperParameters", {}), rows)
        id, model_id, whose = arns.new_id(), arns.new_id(), owner(call)
        arn = arns.customization_job(whose, base.model.id, id)
        model_arn = arns.custom_model(whose, base.model.id, model_id)
        full = read.values["full_weights"]
        document = {
            "arn": arn,
            "modelArn": model_arn,
            "baseModelArn": base.arn,
            "foundationModelArn": arns.foundation_model(call.region, base.model.id),
            "hyperParameters": read.texts,
            "customizationType": CUSTOMIZATION_WORDS[customization],
            "form": FULL if full else ADAPTER,
            "rests_on": None if full else base.rests_on,
        }
        model = resources.new(
            whose, CUSTOM_MODEL, model_id, request["customModelName"], RESERVED, {}, base.arn, base.model.id
        )
        job_tags = tag_values(request.get("jobTags"), "jobTags")
        tag_values(request.get("customModelTags"), "customModelTags")
        stages = plan(request, base, customization, read, self._teacher(request), id, model_id, self._backend.slots)

        def within(connection: Connection) -> None:
            if base.custom is not None:
                resources.require(connection, base.custom)
            reserve(connection, model)
            tags.put(connection, arn, job_tags)

        return await created(self._backend, call, KIND, id, request, document, stages, within)

    def _teacher(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of distillation: whose answers are learned."""
        config = request.get("customizationConfig", {}).get("distillationConfig")
        if config is None:
            return {}
        wanted = config["teacherModelConfig"]
        teacher = find_foundation_model(self._backend, wanted["teacherModelIdentifier"], code="ValidationException")
        most = wanted.get("maxResponseLengthForInference")
        return {"teacher": teacher.path, "max_response_tokens": most, "engine": self._backend.engine}


def _customization(request: Mapping[str, Any]) -> str:
    """The kind of customization that is asked for; a Fault unless it is one that is served."""
    word = request.get("customizationType", "FINE_TUNING")
    if word not in CUSTOMIZATIONS:
        reason = f"customizationType: {word} is not served; {', '.join(CUSTOMIZATIONS)} are"
        raise Fault("ValidationException", reason)
    config = request.get("customizationConfig", {})
    if "rftConfig" in config:
        raise Fault("ValidationException", "customizationConfig: rftConfig is not served")
    if ("distillationConfig" in config) != (word == "DISTILLATION"):
        reason = "customizationConfig: distillationConfig goes with the customizationType DISTILLATION, which needs it"
        raise Fault("ValidationException", reason)
    return CUSTOMIZATIONS[word]


def _summary(job: Job) -> dict[str, Any]:
    """What Get and List both tell."""
    return {
        "jobArn": facts(job)["arn"],
        "jobName": job.name,
        "status": STATUS_WORDS[job.status],
        "statusDetails": _details(job),
        "creationTime": moment(job.created),
        "lastModifiedTime": moment(_last_modified(job)),
        "endTime": moment(job.ended) if job.ended else None,
        "customizationType": facts(job)["customizationType"],
    }


def _listed(job: Job) -> dict[str, Any]:
    return {
        **_summary(job),
        "baseModelArn": facts(job)["baseModelArn"],
        "customModelArn": facts(job)["modelArn"] if job.status is Status.COMPLETED else None,
        "customModelName": job.request["customModelName"],
    }


def _details(job: Job) -> dict[str, Any]:
    """The sub-tasks: the training's is over when what it gave has been put where the user asked for it."""
    validation, processing, training, output = job.stages
    return {
        "validationDetails": _detail(job, validation),
        "dataProcessingDetails": _detail(job, processing),
        "trainingDetails": _detail(job, training, output),
    }


def _detail(job: Job, *records: StageRecord) -> dict[str, Any]:
    begun = [record for record in records if record.started]
    if not begun:
        return {"status": "NotStarted"}
    last = begun[-1]
    word = STATUS_WORDS[last.status]
    if last.status is Status.COMPLETED and last is not records[-1]:
        word = "InProgress"
    if word == "InProgress" and job.status in (Status.STOPPING, Status.STOPPED):
        word = STATUS_WORDS[job.status]
    return {
        "status": word,
        "creationTime": moment(begun[0].started or 0),
        "lastModifiedTime": moment(last.ended or last.started or 0),
    }


def _last_modified(job: Job) -> int:
    times = [time for record in job.stages for time in (record.started, record.ended)]
    return max(job.created, job.ended or 0, *(time or 0 for time in times))


def _metrics(job: Job) -> dict[str, Any]:
    result = job.stage("training").result
    return {
        "trainingMetrics": {"trainingLoss": result["training_loss"]},
        "validationMetrics": [{"validationLoss": loss} for loss in result["validation_losses"]],
    }


def _finish(connection: Connection, job: Job) -> None:
    """Puts the custom model in the place that was reserved for it, or gives that up."""
    model_arn = facts(job)["modelArn"]
    arn = arns.parse(model_arn)
    assert arn
    resources.remove(connection, job.owner, CUSTOM_MODEL, arn.id)
    if job.status is Status.COMPLETED:
        resources.add(connection, _model(job, arn.id))
        tags.put(connection, model_arn, tag_values(job.request.get("customModelTags")))


def _model(job: Job, id: str) -> Resource:
    asked = job.request
    document = {
        "arn": facts(job)["modelArn"],
        "folder": place(id),
        "form": facts(job)["form"],
        "rests_on": facts(job)["rests_on"],
        "described": {
            "jobName": job.name,
            "jobArn": facts(job)["arn"],
            "baseModelArn": facts(job)["baseModelArn"],
            "customizationType": facts(job)["customizationType"],
            "modelKmsKeyArn": key_arn(asked.get("customModelKmsKeyId")),
            "hyperParameters": facts(job)["hyperParameters"],
            "trainingDataConfig": asked["trainingDataConfig"],
            "validationDataConfig": asked.get("validationDataConfig"),
            "outputDataConfig": asked["outputDataConfig"],
            "customizationConfig": asked.get("customizationConfig"),
            **_metrics(job),
        },
    }
    base = arns.parse(facts(job)["foundationModelArn"])
    assert base
    return resources.new(
        job.owner,
        CUSTOM_MODEL,
        id,
        asked["customModelName"],
        ACTIVE,
        document,
        base=facts(job)["baseModelArn"],
        root=base.path,
    )
