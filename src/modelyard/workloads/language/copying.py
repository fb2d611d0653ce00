"""Takes over a model that is there already: an imported one, a copy, or what a customization job once wrote.

Imports no machine-learning library: files are checked and copied, nothing is loaded.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.model_folder import BadModel, inspect, inspect_adapter
from modelyard.runner.context import Context, InputError, Stopped

ENDINGS = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken")
"""Weights, settings, tokenizers and chat templates; what else lies in a folder stays there."""


def run(context: Context) -> Mapping[str, Any]:
    """Copies the weights of the input `model` to `output/model`.

    Parameter `form`: `full` for a whole model, `adapter` for one to another. The result tells of a whole model its
    `architecture`, `context` (tokens) and whether it takes instructions (`instruct`). InputError if it cannot be used.
    """
    source, target = context.inputs["model"], context.output / "model"
    described = _check(source, context.parameters["form"])
    files = sorted(path for path in source.iterdir() if path.suffix in ENDINGS)
    target.mkdir()
    for step, path in enumerate(files):
        if context.should_stop():
            raise Stopped
        if not path.resolve().is_relative_to(source.resolve()) or not path.is_file():
            raise InputError(f"{path.name} is no file of the folder's own: put a copy in the place of the link")
        context.report(step, phase="copying", total=len(files))
        shutil.copyfile(path, target / path.name)
        _flush(target / path.name)
    context.report(len(files), phase="copying", total=len(files))
    return described


def _check(source: Path, form: str) -> dict[str, Any]:
    try:
        if form == "adapter":
            inspect_adapter(source)
            return {}
        found = inspect(source)
    except BadModel as error:
        raise InputError(str(error).replace(str(source), source.name)) from None
    return {"architecture": found.architecture, "instruct": found.instruct, "context": found.context}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
