"""Imported models: whole models that accounts brought along.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetImportedModel.html
"""

from typing import Any

from modelyard.jobs.model import Resource
from modelyard.services.bedrock.backend import Backend, key_arn, search
from modelyard.services.calls import listed, moment, owner
from modelyard.wire.endpoint import Call, quick

IMPORTED_MODEL = "imported model"


class ImportedModels:
    """The operations on imported models."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One by name or ARN."""
        model = self._backend.resource(call, IMPORTED_MODEL, request["modelIdentifier"])
        return {
            **_summary(model),
            "jobName": model.document["jobName"],
            "jobArn": model.document["jobArn"],
            "modelDataSource": model.document["modelDataSource"],
            "modelKmsKeyArn": key_arn(model.document["kmsKeyId"]),
        }

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of them."""
        page = self._backend.resources.page(owner(call), IMPORTED_MODEL, search(request))
        return listed("modelSummaries", page, _summary)

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Deletes a model and its weights."""
        await self._backend.discard(self._backend.resource(call, IMPORTED_MODEL, request["modelIdentifier"]))
        return {}


def _summary(model: Resource) -> dict[str, Any]:
    return {
        "modelArn": model.document["arn"],
        "modelName": model.name,
        "creationTime": moment(model.created),
        "instructSupported": model.document["instruct"],
        "modelArchitecture": model.document["architecture"],
    }
