"""Foundation models: the base models that the operator has registered.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetFoundationModel.html
"""

from typing import Any

from modelyard.jobs.base_models import BaseModel
from modelyard.jobs.model import NotFound
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend
from modelyard.services.calls import moment
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

CUSTOMIZATION_WORDS = {
    "fine-tuning": "FINE_TUNING",
    "continued-pre-training": "CONTINUED_PRE_TRAINING",
    "distillation": "DISTILLATION",
}
MODALITIES = ["TEXT"]
INFERENCE_TYPES = ["ON_DEMAND", "PROVISIONED"]


class FoundationModels:
    """The operations on foundation models. They are all accounts', in all regions."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """All that match, in one answer."""
        found = [_describe(call, model) for model in self._backend.base_models.all()]
        return {"modelSummaries": [model for model in found if _matches(model, request)]}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One model by id or ARN."""
        return {"modelDetails": _describe(call, find_foundation_model(self._backend, request["modelIdentifier"]))}

    @quick
    def get_availability(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Whether a model can be used: each that is registered can, by everyone."""
        find_foundation_model(self._backend, request["modelId"])
        return {
            "modelId": request["modelId"],
            "agreementAvailability": {"status": "AVAILABLE"},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE",
            "regionAvailability": "AVAILABLE",
        }


def find_foundation_model(backend: Backend, identifier: str, code: str = "ResourceNotFoundException") -> BaseModel:
    """The base model with this id or ARN; a Fault of that `code` if there is none."""
    arn = arns.parse(identifier)
    try:
        if arn is None:
            return backend.base_models.get(identifier)
        if arn.resource == "foundation-model":
            return backend.base_models.get(arn.path)
    except NotFound:
        pass
    known = ", ".join(model.id for model in backend.base_models.all()[:10]) or "none yet"
    reason = f"registered are: {known}; modelyard models add registers one"
    start = "The provided model identifier is invalid: there" if code == "ValidationException" else "There"
    raise Fault(code, f"{start} is no foundation model {identifier[:300]!r}; {reason}")


def _describe(call: Call, model: BaseModel) -> dict[str, Any]:
    return {
        "modelArn": arns.foundation_model(call.region, model.id),
        "modelId": model.id,
        "modelName": model.name,
        "providerName": model.provider,
        "inputModalities": MODALITIES,
        "outputModalities": MODALITIES,
        "responseStreamingSupported": True,
        "customizationsSupported": [CUSTOMIZATION_WORDS[one] for one in model.customizations],
        "inferenceTypesSupported": INFERENCE_TYPES,
        "modelLifecycle": {"status": "ACTIVE", "startOfLifeTime": moment(model.created)},
    }


def _matches(model: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether a model is what the request's filters ask for; providers are compared without case."""
    wanted = {
        "byCustomizationType": model["customizationsSupported"],
        "byOutputModality": model["outputModalities"],
        "byInferenceType": model["inferenceTypesSupported"],
    }
    provider = request.get("byProvider", model["providerName"])
    return provider.lower() == model["providerName"].lower() and all(
        request[member] in values for member, values in wanted.items() if member in request
    )
