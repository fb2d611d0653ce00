"""Custom models: users' own scripts, from a folder on S3, in the place of a model that we know.

https://docs.aws.amazon.com/neptune/latest/userguide/machine-learning-custom-models.html
"""

import posixpath
from collections.abc import Mapping
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import Job
from modelyard.services.neptune_ml.backend import Backend
from modelyard.storage.base import Kind
from modelyard.storage.names import join
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

MODEL = "custom"
TRAINING_MEMBERS = ("customModelTrainingParameters", "customModelParameters")
"""boto3's name, and that of old notebooks."""
TRANSFORM_MEMBER = "customModelTransformParameters"
TRAINING_SCRIPT, TRANSFORM_SCRIPT = "training.py", "transform.py"
CONFIGURATION = "model-hpo-configuration.json"

_SEARCH = "modelyard.workloads.graph.custom.search:run"
_TRANSFORM = "modelyard.workloads.graph.custom.transform:run"


async def training_source(backend: Backend, call: Call, request: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The `source` folder of a request to train, and the names of its scripts, `training` and `transform`.

    None if the request asks for no custom model; a Fault if the folder lacks what it must hold.
    """
    member = next((name for name in TRAINING_MEMBERS if request.get(name)), None)
    name = request.get("modelName") or (MODEL if member else None)
    if name != MODEL and member is None:
        return None
    if member is None:
        reason = f"modelName: {MODEL!r} needs {TRAINING_MEMBERS[0]}, which says where the scripts lie"
        raise Fault("MissingParameterException", reason)
    if name != MODEL:
        raise Fault("InvalidParameterException", f"modelName: {name!r} and {member} exclude each other")
    found = {
        "source": _source(request, member),
        "training": _script(request, member, "trainingEntryPointScript", TRAINING_SCRIPT),
        "transform": _script(request, member, "transformEntryPointScript", TRANSFORM_SCRIPT),
    }
    await _check(backend, call, member, found["source"], found["training"], found["transform"], CONFIGURATION)
    return found


async def transform_source(backend: Backend, call: Call, request: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The `source` folder of a request to transform, and its script, `transform`; None if it names none."""
    if not request.get(TRANSFORM_MEMBER):
        return None
    found = {
        "source": _source(request, TRANSFORM_MEMBER),
        "transform": _script(request, TRANSFORM_MEMBER, "transformEntryPointScript", TRANSFORM_SCRIPT),
    }
    await _check(backend, call, TRANSFORM_MEMBER, found["source"], found["transform"])
    return found


def search_spec(
    backend: Backend, scripts: Mapping[str, str], inputs: Mapping[str, str], parameters: Mapping[str, Any], cores: int
) -> TaskSpec:
    """The task that searches with the user's training script. inputs: `graph` and perhaps `previous`."""
    names = {name: scripts[name] for name in ("training", "transform")}
    return TaskSpec(
        _SEARCH,
        parameters={**parameters, **names, **_limits(backend)},
        inputs={**inputs, "source": scripts["source"]},
        cores=cores,
        family="graph",
    )


def transform_spec(backend: Backend, graph: str, model: str, scripts: Mapping[str, str] | None = None) -> TaskSpec:
    """The task that runs the user's transform script, by default the one that was kept with the model."""
    source = {"source": scripts["source"]} if scripts else {}
    return TaskSpec(
        _TRANSFORM,
        parameters={"transform": scripts["transform"] if scripts else None, **_limits(backend)},
        inputs={"graph": graph, "model": model, **source},
        family="graph",
    )


def is_custom(job: Job) -> bool:
    """Whether a training, or a transform, was of a custom model."""
    return job.stages[0].stage.spec.entry_point in (_SEARCH, _TRANSFORM)


def _limits(backend: Backend) -> dict[str, Any]:
    return {
        "memory": backend.custom_model_memory,
        "network": backend.custom_model_network,
        "gpu": backend.custom_model_gpu,
    }


def _source(request: Mapping[str, Any], member: str) -> str:
    given = request[member]
    source = given.get("sourceS3DirectoryPath") if isinstance(given, Mapping) else None
    if not isinstance(source, str) or not source:
        reason = f"{member}.sourceS3DirectoryPath: the folder of the scripts, s3://…, is missing"
        raise Fault("MissingParameterException", reason)
    return source


def _script(request: Mapping[str, Any], member: str, name: str, default: str) -> str:
    """The script's path below the folder."""
    path = request[member].get(name) or default
    plain = isinstance(path, str) and path.isprintable() and posixpath.normpath(path) == path
    if not plain or path[0] in "/-." or len(path) > 255:
        reason = f"{member}.{name}: {str(path)[:255]!r} is no path below the folder, such as {default}"
        raise Fault("InvalidParameterException", reason)
    return str(path)


async def _check(backend: Backend, call: Call, member: str, source: str, *names: str) -> None:
    """Faults unless the caller may read the folder, and it has the files."""
    place = f"{member}.sourceS3DirectoryPath"
    await backend.readable(call, place, source)
    for name in names:
        if await backend.storage.kind(join(source, name)) is not Kind.FILE:
            raise Fault("InvalidParameterException", f"{place}: {source} has no {name}")
