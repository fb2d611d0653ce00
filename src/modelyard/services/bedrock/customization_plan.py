"""The stages of a customization job: rows are checked, made into tokens and learned, and the user gets the outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs.base_models import BaseModel
from modelyard.jobs.model import Keep, Resource, Stage
from modelyard.services.bedrock.hyperparameters import Hyperparameters
from modelyard.services.bedrock.weights import place
from modelyard.storage.names import join

MOST_RECORDS = {"fine-tuning": 10_000, "continued-pre-training": 100_000, "distillation": 15_000}
MOST_RECORDS_OF_FAMILY = {"nova": 20_000}
MOST_VALIDATION_RECORDS = 1_000
RECORD_TOKENS = {"claude": 32_000, "llama": 16_000, "nova": 32_000, "titan": 4_096}
"""Tokens of the longest row, by family; never more than the model can see at once."""

_ENTRY = "modelyard.workloads.language"
_PROCESSING_CORES = 2
_TRAINING_CORES = 8
"""More cores than that do a step of a small model no good."""


@dataclass(frozen=True)
class Base:
    """What a job begins with: full weights, maybe an adapter to them, and what they are called.

    arn: of what the request named. rests_on: the ARN of the custom model whose full weights these are, if any.
    custom: the custom model that the request named, if it named one.
    """

    model: BaseModel
    arn: str
    folder: Path
    adapter: Path | None = None
    rests_on: str | None = None
    custom: Resource | None = None


def plan(
    request: Mapping[str, Any],
    base: Base,
    customization: str,
    hyperparameters: Hyperparameters,
    teacher: Mapping[str, Any],
    id: str,
    model_id: str,
    slots: int,
) -> Sequence[Stage]:
    """Four stages: rows are checked, made into tokens, learned, and told about where the user asked for it."""
    data, model = f"modelyard://models/work/{id}/data", place(model_id)
    uris = {"training": request["trainingDataConfig"]["s3Uri"]}
    uris |= {f"validation-{n}": uri for n, uri in enumerate(validation_data(request))}
    reading = {
        "base": str(base.folder),
        "customization": customization,
        "limits": _limits(base.model, customization),
    }
    processing = {**reading, "seed": hyperparameters.values["seed"], **teacher}
    training = {
        "base": str(base.folder),
        "base_name": base.rests_on or base.model.id,
        "adapter": str(base.adapter) if base.adapter else None,
        "hyperparameters": hyperparameters.values,
    }

    def spec(entry: str, parameters: Mapping[str, Any], inputs: Mapping[str, str], cores: int = 1) -> TaskSpec:
        cores = min(cores, slots)
        return TaskSpec(f"{_ENTRY}.{entry}:run", parameters, inputs, cores, family="language")

    return [
        Stage("validation", f"{id}-validation", spec("validation", reading, uris)),
        Stage(
            "data processing",
            f"{id}-processing",
            spec("processing", processing, uris, _PROCESSING_CORES),
            publish=data,
            keep=Keep.WHILE_RUNNING,
        ),
        Stage(
            "training",
            f"{id}-training",
            spec("training", training, {"data": data}, _TRAINING_CORES),
            publish=model,
            keep=Keep.IF_COMPLETED,
        ),
        Stage(
            "output",
            f"{id}-output",
            spec("output", {}, {"model": model}),
            publish=join(request["outputDataConfig"]["s3Uri"], f"model-customization-job-{id}"),
            keep=Keep.IF_COMPLETED,
        ),
    ]


def _limits(model: BaseModel, customization: str) -> dict[str, int]:
    family = RECORD_TOKENS.get(model.family, RECORD_TOKENS["llama"])
    most = MOST_RECORDS[customization]
    if customization == "fine-tuning":
        most = MOST_RECORDS_OF_FAMILY.get(model.family, most)
    return {
        "training_records": most,
        "validation_records": MOST_VALIDATION_RECORDS,
        "record_tokens": min(family, model.context),
    }


def validation_data(request: Mapping[str, Any]) -> list[str]:
    """The URIs of the validation data."""
    return [one["s3Uri"] for one in request.get("validationDataConfig", {}).get("validators", [])]
