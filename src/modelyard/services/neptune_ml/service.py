"""Neptune ML's 16 operations of `neptunedata`, put together from their resources.

https://docs.aws.amazon.com/neptune/latest/userguide/machine-learning.html
"""

from collections.abc import Sequence

from modelyard.services.neptune_ml.backend import Backend
from modelyard.services.neptune_ml.endpoints import Endpoints
from modelyard.services.neptune_ml.job_resource import JobKind, JobResource
from modelyard.services.neptune_ml.processing import DataProcessing
from modelyard.services.neptune_ml.training import ModelTraining
from modelyard.services.neptune_ml.transform import ModelTransform
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault
from modelyard.wire.violations import Violation, sentence


def neptune_ml(backend: Backend) -> Service:
    """The service, ready to answer."""
    endpoints = Endpoints(backend)
    handlers: dict[str, Handler] = {
        "create_ml_endpoint": endpoints.create,
        "get_ml_endpoint": endpoints.get,
        "list_ml_endpoints": endpoints.list,
        "delete_ml_endpoint": endpoints.delete,
    }
    kinds: dict[str, JobKind] = {
        "data_processing": DataProcessing(backend),
        "model_training": ModelTraining(backend),
        "model_transform": ModelTransform(backend),
    }
    for noun, kind in kinds.items():
        resource = JobResource(backend, kind)
        handlers[f"start_ml_{noun}_job"] = resource.start
        handlers[f"get_ml_{noun}_job"] = resource.get
        handlers[f"list_ml_{noun}_jobs"] = resource.list
        handlers[f"cancel_ml_{noun}_job"] = resource.cancel
    return Service("neptunedata", handlers, faults=_fault, invalid=_invalid, lenient=True)


def _fault(error: Exception) -> Fault | None:
    match error:
        case ObjectError():
            return Fault("InvalidParameterException", str(error))
        case AccessDenied():
            return Fault("AccessDeniedException", str(error), status=403)
    return None


def _invalid(violations: Sequence[Violation]) -> Fault:
    missing = all(violation.kind == "required" for violation in violations)
    return Fault("MissingParameterException" if missing else "InvalidParameterException", sentence(violations))
