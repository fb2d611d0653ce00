"""Provisioned throughput: capacity for one model, which stays loaded for as long as there is any.

Model units and commitments are kept and answered; a machine has the capacity that it has, and nothing is billed.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateProvisionedModelThroughput.html
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from modelyard.jobs.model import AlreadyExists, NotFound, Resource
from modelyard.jobs.resources import new
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend, not_found, search, tag_values
from modelyard.services.bedrock.foundation_models import find_foundation_model
from modelyard.services.bedrock.requests import replayed_resource
from modelyard.services.bedrock.weights import ACTIVE, CUSTOM_MODEL
from modelyard.services.calls import listed, moment, owner
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

PROVISIONED = "provisioned model"
IN_SERVICE = "InService"
_COMMITMENTS = {"OneMonth": timedelta(days=30), "SixMonths": timedelta(days=182)}


class ProvisionedThroughput:
    """The operations on provisioned throughput."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Keeps a model loaded, to be asked under an ARN and a name of its own."""
        if (provisioned := replayed_resource(self._backend, call, PROVISIONED, request)) is None:
            provisioned = await self._create(call, request)
        return {"provisionedModelArn": provisioned.document["arn"]}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One by name or ARN."""
        return _describe(self._provisioned(call, request))

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of them."""
        statuses = [request["statusEquals"]] if "statusEquals" in request else ()
        looked = search(request, statuses=statuses, base=request.get("modelArnEquals"))
        page = self._backend.resources.page(owner(call), PROVISIONED, looked)
        return listed("provisionedModelSummaries", page, _describe)

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives a new name, or another model: a custom model of the same base model, or that base model itself."""
        provisioned, values, needs = self._provisioned(call, request), {}, None
        if "desiredModelId" in request:
            values["base"], root, needs = self._model(call, "desiredModelId", request["desiredModelId"])
            if root != provisioned.root:
                reason = (
                    f"desiredModelId: {request['desiredModelId']} is of {root}, and only models of {provisioned.root}"
                )
                raise Fault("ValidationException", f"{reason} can take the place of {provisioned.base}")
        if "desiredProvisionedModelName" in request:
            values["name"] = request["desiredProvisionedModelName"]
        try:
            await self._backend.resources.change(provisioned, needs=needs, **values)
        except AlreadyExists:
            raise _name_in_use("desiredProvisionedModelName", values["name"]) from None
        except NotFound:
            raise not_found(call, f"{PROVISIONED}, or model for it,", request["provisionedModelId"]) from None
        return {}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives the capacity back; the model stays. A commitment does not hold it: nobody is billed."""
        await self._backend.resources.delete(self._provisioned(call, request))
        return {}

    async def _create(self, call: Call, request: Mapping[str, Any]) -> Resource:
        model_arn, root, needs = self._model(call, "modelId", request["modelId"])
        id, whose, name = arns.new_id(), owner(call), request["provisionedModelName"]
        document = {"arn": arns.provisioned_model(whose, id), "request": request}
        provisioned = new(whose, PROVISIONED, id, name, IN_SERVICE, document, model_arn, root)
        try:
            return await self._backend.resources.create(
                provisioned, request.get("clientRequestToken"), needs, tag_values(request.get("tags"))
            )
        except AlreadyExists as taken:
            if taken.by == "token" and (first := replayed_resource(self._backend, call, PROVISIONED, request)):
                return first
            raise _name_in_use("provisionedModelName", name) from None
        except NotFound:
            raise not_found(call, CUSTOM_MODEL, request["modelId"]) from None

    def _provisioned(self, call: Call, request: Mapping[str, Any]) -> Resource:
        return self._backend.resource(call, PROVISIONED, request["provisionedModelId"])

    def _model(self, call: Call, member: str, identifier: str) -> tuple[str, str | None, Resource | None]:
        """ARN of a model, id of the foundation model under it, and the custom model if it is one."""
        arn = arns.parse(identifier)
        if arn.resource == "foundation-model" if arn else "." in identifier:
            model = find_foundation_model(self._backend, identifier)
            return arns.foundation_model(call.region, model.id), model.id, None
        custom = self._backend.resource(call, CUSTOM_MODEL, identifier)
        if custom.status != ACTIVE:
            raise Fault(
                "ValidationException", f"{member}: the custom model {custom.name} is {custom.status}, not {ACTIVE}"
            )
        return custom.document["arn"], custom.root, custom


def _name_in_use(member: str, name: str) -> Fault:
    return Fault("ValidationException", f"{member}: {name} is in use; choose another name")


def _describe(provisioned: Resource) -> dict[str, Any]:
    asked = provisioned.document["request"]
    commitment = asked.get("commitmentDuration")
    expires = moment(provisioned.created) + _COMMITMENTS[commitment] if commitment else None
    return {
        "provisionedModelName": provisioned.name,
        "provisionedModelArn": provisioned.document["arn"],
        "modelArn": provisioned.base,
        "desiredModelArn": provisioned.base,
        "foundationModelArn": arns.foundation_model(provisioned.owner.region, provisioned.root or ""),
        "modelUnits": asked["modelUnits"],
        "desiredModelUnits": asked["modelUnits"],
        "status": provisioned.status,
        "commitmentDuration": commitment,
        "commitmentExpirationTime": expires,
        "creationTime": moment(provisioned.created),
        "lastModifiedTime": moment(provisioned.updated),
    }
