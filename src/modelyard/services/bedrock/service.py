"""Bedrock's operations on models, put together from their resources."""

from modelyard.jobs.tags import TooManyTags
from modelyard.services.bedrock.backend import Backend
from modelyard.services.bedrock.customization_jobs import CustomizationJobs
from modelyard.services.bedrock.foundation_models import FoundationModels
from modelyard.services.bedrock.invocation_jobs import InvocationJobs
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault

MODEL_IDS = ("ModelId",)
"""Shapes whose patterns refuse ARNs of models that can be asked; whether a model is there is checked anyway."""


def bedrock(backend: Backend, invocation_jobs: InvocationJobs) -> Service:
    """The service, ready to answer."""
    foundation_models = FoundationModels(backend)
    customization_jobs = CustomizationJobs(backend)
    handlers: dict[str, Handler] = {
        "list_foundation_models": foundation_models.list,
        "get_foundation_model": foundation_models.get,
        "get_foundation_model_availability": foundation_models.get_availability,
        "create_model_customization_job": customization_jobs.create,
        "get_model_customization_job": customization_jobs.get,
        "list_model_customization_jobs": customization_jobs.list,
        "stop_model_customization_job": customization_jobs.stop,
        "create_model_invocation_job": invocation_jobs.create,
        "get_model_invocation_job": invocation_jobs.get,
        "list_model_invocation_jobs": invocation_jobs.list,
        "stop_model_invocation_job": invocation_jobs.stop,
    }
    return Service("bedrock", handlers, faults=_fault, any_text=MODEL_IDS)


def _fault(error: Exception) -> Fault | None:
    match error:
        case ObjectError():
            return Fault("ValidationException", str(error))
        case AccessDenied():
            return Fault("AccessDeniedException", str(error))
        case TooManyTags():
            return Fault("TooManyTagsException", str(error))
    return None
