"""Custom model deployments: names under which custom models answer, and which may come to stand for another one.

They are Active at once: the weights are loaded when somebody asks, and requests wait for that.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateCustomModelDeployment.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.jobs.model import AlreadyExists, NotFound, Resource
from modelyard.jobs.resources import new
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend, not_found, search, tag_values
from modelyard.services.bedrock.requests import replayed_resource
from modelyard.services.bedrock.weights import ACTIVE, CUSTOM_MODEL
from modelyard.services.calls import listed, moment, owner
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

DEPLOYMENT = "custom model deployment"


class Deployments:
    """The operations on custom model deployments."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Lets a custom model answer under a name of its own."""
        if (deployment := replayed_resource(self._backend, call, DEPLOYMENT, request)) is None:
            deployment = await self._create(call, request)
        return {"customModelDeploymentArn": deployment.document["arn"]}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One deployment by name or ARN."""
        deployment = self._deployment(call, request)
        document = deployment.document
        return {
            **_described(deployment),
            "modelDeploymentName": deployment.name,
            "description": document["request"].get("description"),
            "updateDetails": document.get("update"),
        }

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of deployments."""
        looked = search(
            request,
            "createdAfter",
            "createdBefore",
            statuses=[request["statusEquals"]] if "statusEquals" in request else (),
            base=request.get("modelArnEquals"),
        )
        page = self._backend.resources.page(owner(call), DEPLOYMENT, looked)
        return listed(
            "modelDeploymentSummaries",
            page,
            lambda one: {**_described(one), "customModelDeploymentName": one.name},
        )

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Has a deployment stand for another custom model from the next request on."""
        deployment = self._deployment(call, request)
        model = self._model(call, request["modelArn"])
        update = {"modelArn": model.document["arn"], "updateStatus": "UpdateCompleted"}
        document = {**deployment.document, "update": update}
        try:
            await self._backend.resources.change(
                deployment, needs=model, base=model.document["arn"], root=model.root, document=document
            )
        except NotFound:
            raise _gone(call, deployment, request["modelArn"]) from None
        return {"customModelDeploymentArn": document["arn"]}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Ends a deployment; its model stays."""
        await self._backend.resources.delete(self._deployment(call, request))
        return {}

    async def _create(self, call: Call, request: Mapping[str, Any]) -> Resource:
        model = self._model(call, request["modelArn"])
        id, whose, name = arns.new_id(), owner(call), request["modelDeploymentName"]
        document = {"arn": arns.deployment(whose, id), "request": request}
        deployment = new(whose, DEPLOYMENT, id, name, ACTIVE, document, model.document["arn"], model.root)
        try:
            return await self._backend.resources.create(
                deployment, request.get("clientRequestToken"), needs=model, tagged=tag_values(request.get("tags"))
            )
        except AlreadyExists as taken:
            if taken.by == "token" and (first := replayed_resource(self._backend, call, DEPLOYMENT, request)):
                return first
            reason = f"modelDeploymentName: {name} is in use; choose another name, or update that deployment"
            raise Fault("ValidationException", reason) from None
        except NotFound:
            raise not_found(call, CUSTOM_MODEL, request["modelArn"]) from None

    def _deployment(self, call: Call, request: Mapping[str, Any]) -> Resource:
        return self._backend.resource(call, DEPLOYMENT, request["customModelDeploymentIdentifier"])

    def _model(self, call: Call, arn: str) -> Resource:
        """The custom model that is to answer; a Fault unless it is there and Active."""
        model = self._backend.resource(call, CUSTOM_MODEL, arn)
        if model.status != ACTIVE:
            raise Fault(
                "ValidationException", f"modelArn: the custom model {model.name} is {model.status}, not {ACTIVE}"
            )
        return model


def _described(deployment: Resource) -> dict[str, Any]:
    return {
        "customModelDeploymentArn": deployment.document["arn"],
        "modelArn": deployment.base,
        "createdAt": moment(deployment.created),
        "lastUpdatedAt": moment(deployment.updated),
        "status": deployment.status,
    }


def _gone(call: Call, deployment: Resource, model_arn: str) -> Fault:
    return not_found(call, f"{DEPLOYMENT} {deployment.name}, or {CUSTOM_MODEL},", model_arn)
