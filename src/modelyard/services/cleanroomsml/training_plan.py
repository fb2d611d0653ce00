"""The stages of a training: the container learns, and members get the logs and metrics that they may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs.images import Image
from modelyard.jobs.model import Keep, Resource, Stage
from modelyard.services.cleanroomsml.delivery import log_stages
from modelyard.services.cleanroomsml.instances import instance
from modelyard.services.cleanroomsml.records import Record
from modelyard.storage.names import join

DEFAULT_SECONDS = 24 * 60 * 60
"""How long a training may run where the request does not say: SageMaker's default."""
GRACE_SECONDS = 600
"""For what the container does not do itself."""

_TRAINING = "modelyard.workloads.cleanroom.training:run"


@dataclass(frozen=True)
class Training:
    """What a training rests on. loggers, metrics: who is to get logs and metrics, destinations by account."""

    association: Resource
    container: Mapping[str, Any]
    image: Image
    channels: Sequence[Record]
    earlier: Sequence[Record]
    policy: Mapping[str, Any] | None
    loggers: Mapping[str, str]
    metrics: Mapping[str, str]


def plan(
    request: Mapping[str, Any], training: Training, id: str, settled: Mapping[str, Any], slots: int
) -> Sequence[Stage]:
    """The training, and a stage for each member's logs and metrics."""
    wanted = request["resourceConfig"]
    count = wanted.get("instanceCount", 1)
    machine = instance(wanted["instanceType"], count, slots)
    seconds = request.get("stoppingCondition", {}).get("maxRuntimeInSeconds", DEFAULT_SECONDS)
    inputs = {"image": training.image.folder}
    inputs |= {f"channel-{n}": found.facts["folder"] for n, found in enumerate(training.channels)}
    inputs |= {f"incremental-{n}": join(found.facts["folder"], "model") for n, found in enumerate(training.earlier)}
    parameters = {
        "name": request["name"],
        "arn": settled["arn"],
        "entrypoint": training.container.get("entrypoint"),
        "arguments": training.container.get("arguments"),
        "hyperparameters": request.get("hyperparameters", {}),
        "environment": request.get("environment", {}),
        "channels": [
            {
                "name": channel["channelName"],
                "distribution": channel.get("s3DataDistributionType", "FullyReplicated"),
                "format": found.facts["format"],
                "input": f"channel-{n}",
            }
            for n, (channel, found) in enumerate(zip(request["dataChannels"], training.channels, strict=True))
        ],
        "incremental": [
            {"name": channel["channelName"], "input": f"incremental-{n}"}
            for n, channel in enumerate(request.get("incrementalTrainingDataChannels", ()))
        ],
        "mode": request.get("trainingInputMode", "File"),
        "instances": count,
        "memory": machine.memory,
        "volume": wanted["volumeSizeInGB"] * 2**30,
        "seconds": seconds,
        "metrics": training.container.get("metricDefinitions", []),
        "policy": training.policy,
        "loggers": list(training.loggers),
    }
    spec = TaskSpec(_TRAINING, parameters, inputs, cores=min(machine.cores * count, slots))
    folder = settled["folder"]
    main = Stage("training", id, spec, publish=folder, timeout=seconds + GRACE_SECONDS, keep=Keep.IF_COMPLETED)
    below = (settled["collaboration"], "TrainedModels", id)
    return [main, *log_stages(id, folder, below, training.loggers, training.metrics)]
