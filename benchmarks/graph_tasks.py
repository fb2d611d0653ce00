"""Runs the stages of a graph job here, as the task processes would, without a server around them.

This process stands for the resident parent: it has imported the libraries, ran nothing in parallel, and forks workers.
"""

import gc
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from modelyard.runner.context import Channel, Context, Worker
from modelyard.workloads.graph.processing import process
from modelyard.workloads.graph.training import train, tune

DATA = Path(os.environ.get("MODELYARD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def export(name: str) -> Path:
    """A data set's folder; ends the benchmark, with the reason, where it is absent."""
    if not (DATA / name).is_dir():
        sys.exit(f"the data set {name} is not at {DATA}; set MODELYARD_TEST_DATA to its folder")
    return DATA / name


def fork(entry_point: str, parameters: Mapping[str, Any]) -> Worker:
    """A worker as the resident parent makes one, whose objects no collection looks at again."""
    gc.freeze()
    ours, theirs = socket.socketpair()
    if (pid := os.fork()) == 0:
        try:
            ours.close()
            torch.set_num_threads(1)
            getattr(train, entry_point.partition(":")[2])(Channel(theirs), parameters)
        finally:
            os._exit(0)
    theirs.close()
    return Worker(pid, Channel(ours))


def context(folder: Path, inputs: Mapping[str, Path], **parameters: Any) -> Context:
    for name in ("state", "output"):
        (folder / name).mkdir(parents=True)
    return Context(parameters, inputs, folder / "state", folder / "output", cores=os.cpu_count() or 1, fork=fork)


def processed(export: Path, folder: Path) -> Path:
    """Data processing of an export; returns the processed graph's folder."""
    process.run(context(folder, {"export": export}))
    return folder / "output"


def searched(
    graph: Path, folder: Path, trials: int, parallel: int, seed: int, model: str | None = None
) -> Mapping[str, Any]:
    """A search with the settings that processing wrote, of the default model or a named one.

    Its output is `folder / "output"`; one trial alone is the model's defaults.
    """
    parameters = {"max_trials": trials, "max_parallel": parallel, "seed": seed, "model_name": model}
    result = tune.run(context(folder, {"graph": graph}, **parameters))
    while True:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return result
