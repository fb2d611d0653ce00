"""Data processing jobs: an export becomes a graph to train on.

https://docs.aws.amazon.com/neptune/latest/userguide/machine-learning-api-dataprocessing.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import Job, Stage
from modelyard.services.calls import owner
from modelyard.services.neptune_ml.backend import Backend, check_seconds
from modelyard.services.neptune_ml.job_resource import describe_stage
from modelyard.services.neptune_ml.names import arn, run_name, stamp
from modelyard.services.neptune_ml.text_features import check_text_features
from modelyard.storage.base import Kind
from modelyard.storage.names import ObjectError, join
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

KIND = "data processing"
MODEL_TYPES = ("heterogeneous", "kge")
CORES = 2


class DataProcessing:
    """See `JobKind`."""

    name = KIND

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def plan(self, call: Call, id: str, request: Mapping[str, Any]) -> Sequence[Stage]:
        """One stage, which publishes the processed graph."""
        text_models = await self._check(call, request)
        await self._backend.writable(call, "processedDataS3Location", request["processedDataS3Location"])
        inputs = {"export": request["inputDataS3Location"]}
        if previous := request.get("previousDataProcessingJobId"):
            parent = self._backend.completed(owner(call), KIND, "previousDataProcessingJobId", previous)
            inputs["previous"] = processed_graph(parent)
        run = run_name(id, "preloading", stamp())
        spec = TaskSpec(
            "modelyard.workloads.graph.processing.process:run",
            parameters={
                "configuration": _configuration(request),
                "model_type": request.get("modelType"),
                **text_models,
            },
            inputs=inputs,
            cores=min(CORES, self._backend.slots),
            family="graph",
        )
        return [
            Stage(
                name="processing",
                run=run,
                spec=spec,
                publish=join(request["processedDataS3Location"], run, "preloading-output"),
                timeout=check_seconds(request, "processingTimeOutInSeconds"),
            )
        ]

    def arn(self, job: Job) -> str:
        """The processing job's."""
        return arn(job.owner, "processing-job", job.stages[0].stage.run)

    def describe(self, base_url: str, job: Job) -> dict[str, Any]:
        """The processing job."""
        return {"processingJob": describe_stage(self._backend, base_url, job, job.stages[0], "processing-job")}

    async def _check(self, call: Call, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the job is told of models of text; a Fault for what can be refused at once."""
        if (model_type := request.get("modelType")) not in (None, *MODEL_TYPES):
            reason = f"modelType: {model_type!r} is none of {', '.join(MODEL_TYPES)}"
            raise Fault("InvalidParameterException", reason)
        export, configuration = request["inputDataS3Location"], _configuration(request)
        await self._backend.readable(call, "inputDataS3Location", export)
        uri = join(export, configuration)
        if await self._backend.storage.kind(uri) is not Kind.FILE:
            raise ObjectError(
                f"inputDataS3Location: {export} has no {configuration}; configFileName names another file"
            )
        return await check_text_features(self._backend, uri)


def _configuration(request: Mapping[str, Any]) -> str:
    return request.get("configFileName") or "training-data-configuration.json"


def processed_graph(job: Job) -> str:
    """Where a completed job's processed graph lies."""
    location = job.stages[0].stage.publish
    assert location
    return location
