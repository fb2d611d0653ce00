"""Model transform jobs: a trained model applied to a graph, maybe one that is newer than its own.

https://docs.aws.amazon.com/neptune/latest/userguide/machine-learning-api-modeltransform.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.jobs.model import Job, Stage, Status
from modelyard.services.calls import owner
from modelyard.services.neptune_ml import custom
from modelyard.services.neptune_ml.backend import Backend
from modelyard.services.neptune_ml.job_resource import describe_stage
from modelyard.services.neptune_ml.names import arn, run_name, stamp
from modelyard.services.neptune_ml.processing import KIND as PROCESSING
from modelyard.services.neptune_ml.processing import processed_graph
from modelyard.services.neptune_ml.training import KIND as TRAINING
from modelyard.services.neptune_ml.training import managing_run, trained_model, transform_spec
from modelyard.storage.names import join
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

KIND = "model transform"
TIMEOUT_SECONDS = 86400.0
SEARCHED_JOBS = 1024


class ModelTransform:
    """See `JobKind`."""

    name = KIND

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def plan(self, call: Call, id: str, request: Mapping[str, Any]) -> Sequence[Stage]:
        """One stage, which publishes the artifacts."""
        graph, training = self._parents(call, request)
        scripts = await custom.transform_source(self._backend, call, request)
        if scripts and not custom.is_custom(training):
            reason = f"{custom.TRANSFORM_MEMBER}: the training job {training.id!r} trained no custom model"
            raise Fault("InvalidParameterException", reason)
        location = request["modelTransformOutputS3Location"]
        await self._backend.writable(call, "modelTransformOutputS3Location", location)
        run, model = run_name(id, "modeltransform", stamp()), trained_model(training)
        if custom.is_custom(training):
            spec = custom.transform_spec(self._backend, graph, model, scripts)
        else:
            spec = transform_spec(graph, model)
        return [
            Stage(
                name="transform",
                run=run,
                spec=spec,
                publish=join(location, run, "output"),
                timeout=TIMEOUT_SECONDS,
            )
        ]

    def arn(self, job: Job) -> str:
        """The managing processing job's."""
        return arn(job.owner, "processing-job", job.stages[0].stage.run)

    def describe(self, base_url: str, job: Job) -> dict[str, Any]:
        """The one stage in both its roles, and the model once there is one."""
        stage = describe_stage(self._backend, base_url, job, job.stages[0], "processing-job")
        run = job.stages[0].stage.run
        models = [{"name": run, "arn": arn(job.owner, "model", run)}]
        return {
            "baseProcessingJob": stage,
            "remoteModelTransformJob": stage,
            "models": models if job.status is Status.COMPLETED else [],
        }

    def _parents(self, call: Call, request: Mapping[str, Any]) -> tuple[str, Job]:
        """Where the graph lies, and the training whose model is applied."""
        data, training = request.get("dataProcessingJobId"), request.get("mlModelTrainingJobId")
        name = request.get("trainingJobName")
        if bool(name) == bool(data or training) or bool(data) != bool(training):
            reason = "Give dataProcessingJobId and mlModelTrainingJobId, or trainingJobName alone"
            raise Fault("MissingParameterException" if not name else "IllegalArgumentException", reason)
        if name:
            found = self._by_name(call, name)
            return found.stages[0].stage.spec.inputs["graph"], found
        graph = self._backend.completed(owner(call), PROCESSING, "dataProcessingJobId", str(data))
        model = self._backend.completed(owner(call), TRAINING, "mlModelTrainingJobId", str(training))
        return processed_graph(graph), model

    def _by_name(self, call: Call, name: str) -> Job:
        """The completed training that has a run of this name."""
        for id in self._backend.store.list_ids(owner(call), TRAINING, SEARCHED_JOBS):
            job = self._backend.store.get(owner(call), TRAINING, id)
            if name in (managing_run(job), *(record.stage.run for record in job.stages)):
                return self._backend.completed(owner(call), TRAINING, "trainingJobName", id)
        raise Fault("MLResourceNotFoundException", f"trainingJobName: there is no training job {name!r}")
