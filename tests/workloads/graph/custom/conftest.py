"""Folders of scripts that learn nothing and end at once, and contexts of tasks around them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Context

TRAINING = """
import argparse, json, os
parser = argparse.ArgumentParser()
for name in ("size", "lr", "task", "model", "name", "target_ntype", "property"):
    parser.add_argument("--" + name)
arguments = vars(parser.parse_args())
for epoch in range(1, 4):
    print(f"epoch {epoch} | score: {int(arguments['size']) * epoch / 3}", flush=True)
graph = os.listdir(os.environ["SM_CHANNEL_TRAIN"])
open(os.environ["SM_CHANNEL_TRAIN"] + "/labels.safetensors", "rb").read()
told = {"arguments": arguments, "environment": dict(os.environ), "graph": graph}
with open("/opt/ml/checkpoints/told.json", "w") as file:
    json.dump(told, file)
"""
TRANSFORM = """
import json, os
import numpy as np
from modelyard.workloads.graph.data import read_graph
from pathlib import Path
graph = read_graph(Path(os.environ["SM_DATA_DIR"]))
rows = graph.node_types[graph.node_type_index(graph.task.node_type)].num_nodes
model = Path(os.environ["SM_MODEL_DIR"])
assert (model / "told.json").exists()
scores = np.tile(np.float32([0.25, 0.75]), (rows, 1))
np.savez(model / "result.npz", infer_scores=scores)
"""


def configuration(**changes: Any) -> dict[str, Any]:
    """The search space of the scripts: more of `size` is better."""
    model = {
        "model": "custom",
        "task_type": "node_class",
        "eval_metric": {
            "tuning_objective": {"MetricName": "SCORE", "Type": "Maximize"},
            "metric_definitions": [{"Name": "SCORE", "Regex": "score: ([0-9.]+)"}],
        },
        "1-tier-param": [{"param": "size", "type": "int", "range": [1, 30], "inc_strategy": "linear"}],
        "2-tier-param": [],
        "3-tier-param": [],
        "fixed-param": [{"param": "lr", "type": "float", "default": 0.01}],
        **changes,
    }
    return {"models": [model]}


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    """Makes the user's folder out of its files; what is not given is as above, and None leaves one out."""

    def make(files: Mapping[str, str | None] | None = None) -> Path:
        folder = tmp_path / "source"
        folder.mkdir()
        usual = {
            "training.py": TRAINING,
            "transform.py": TRANSFORM,
            "model-hpo-configuration.json": json.dumps(configuration()),
        }
        for name, text in {**usual, **(files or {})}.items():
            if text is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
        return folder

    return make


@pytest.fixture
def attempt(tmp_path: Path, sandbox: str) -> Callable[..., Context]:
    """Makes the context of an attempt of a task: its inputs, parameters, its number."""

    def make(inputs: Mapping[str, Path], parameters: Mapping[str, Any], number: int = 1, **members: Any) -> Context:
        task = tmp_path / f"task-{tmp_path.name}-{'-'.join(sorted(inputs))}"
        (task / "state").mkdir(parents=True, exist_ok=True)
        output = task / "attempts" / str(number) / "output"
        output.mkdir(parents=True)
        events = output.parent / "events.jsonl"
        given = {"memory": 512 * 2**20, "network": False, **parameters}
        return Context(given, inputs, task / "state", output, cores=2, attempt=number, events=events, **members)

    return make


@pytest.fixture
def search(attempt: Callable[..., Context]) -> Callable[..., Context]:
    """Makes the context of a search."""

    def make(graph: Path, source: Path, inputs: Mapping[str, Path] | None = None, **changes: Any) -> Context:
        parameters = {
            "max_trials": 2,
            "max_parallel": 2,
            "seed": 0,
            "training": "training.py",
            "transform": "transform.py",
        }
        members = {name: changes.pop(name) for name in ("number", "should_stop") if name in changes}
        return attempt({"graph": graph, "source": source, **(inputs or {})}, {**parameters, **changes}, **members)

    return make
