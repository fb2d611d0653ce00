"""A customization job's last stage: what the user finds at the place that the job names.

Source of the layout: Amazon Bedrock User Guide, "Analyze the results of a model customization job". Examples of AWS
read the validation metrics at three places, hence the copies. Bedrock keeps the weights; here they lie beside.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.runner.context import Context

TRAINING = "training_artifacts/step_wise_training_metrics.csv"
VALIDATION = (
    "validation_artifacts/post_fine_tuning_validation/validation/validation_metrics.csv",
    "validation_artifacts/post_fine_tuning_validation/validation_metrics.csv",
    "validation_artifacts/validation_metrics.csv",
)
BEFORE = "validation_artifacts/pre_fine_tuning_validation/validation/validation_metrics.csv"
"""Ours: what the same validation set said of the model that the job began with."""
MODEL = "model"
PRIVATE = "modelyard.json"
"""Tells where the base model lies on the server: nothing for users."""


def run(context: Context) -> Mapping[str, Any]:
    """Lays what training left in the input `model` (`model/` and `metrics/`) out in `context.output`.

    The first validation set has the documented place, each further one its number in it (`validation-1` ...). The
    result counts files.
    """
    metrics = context.inputs["model"] / "metrics"
    _copy(metrics / "training.csv", context.output / TRAINING)
    for path in sorted(metrics.glob("validation-*.csv")):
        number = path.stem.rpartition("-")[2]
        for place in VALIDATION if number == "0" else VALIDATION[:1]:
            _copy(path, context.output / place.replace("/validation/", f"/{_folder(number)}/"))
        before = BEFORE.replace("/validation/", f"/{_folder(number)}/")
        _copy(path.with_name(f"before-{path.name}"), context.output / before)
    shutil.copytree(context.inputs["model"] / MODEL, context.output / MODEL, ignore=shutil.ignore_patterns(PRIVATE))
    return {"files": sum(path.is_file() for path in context.output.rglob("*"))}


def _folder(number: str) -> str:
    return "validation" if number == "0" else f"validation-{number}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
