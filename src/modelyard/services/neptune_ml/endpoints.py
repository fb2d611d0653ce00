"""Endpoints: a trained model that answers until it is deleted.

https://docs.aws.amazon.com/neptune/latest/userguide/machine-learning-api-endpoints.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import AlreadyExists, Deployment, Job, NotFound, ServiceStatus, Stage
from modelyard.services.calls import owner
from modelyard.services.neptune_ml import custom
from modelyard.services.neptune_ml.backend import Backend, check_id, check_positive
from modelyard.services.neptune_ml.job_resource import DEFAULT_MAX_ITEMS
from modelyard.services.neptune_ml.names import MODELS, arn, run_name, stamp
from modelyard.services.neptune_ml.text_features import text_parameters
from modelyard.services.neptune_ml.training import KIND as TRAINING
from modelyard.services.neptune_ml.training import artifacts
from modelyard.services.neptune_ml.transform import KIND as TRANSFORM
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KIND = "endpoint"
KGE = "kge"
"""What `modelName` may say of any embedding model."""

STATUS_WORDS = {
    ServiceStatus.CREATING: "Creating",
    ServiceStatus.IN_SERVICE: "InService",
    ServiceStatus.UPDATING: "Updating",
    ServiceStatus.FAILED: "Failed",
    ServiceStatus.DELETING: "Deleting",
}


class Endpoints:
    """The operations on endpoints."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts an endpoint, or the `update` of one. The same id with the same body answers as the first time did."""
        job = self._model(call, request)
        _check_name(request.get("modelName"), job)
        check_positive(request, "instanceCount")
        if request.get("update"):
            endpoint = await self._update(call, request, job)
        else:
            endpoint = await self._create(call, request, job)
        self._backend.wake()
        return {
            "id": endpoint.id,
            "arn": arn(endpoint.owner, "endpoint", endpoint.name),
            "creationTimeInMillis": endpoint.created,
        }

    async def _create(self, call: Call, request: dict[str, Any], job: Job) -> Deployment:
        name = run_name(request.get("id") or job.id, stamp(), "endpoint")
        id = check_id(request.get("id") or name)
        try:
            return await self._backend.deployments.create(
                owner(call), KIND, id, name, request, await self._serving(job, name)
            )
        except AlreadyExists as taken:
            if taken.request != request:
                reason = f"id: there is an endpoint {id!r} already; update it with update=true, or delete it"
                raise Fault("InvalidParameterException", reason) from None
            return self._endpoint(call, id)

    async def _update(self, call: Call, request: dict[str, Any], job: Job) -> Deployment:
        if not request.get("id"):
            raise Fault("MissingParameterException", "id: which endpoint is to be updated?")
        endpoint = self._endpoint(call, request["id"])
        stage = await self._serving(job, endpoint.name)
        return await self._backend.deployments.update(owner(call), KIND, endpoint.id, request, stage)

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How an endpoint stands."""
        endpoint = self._endpoint(call, request["id"])
        task = endpoint.task or endpoint.next
        return {
            "id": endpoint.id,
            "status": STATUS_WORDS[endpoint.status],
            "endpoint": {
                "name": endpoint.name,
                "arn": arn(endpoint.owner, "endpoint", endpoint.name),
                "status": STATUS_WORDS[endpoint.status],
                "failureReason": endpoint.failure,
                "cloudwatchLogUrl": self._backend.log_url(call.base_url, task) if task else None,
            },
            "endpointConfig": {
                "name": f"{endpoint.name}-config",
                "arn": arn(endpoint.owner, "endpoint-config", f"{endpoint.name}-config"),
            },
        }

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Ids, newest first."""
        limit = request.get("maxItems", DEFAULT_MAX_ITEMS)
        return {"ids": self._backend.deployments.list_ids(owner(call), KIND, limit)}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Ends an endpoint. The model that it served is the training's, and stays."""
        await self._backend.deployments.delete(owner(call), KIND, self._endpoint(call, request["id"]).id)
        self._backend.wake()
        return {"status": "200 OK"}

    def _endpoint(self, call: Call, id: str) -> Deployment:
        try:
            return self._backend.deployments.get(owner(call), KIND, id)
        except NotFound:
            raise Fault("MLResourceNotFoundException", f"There is no endpoint {id!r}") from None

    def _model(self, call: Call, request: Mapping[str, Any]) -> Job:
        """The completed job whose artifacts are to be served."""
        training, transform = request.get("mlModelTrainingJobId"), request.get("mlModelTransformJobId")
        if bool(training) == bool(transform):
            code = "IllegalArgumentException" if training else "MissingParameterException"
            raise Fault(code, "Give exactly one of mlModelTrainingJobId and mlModelTransformJobId")
        if training:
            return self._backend.completed(owner(call), TRAINING, "mlModelTrainingJobId", training)
        return self._backend.completed(owner(call), TRANSFORM, "mlModelTransformJobId", str(transform))

    async def _serving(self, job: Job, name: str) -> Stage:
        spec = TaskSpec(
            "modelyard.workloads.graph.inference.serve:run",
            parameters=await text_parameters(self._backend),
            inputs={"model": artifacts(job)},
            gentle=False,
            workers="graph",
        )
        return Stage(name="serving", run=name, spec=spec)


def _check_name(name: str | None, job: Job) -> None:
    """Faults if `modelName` is no name of a model, or that of a custom one where the job's is none."""
    if name and (name not in (*MODELS, KGE, custom.MODEL) or (name == custom.MODEL) != custom.is_custom(job)):
        raise Fault("InvalidParameterException", f"modelName: {name!r} is not what was trained")
