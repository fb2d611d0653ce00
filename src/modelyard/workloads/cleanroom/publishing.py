"""Delivery: the part of a job's output that one member may have, copied for its own location."""

import shutil
import sys
from typing import Any

from modelyard.runner.context import Context
from modelyard.runner.sandbox import artifacts


def run(context: Context) -> dict[str, Any]:
    """Copies `folder` of the input `source` to the output: `out`, `logs/<account>.log`, `metrics.csv`.

    Of a folder its contents, of a file the file by its last name; of what is not there nothing.
    Result: `files`, `bytes`.
    """
    part = context.inputs["source"] / context.parameters["folder"]
    if part.is_dir():
        artifacts.copy(part, artifacts.contents(part, sys.maxsize), context.output)
    elif part.is_file():
        shutil.copyfile(part, context.output / part.name)
    sizes = [path.stat().st_size for path in context.output.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}
