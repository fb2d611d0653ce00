"""Model training jobs: a search over hyperparameters, then the best model applied to the graph.

https://docs.aws.amazon.com/neptune/latest/userguide/machine-learning-api-modeltraining.html
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import Job, Stage, Status
from modelyard.services.calls import owner
from modelyard.services.neptune_ml import custom
from modelyard.services.neptune_ml.backend import Backend, check_positive, check_seconds
from modelyard.services.neptune_ml.job_resource import STATUS_WORDS, describe_stage
from modelyard.services.neptune_ml.names import MODELS, arn, run_name, stamp
from modelyard.services.neptune_ml.processing import KIND as PROCESSING
from modelyard.services.neptune_ml.processing import processed_graph
from modelyard.storage.names import join
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

KIND = "model training"
DEFAULT_TRIALS = DEFAULT_PARALLEL = 2


class ModelTraining:
    """See `JobKind`."""

    name = KIND

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def plan(self, call: Call, id: str, request: Mapping[str, Any]) -> Sequence[Stage]:
        """The search, which publishes the best model, and the transform, which publishes its artifacts."""
        _check(request)
        scripts = await custom.training_source(self._backend, call, request)
        location = request["trainModelS3Location"]
        parent = self._backend.completed(owner(call), PROCESSING, "dataProcessingJobId", request["dataProcessingJobId"])
        if not scripts:
            _check_split(parent)
        await self._backend.writable(call, "trainModelS3Location", location)
        graph = processed_graph(parent)
        now = stamp()
        search, transform = run_name(id, "hpo", now), run_name(id, "modeltransform", now)
        model = join(location, search, "output")
        return [
            Stage(
                name="search",
                run=search,
                spec=self._search(call, id, request, graph, scripts),
                publish=model,
                timeout=check_seconds(request, "trainingTimeOutInSeconds"),
            ),
            Stage(
                name="transform",
                run=transform,
                spec=custom.transform_spec(self._backend, graph, model) if scripts else transform_spec(graph, model),
                publish=join(location, run_name(id, "modeltraining", now), "output"),
                timeout=check_seconds(request, "trainingTimeOutInSeconds"),
            ),
        ]

    def _search(
        self, call: Call, id: str, request: Mapping[str, Any], graph: str, scripts: Mapping[str, str] | None
    ) -> TaskSpec:
        """The search. Its seed is the id's: jobs differ, and one that is asked for again finds the same."""
        inputs = {"graph": graph}
        if previous := request.get("previousModelTrainingJobId"):
            earlier = self._backend.completed(owner(call), KIND, "previousModelTrainingJobId", previous)
            inputs["previous"] = trained_model(earlier)
        parallel = request.get("maxHPOParallelTrainingJobs", DEFAULT_PARALLEL)
        trials = request.get("maxHPONumberOfTrainingJobs", DEFAULT_TRIALS)
        parameters = {"max_trials": trials, "max_parallel": parallel, "seed": zlib.crc32(id.encode())}
        cores = min(parallel, trials, self._backend.slots)
        if scripts:
            return custom.search_spec(self._backend, scripts, inputs, parameters, cores)
        return TaskSpec(
            "modelyard.workloads.graph.training.tune:run",
            parameters={**parameters, "model_name": request.get("modelName") or None},
            inputs=inputs,
            cores=cores,
            family="graph",
        )

    def arn(self, job: Job) -> str:
        """The managing processing job's."""
        return arn(job.owner, "processing-job", managing_run(job))

    def describe(self, base_url: str, job: Job) -> dict[str, Any]:
        """The managing job, which spans all stages, and the stages whose turn has come."""
        search, transform = job.stages
        run = managing_run(job)
        models = [{"name": run, "arn": arn(job.owner, "model", run)}]
        return {
            "processingJob": {
                "name": run,
                "arn": arn(job.owner, "processing-job", run),
                "status": STATUS_WORDS[job.status],
                "outputLocation": artifacts(job),
                "failureReason": job.failure,
                "cloudwatchLogUrl": self._backend.log_url(base_url, search.task),
            },
            "hpoJob": describe_stage(self._backend, base_url, job, search, "hyper-parameter-tuning-job"),
            "modelTransformJob": describe_stage(self._backend, base_url, job, transform, "processing-job"),
            "mlModels": models if job.status is Status.COMPLETED else [],
        }


def transform_spec(graph: str, model: str) -> TaskSpec:
    """The task that applies a model to a graph; both are the URIs of folders."""
    inputs = {"graph": graph, "model": model}
    return TaskSpec("modelyard.workloads.graph.inference.transform:run", inputs=inputs, family="graph")


def trained_model(job: Job) -> str:
    """Where a completed job's best model lies."""
    location = job.stages[0].stage.publish
    assert location
    return location


def artifacts(job: Job) -> str:
    """Where a completed job's artifacts lie: of a training or of a transform."""
    location = job.stages[-1].stage.publish
    assert location
    return location


def managing_run(job: Job) -> str:
    """The name of the run that spans all stages."""
    return artifacts(job).split("/")[-2]


def _check(request: Mapping[str, Any]) -> None:
    check_positive(request, "maxHPONumberOfTrainingJobs", "maxHPOParallelTrainingJobs")
    if (name := request.get("modelName") or MODELS[0]) not in (*MODELS, custom.MODEL):
        raise Fault("InvalidParameterException", f"modelName: {name!r} is none of {', '.join(MODELS)}, {custom.MODEL}")


def _check_split(processing: Job) -> None:
    """Faults if nothing is left to choose the best model by; custom models measure in their own way."""
    parts = processing.stages[0].result.get("split", {})
    for part, count in parts.items():
        if part != "test" and not count:
            reason = f"the job {processing.id!r} has nothing to learn from in the split {part!r}"
            way = "give split_rate a larger part for it, as in [0.8, 0.1, 0.1], or name a file, and process again"
            raise Fault("PreconditionsFailedException", f"dataProcessingJobId: {reason}; {way}")
