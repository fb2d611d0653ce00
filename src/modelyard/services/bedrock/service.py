"""Bedrock's operations on models, put together from their resources."""

from modelyard.jobs.tags import TooManyTags
from modelyard.services.bedrock.backend import Backend
from modelyard.services.bedrock.foundation_models import FoundationModels
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault


def bedrock(backend: Backend) -> Service:
    """The service, ready to answer."""
    foundation_models = FoundationModels(backend)
    handlers: dict[str, Handler] = {
        "list_foundation_models": foundation_models.list,
        "get_foundation_model": foundation_models.get,
        "get_foundation_model_availability": foundation_models.get_availability,
    }
    return Service("bedrock", handlers, faults=_fault)


def _fault(error: Exception) -> Fault | None:
    match error:
        case ObjectError():
            return Fault("ValidationException", str(error))
        case AccessDenied():
            return Fault("AccessDeniedException", str(error))
        case TooManyTags():
            return Fault("TooManyTagsException", str(error))
    return None
