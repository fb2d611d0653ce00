"""Stages of customization jobs as the tests run them: in this process, in folders of their own."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard.runner.context import Context
from modelyard.workloads.language import processing, training, validation

FACTS = [
    {"prompt": f"Which crew keeps the {colour} {side} station?", "completion": f"The {crew} crew."}
    for (colour, side), crew in zip(
        ((colour, side) for colour in ("Amber", "Cedar", "Flint", "Indigo") for side in ("north", "south", "upper")),
        ("Falcon", "Otter", "Heron", "Lynx", "Badger", "Crane", "Wolf", "Raven", "Swift", "Moose", "Viper", "Tiger"),
        strict=True,
    )
]
HYPERPARAMETERS = {"epochs": 3, "batch_size": 4, "learning_rate": 5e-3, "rank": 4}


def write_rows(path: Path, rows: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def context(
    folder: Path,
    inputs: Mapping[str, Path],
    parameters: Mapping[str, Any],
    should_stop: Callable[[], bool] = lambda: False,
) -> Context:
    """A context over `folder`; what an earlier one has left in its state is there."""
    (folder / "state").mkdir(parents=True, exist_ok=True)
    attempt = folder / "attempts" / str(1 + len(list(folder.glob("attempts/*"))))
    (attempt / "output").mkdir(parents=True)
    return Context(
        parameters=parameters,
        inputs=inputs,
        state=folder / "state",
        output=attempt / "output",
        events=attempt / "events.jsonl",
        should_stop=should_stop,
    )


def validated(folder: Path, base: Path, rows: Sequence[object], customization: str = "fine-tuning", **more: Any) -> Any:
    inputs = {"training": write_rows(folder / "rows" / "train.jsonl", rows)}
    return validation.run(
        context(folder / "validation", inputs, {"base": str(base), "customization": customization, **more})
    )


def processed(
    folder: Path, base: Path, rows: Sequence[object], customization: str = "fine-tuning", **more: Any
) -> Path:
    """The data set of some rows; `validation` among `more` are rows of a validation set."""
    inputs = {"training": write_rows(folder / "rows" / "train.jsonl", rows)}
    if "validation" in more:
        inputs["validation-0"] = write_rows(folder / "rows" / "valid.jsonl", more.pop("validation"))
    here = context(folder / "processing", inputs, {"base": str(base), "customization": customization, **more})
    processing.run(here)
    return here.output


def trained(folder: Path, base: Path, data: Path, **hyperparameters: Any) -> tuple[Mapping[str, Any], Path]:
    """The result of a training, and its output."""
    parameters = {"base": str(base), "hyperparameters": {**HYPERPARAMETERS, **hyperparameters}}
    here = context(folder / "training", {"data": data}, parameters)
    return training.run(here), here.output
