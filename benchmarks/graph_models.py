"""Which model for which graph: every model that fits one, with the settings that processing writes, over three seeds.

The graphs are Cora; operations of the AWS API with their shapes and errors; UMLS (link prediction); and three that are
made here: neighbours alike, neighbours unlike, and a shop of several types. The choice of a default is to be made on
the validation column.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from graph_tasks import export, processed, searched
from made_graphs import write_alike, write_shop, write_unlike
from rounds import Report, main

from modelyard.workloads.graph.data import read_graph
from modelyard.workloads.graph.models.registry import fitting

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from aws_api_graph import write_graph

MADE: dict[str, Callable[[Path], object]] = {
    "alike": write_alike,
    "unlike": write_unlike,
    "shop": write_shop,
    "aws": write_graph,
}
EPOCHS = {"aws": 60}
"""Passes over the largest graph: so that the table comes in minutes."""


class Models:
    """Processed graphs, and one training run after another; each round has a seed of its own."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.graphs = {name: processed(self._export(name), folder / name) for name in names}
        self.runs = 0

    def sides(self) -> dict[str, tuple[str, str]]:
        """A side for each graph and each model that fits it."""
        return {
            f"{name}: {model}": (name, model)
            for name, graph in self.graphs.items()
            for model in fitting(read_graph(graph))
        }

    def measure(self, name: str, model: str) -> dict[str, float]:
        folder = self.folder / f"run-{self.runs}"
        self.runs += 1
        seed = self.runs
        result = searched(self._of_few_epochs(name, model), folder, 1, 1, seed)
        (trial,) = json.loads((folder / "output" / "trials.json").read_text())
        tested = json.loads((folder / "output" / "test_metrics_info.json").read_text())
        metric = "mrr" if result["metric"] == "mrr" else "accuracy"
        seconds = {"seconds": trial["seconds"], "ms an epoch": 1000 * trial["seconds"] / len(trial["scores"])}
        return {"validation": float(result["value"]), "test": tested[metric]} | seconds

    def _of_few_epochs(self, name: str, model: str) -> Path:
        """The graph with the model's own search space, its epochs limited where that is wanted."""
        folder = self.graphs[name]
        document = json.loads((folder / "hpo-configuration-templates" / f"{model}.json").read_text())
        for tier in document["models"][0].values():
            for entry in tier if isinstance(tier, list) else []:
                if entry["param"] == "num-epochs" and name in EPOCHS:
                    entry.update(default=EPOCHS[name], range=[EPOCHS[name]] * 2)
        (folder / "model-hpo-configuration.json").write_text(json.dumps(document))
        return folder

    def _export(self, name: str) -> Path:
        if name not in MADE:
            return export(name)
        folder = self.folder / f"{name}-export"
        folder.mkdir()
        MADE[name](folder)
        return folder


def run(quick: bool) -> Report:
    """Training runs in rounds."""
    torch.set_num_threads(1)
    report = Report("Each model's defaults: validation, and test at the best validation")
    with tempfile.TemporaryDirectory() as folder:
        models = Models(
            Path(folder), ["alike", "shop"] if quick else ["cora", "alike", "unlike", "shop", "umls", "aws"]
        )
        report.measure({side: partial(models.measure, *of) for side, of in models.sides().items()}, 1 if quick else 3)
    return report


if __name__ == "__main__":
    main(run, __doc__)
