"""Clean Rooms ML's operations on custom models, put together from their resources."""

from modelyard.collaborations.budgets import BudgetSpent
from modelyard.collaborations.model import NotAMember
from modelyard.jobs.model import NotFound
from modelyard.jobs.tags import TooManyTags
from modelyard.services.cleanroomsml.algorithms import Algorithms
from modelyard.services.cleanroomsml.associations import Associations
from modelyard.services.cleanroomsml.backend import Backend, denied
from modelyard.services.cleanroomsml.channels import Channels
from modelyard.services.cleanroomsml.configurations import Configurations
from modelyard.services.cleanroomsml.export_jobs import ExportJobs
from modelyard.services.cleanroomsml.inference_jobs import InferenceJobs
from modelyard.services.cleanroomsml.leaving import end_what_concerns
from modelyard.services.cleanroomsml.tagging import tagging
from modelyard.services.cleanroomsml.trained_models import TrainedModels
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault


def cleanroomsml(backend: Backend) -> Service:
    """The service, ready to answer."""
    configurations, tags = Configurations(backend), tagging(backend)
    algorithms, associations = Algorithms(backend), Associations(backend)
    channels, models = Channels(backend), TrainedModels(backend)
    inference_jobs, export_jobs = InferenceJobs(backend), ExportJobs(backend)
    backend.parties.at_leaving(end_what_concerns)
    handlers: dict[str, Handler] = {
        "put_ml_configuration": configurations.put,
        "get_ml_configuration": configurations.get,
        "delete_ml_configuration": configurations.delete,
        "create_configured_model_algorithm": algorithms.create,
        "get_configured_model_algorithm": algorithms.get,
        "list_configured_model_algorithms": algorithms.list,
        "delete_configured_model_algorithm": algorithms.delete,
        "create_configured_model_algorithm_association": associations.create,
        "get_configured_model_algorithm_association": associations.get,
        "get_collaboration_configured_model_algorithm_association": associations.get_collaboration,
        "list_configured_model_algorithm_associations": associations.list,
        "list_collaboration_configured_model_algorithm_associations": associations.list_collaboration,
        "delete_configured_model_algorithm_association": associations.delete,
        "create_ml_input_channel": channels.create,
        "get_ml_input_channel": channels.get,
        "get_collaboration_ml_input_channel": channels.get_collaboration,
        "list_ml_input_channels": channels.list,
        "list_collaboration_ml_input_channels": channels.list_collaboration,
        "delete_ml_input_channel_data": channels.delete,
        "create_trained_model": models.create,
        "get_trained_model": models.get,
        "get_collaboration_trained_model": models.get_collaboration,
        "list_trained_models": models.list,
        "list_collaboration_trained_models": models.list_collaboration,
        "list_trained_model_versions": models.list_versions,
        "cancel_trained_model": models.cancel,
        "delete_trained_model_output": models.delete,
        "start_trained_model_inference_job": inference_jobs.start,
        "get_trained_model_inference_job": inference_jobs.get,
        "list_trained_model_inference_jobs": inference_jobs.list,
        "list_collaboration_trained_model_inference_jobs": inference_jobs.list_collaboration,
        "cancel_trained_model_inference_job": inference_jobs.cancel,
        "start_trained_model_export_job": export_jobs.start,
        "list_collaboration_trained_model_export_jobs": export_jobs.list_collaboration,
        "tag_resource": tags.tag,
        "untag_resource": tags.untag,
        "list_tags_for_resource": tags.list,
    }
    return Service("cleanroomsml", handlers, faults=_fault)


def _fault(error: Exception) -> Fault | None:
    match error:
        case NotAMember():
            return denied(f"You have no collaboration or membership {error}")
        case NotFound():
            return Fault("ResourceNotFoundException", f"The membership {error} has no ML configuration")
        case AccessDenied():
            return denied(str(error))
        case ObjectError() | TooManyTags() | BudgetSpent():
            return Fault("ValidationException", str(error))
    return None
