"""Export: a trained model, or what its training wrote beside it, packed for the one member who may take it out."""

from typing import Any

from modelyard.runner.context import Context
from modelyard.runner.sandbox import artifacts
from modelyard.workloads.cleanroom.failure import Failure

_FOLDERS = {"MODEL": "model", "OUTPUT": "output"}


def run(context: Context) -> dict[str, Any]:
    """Packs `model/` into `model.tar.gz` (MODEL) and `output/` into `output.tar.gz` (OUTPUT).

    Inputs: `trained`, the output of the training.
    Parameters: `files` (of MODEL, OUTPUT), `max_bytes` (what the files and their names may come to, unpacked).
    Result: `bytes` (of the archives), `size` (unpacked), and `failure` with `code` EXPORT_TOO_LARGE and `message`; then
    nothing is written.
    """
    names = [_FOLDERS[name] for name in context.parameters["files"]]
    limit = context.parameters["max_bytes"]
    found = {}
    size = 0
    for name in names:
        try:
            found[name] = artifacts.contents(context.inputs["trained"] / name, limit - size)
        except artifacts.TooLarge:
            failure = Failure("EXPORT_TOO_LARGE", f"What would be exported is larger than the {limit:,} bytes allowed.")
            return {"bytes": 0, "size": 0, "failure": failure.told()}
        size += found[name].size
    written = 0
    for step, name in enumerate(names):
        context.report(step, phase="packing", total=len(names))
        archive = context.output / f"{name}.tar.gz"
        artifacts.pack(context.inputs["trained"] / name, found[name], archive)
        written += archive.stat().st_size
    return {"bytes": written, "size": size}
