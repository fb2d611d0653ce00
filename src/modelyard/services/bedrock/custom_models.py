"""Custom models: what customization jobs made, what was copied, and what was brought along.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetCustomModel.html
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from modelyard.engines.base import TaskSpec
from modelyard.jobs import resources, tags
from modelyard.jobs.model import RESERVED, Job, Keep, NotFound, Resource, Stage, Status
from modelyard.jobs.resources import InUse
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend, message, search, tag_values
from modelyard.services.bedrock.requests import created, facts, replayed, reserve
from modelyard.services.bedrock.weights import ACTIVE, ADAPTER, CUSTOM_MODEL, FULL, place
from modelyard.services.calls import listed, moment, owner
from modelyard.storage.names import join
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KIND = "custom model creation"
CREATING, FAILED = "Creating", "Failed"


class CustomModels:
    """The operations on custom models."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(KIND, _finish)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes in an adapter that a customization job of Modelyard wrote: Creating, until a job has copied it."""
        if (job := replayed(self._backend, call, KIND, request)) is None:
            job = await self._create(call, request)
        return {"modelArn": facts(job)["arn"]}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One custom model by name or ARN."""
        model = self._backend.resource(call, CUSTOM_MODEL, request["modelIdentifier"])
        return {
            "modelArn": model.document["arn"],
            "modelName": model.name,
            "creationTime": moment(model.created),
            "modelStatus": model.status,
            "failureMessage": message(model.document.get("failure")),
            **model.document["described"],
        }

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of custom models. Models are shared with nobody, hence none is another account's."""
        if request.get("isOwned") is False:
            return {"modelSummaries": []}
        foundation = arns.parse(request.get("foundationModelArnEquals", ""))
        looked = search(
            request,
            statuses=[request["modelStatus"]] if "modelStatus" in request else (),
            base=request.get("baseModelArnEquals"),
            root=foundation.path if foundation else None,
        )
        page = self._backend.resources.page(owner(call), CUSTOM_MODEL, looked)
        return listed("modelSummaries", page, _summary)

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Deletes a model and its weights; a Fault while something needs them."""
        model = self._backend.resource(call, CUSTOM_MODEL, request["modelIdentifier"])
        if model.status == CREATING:
            raise Fault(
                "ConflictException", f"The custom model {model.name} is being created; delete it when it is there"
            )
        arn = model.document["arn"]
        try:
            await self._backend.discard(model, lambda one: _needs(one, arn))
        except InUse as error:
            reason = f"The custom model {model.name} is needed by {error}; delete that first"
            raise Fault("ConflictException", reason) from None
        return {}

    async def _create(self, call: Call, request: Mapping[str, Any]) -> Job:
        if "modelSourceConfig" not in request:
            reason = "modelSourceConfig is what is served: the folder of an adapter that a customization job wrote"
            raise Fault("ValidationException", reason)
        uri = request["modelSourceConfig"]["s3DataSource"]["s3Uri"]
        await self._backend.check_readable(call, "modelSourceConfig.s3DataSource.s3Uri", uri, folder=True)
        base, below = await self._base(call, uri)
        id, whose = arns.new_id(), owner(call)
        arn, base_arn = arns.custom_model(whose, "imported", id), arns.foundation_model(call.region, base)
        described = {
            "baseModelArn": base_arn,
            "customizationType": "IMPORTED",
            "modelKmsKeyArn": request.get("modelKmsKeyArn"),
        }
        rests_on = below.document["arn"] if below else None
        document = {"arn": arn, "folder": place(id), "form": ADAPTER, "rests_on": rests_on, "described": described}
        model = resources.new(whose, CUSTOM_MODEL, id, request["modelName"], CREATING, document, base_arn, base)
        tagged = tag_values(request.get("modelTags"), "modelTags")

        def within(connection: Connection) -> None:
            if below is not None:
                resources.require(connection, below)
            reserve(connection, model)
            tags.put(connection, arn, tagged)

        return await created(self._backend, call, KIND, id, request, {"arn": arn}, copying(id, uri, ADAPTER), within)

    async def _base(self, call: Call, uri: str) -> tuple[str, Resource | None]:
        """What an adapter is for, as it says itself: a foundation model's id, and the custom model between, if any."""
        config = await self._backend.read_json(join(uri, "adapter_config.json"))
        if config is None:
            reason = (
                f"modelSourceConfig: {uri} has no adapter_config.json, which customization jobs write with an adapter"
            )
            raise Fault("ValidationException", f"{reason}; CreateModelImportJob takes whole models")
        name = str(config.get("base_model_name_or_path"))
        try:
            arn = arns.parse(name)
            if arn is None:
                return self._backend.base_models.get(name).id, None
            if arn.resource == "custom-model" and arn.owner == owner(call):
                below = self._backend.resources.get(arn.owner, CUSTOM_MODEL, arn.id)
                if below.root and below.document["form"] == FULL:
                    return below.root, below
        except NotFound:
            pass
        reason = f"modelSourceConfig: {uri} is an adapter to {name[:300]!r} (base_model_name_or_path)"
        raise Fault("ValidationException", f"{reason}, which is not registered; modelyard models add registers a model")


def copying(id: str, uri: str, form: str) -> list[Stage]:
    """The one stage of a job that makes a custom model of weights that are there."""
    spec = TaskSpec("modelyard.workloads.language.copying:run", {"form": form}, {"model": uri})
    return [Stage("copy", f"{id}-copy", spec, publish=place(id), keep=Keep.IF_COMPLETED)]


def _summary(model: Resource) -> dict[str, Any]:
    return {
        "modelArn": model.document["arn"],
        "modelName": model.name,
        "creationTime": moment(model.created),
        "baseModelArn": model.base,
        "baseModelName": (model.root or "").partition(":")[0],
        "customizationType": model.document["described"]["customizationType"],
        "ownerAccountId": model.owner.account,
        "modelStatus": model.status,
    }


def _needs(one: Resource, arn: str) -> bool:
    """Whether something that stands for a model, or was made from it, is of no use without it."""
    made_from_it = one.kind == CUSTOM_MODEL and one.status != RESERVED
    return not made_from_it or one.document["rests_on"] == arn


def _finish(connection: Connection, job: Job) -> None:
    """Says of the model how its creation ended."""
    status = ACTIVE if job.status is Status.COMPLETED else FAILED
    model = resources.row(connection, job.owner, CUSTOM_MODEL, job.id)
    failure = {"failure": job.failure or "it was stopped"} if status == FAILED else {}
    resources.change(connection, model, status=status, document={**model.document, **failure})
