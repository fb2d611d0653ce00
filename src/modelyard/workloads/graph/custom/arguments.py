"""What the scripts of a custom model are told: by arguments, and by variables of the environment."""

import json
from collections.abc import Mapping
from typing import Any

from modelyard.workloads.graph.custom.script import GRAPH, text
from modelyard.workloads.graph.data import Task

MODEL = "custom"


def training_arguments(task: Task, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a training, by name: the hyperparameters, and above them what the job is about."""
    told = {"task": task.type, "model": MODEL, "name": f"{task.type}-{MODEL}"}
    if task.node_type is not None:
        told["target_ntype"] = task.node_type
    if task.edge_type is not None:
        _, told["target_etype"], _ = task.edge_type
    if task.property is not None:
        told["property"] = task.property
    return {**hyperparameters, **told}


def command(script: str, arguments: Mapping[str, Any]) -> list[str]:
    """The script and its arguments, as a shell would give them: `--hidden-size 64`."""
    return [script, *(part for name, value in arguments.items() for part in (f"--{name}", text(value)))]


def training_environment(name: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a training. name: the trial's, as SageMaker would call its training job."""
    return {
        "SM_CHANNEL_TRAIN": GRAPH,
        "SM_CHANNELS": json.dumps(["train"]),
        "SM_HPS": json.dumps(arguments),
        **{f"SM_HP_{one.upper()}": text(value) for one, value in arguments.items() if "=" not in one},
        "TRAINING_JOB_NAME": name,
    }


def transform_environment() -> dict[str, str]:
    """The variables of a transform."""
    return {"SM_DATA_DIR": GRAPH}
