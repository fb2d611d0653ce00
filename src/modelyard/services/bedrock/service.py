"""Bedrock's operations on models, put together from their resources."""

from modelyard.jobs.tags import TooManyTags
from modelyard.services.bedrock.backend import Backend
from modelyard.services.bedrock.copy_jobs import CopyJobs
from modelyard.services.bedrock.custom_models import CustomModels
from modelyard.services.bedrock.customization_jobs import CustomizationJobs
from modelyard.services.bedrock.deployments import Deployments
from modelyard.services.bedrock.foundation_models import FoundationModels
from modelyard.services.bedrock.import_jobs import ImportJobs
from modelyard.services.bedrock.imported_models import ImportedModels
from modelyard.services.bedrock.invocation_jobs import InvocationJobs
from modelyard.services.bedrock.provisioned_throughput import ProvisionedThroughput
from modelyard.services.bedrock.tagging import Tagging
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault

MODEL_IDS = ("ModelId",)
"""Shapes whose patterns refuse ARNs of models that can be asked; whether a model is there is checked anyway."""


def bedrock(backend: Backend, invocation_jobs: InvocationJobs) -> Service:
    """The service, ready to answer."""
    foundation_models = FoundationModels(backend)
    customization_jobs, custom_models = CustomizationJobs(backend), CustomModels(backend)
    deployments, provisioned = Deployments(backend), ProvisionedThroughput(backend)
    import_jobs, imported_models, copy_jobs = ImportJobs(backend), ImportedModels(backend), CopyJobs(backend)
    tagging = Tagging(backend)
    handlers: dict[str, Handler] = {
        "list_foundation_models": foundation_models.list,
        "get_foundation_model": foundation_models.get,
        "get_foundation_model_availability": foundation_models.get_availability,
        "create_model_customization_job": customization_jobs.create,
        "get_model_customization_job": customization_jobs.get,
        "list_model_customization_jobs": customization_jobs.list,
        "stop_model_customization_job": customization_jobs.stop,
        "create_custom_model": custom_models.create,
        "get_custom_model": custom_models.get,
        "list_custom_models": custom_models.list,
        "delete_custom_model": custom_models.delete,
        "create_custom_model_deployment": deployments.create,
        "get_custom_model_deployment": deployments.get,
        "list_custom_model_deployments": deployments.list,
        "update_custom_model_deployment": deployments.update,
        "delete_custom_model_deployment": deployments.delete,
        "create_provisioned_model_throughput": provisioned.create,
        "get_provisioned_model_throughput": provisioned.get,
        "list_provisioned_model_throughputs": provisioned.list,
        "update_provisioned_model_throughput": provisioned.update,
        "delete_provisioned_model_throughput": provisioned.delete,
        "create_model_import_job": import_jobs.create,
        "get_model_import_job": import_jobs.get,
        "list_model_import_jobs": import_jobs.list,
        "get_imported_model": imported_models.get,
        "list_imported_models": imported_models.list,
        "delete_imported_model": imported_models.delete,
        "create_model_copy_job": copy_jobs.create,
        "get_model_copy_job": copy_jobs.get,
        "list_model_copy_jobs": copy_jobs.list,
        "tag_resource": tagging.tag,
        "untag_resource": tagging.untag,
        "list_tags_for_resource": tagging.list,
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
