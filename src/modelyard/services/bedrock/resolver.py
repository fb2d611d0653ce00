"""Which model a client means that asks one to answer.

Ids and ARNs of foundation models and inference profiles, ARNs and names of what was deployed, provisioned, imported
and customized: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
"""

import re
from collections.abc import Callable
from pathlib import Path

from modelyard.jobs.base_models import BaseModel
from modelyard.jobs.model import NotFound, Owner, Resource
from modelyard.jobs.on_demand import ServedModel
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend
from modelyard.services.bedrock.deployments import DEPLOYMENT
from modelyard.services.bedrock.imported_models import IMPORTED_MODEL
from modelyard.services.bedrock.provisioned_throughput import PROVISIONED
from modelyard.services.bedrock.weights import ACTIVE, CUSTOM_MODEL, root, weights, weights_folder
from modelyard.wire.errors import Fault

IMPORTED_FAMILY = "llama"
"""Imported models take the bodies of several families, this one's first of all."""

_PROFILE = re.compile(r"(?:us|eu|apac|us-gov|ca|jp|au|global)\.(.+)")
"""An inference profile's id names the model that it routes to; here there is one place to route to."""


class Resolver:
    """Finds the models of all accounts. Reads only: for the event loop."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._by_resource: dict[str, Callable[[Resource], ServedModel]] = {
            "custom-model": self._custom,
            "custom-model-deployment": self._deployment,
            "provisioned-model": self._provisioned,
            "imported-model": self._imported,
        }

    def resolve(self, account: str, region: str, model_id: str) -> ServedModel:
        """What a caller's model id stands for; a Fault if there is no such model, or if it is another account's."""
        owner = Owner(account, region)
        try:
            return self._resolve(owner, model_id)
        except NotFound:
            pass
        if arns.parse(model_id):
            reason = f"there is no model {model_id[:300]!r} of account {account} in {region}"
            raise Fault("ResourceNotFoundException", f"Could not resolve the model: {reason}")
        reason = f"{model_id[:300]!r} names no model here; ListFoundationModels and modelyard models list tell which do"
        raise Fault("ValidationException", f"The provided model identifier is invalid. {reason}")

    def kept(self, base: str) -> bool:
        """Whether somebody has provisioned throughput for a model on these full weights."""
        for model in self._backend.resources.all_of(PROVISIONED):
            try:
                if str(self._provisioned(model).base) == base:
                    return True
            except (NotFound, Fault):
                continue
        return False

    def _resolve(self, owner: Owner, model_id: str) -> ServedModel:
        arn = arns.parse(model_id)
        if arn is None:
            return self._named(owner, model_id)
        if arn.resource == "foundation-model":
            return self._foundation(self._backend.base_models.get(arn.path), model_id)
        if arn.owner != owner:
            raise NotFound(model_id)
        if arn.resource == "inference-profile":
            return self._profile(arn.path, model_id)
        if arn.resource not in _KINDS:
            raise NotFound(model_id)
        found = self._backend.resources.get(owner, _KINDS[arn.resource], arn.id)
        if found.document["arn"] != model_id:
            raise NotFound(model_id)
        return self._by_resource[arn.resource](found)

    def _named(self, owner: Owner, name: str) -> ServedModel:
        """Ids of foundation models have a dot, names of what accounts make have none."""
        if "." in name:
            arn = arns.foundation_model(owner.region, name)
            try:
                model = self._backend.base_models.get(name)
            except NotFound:
                return self._profile(name, arn)
            return self._foundation(model, arns.foundation_model(owner.region, model.id))
        for resource, kind in _KINDS.items():
            try:
                return self._by_resource[resource](self._backend.resources.find(owner, kind, name))
            except NotFound:
                continue
        raise NotFound(name)

    def _profile(self, id: str, arn: str) -> ServedModel:
        found = _PROFILE.fullmatch(id)
        if found is None:
            raise NotFound(id)
        return self._foundation(self._backend.base_models.get(found[1]), arn)

    def _foundation(self, model: BaseModel, arn: str) -> ServedModel:
        return ServedModel(Path(model.path), None, model.family, arn, model.instruct)

    def _custom(self, model: Resource, arn: str | None = None) -> ServedModel:
        if model.status != ACTIVE:
            reason = f"The custom model {model.name} is {model.status}; it answers when it is {ACTIVE}"
            raise Fault("ValidationException", reason)
        base, adapter = weights(self._backend, model)
        began = root(self._backend, model)
        return ServedModel(base, adapter, began.family, arn or model.document["arn"], began.instruct)

    def _deployment(self, deployment: Resource) -> ServedModel:
        return self._custom(self._model(deployment), deployment.document["arn"])

    def _provisioned(self, provisioned: Resource) -> ServedModel:
        arn = arns.parse(provisioned.base or "")
        assert arn
        if arn.resource == "foundation-model":
            return self._foundation(self._backend.base_models.get(arn.path), provisioned.document["arn"])
        return self._custom(self._model(provisioned), provisioned.document["arn"])

    def _imported(self, model: Resource) -> ServedModel:
        folder = weights_folder(self._backend, model)
        return ServedModel(folder, None, IMPORTED_FAMILY, model.document["arn"], model.document["instruct"])

    def _model(self, pointer: Resource) -> Resource:
        """The custom model that a deployment or a provisioned throughput stands for."""
        arn = arns.parse(pointer.base or "")
        assert arn
        return self._backend.resources.get(arn.owner, CUSTOM_MODEL, arn.id)


_KINDS = {
    "custom-model-deployment": DEPLOYMENT,
    "provisioned-model": PROVISIONED,
    "imported-model": IMPORTED_MODEL,
    "custom-model": CUSTOM_MODEL,
}
"""By the ARN's resource; a bare name is looked for in this order."""
