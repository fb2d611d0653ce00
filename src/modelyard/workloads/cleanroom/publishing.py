"""Delivery: the part of a job's output that one member may have, copied for its own location."""

from typing import Any

from modelyard.runner.context import Context


def run(context: Context) -> dict[str, Any]:
    """Copies `folder` of the input `source` to the output: `out`, `logs/<account>.log`, `metrics.csv`.

    Of a folder its contents, of a file the file by its last name; of what is not there nothing.
    Result: `files`, `bytes`.
    """
    raise NotImplementedError
