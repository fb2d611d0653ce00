"""Which model for which task: every model that fits a graph, with the settings that processing writes, three seeds.

Each task has several graphs: Cora and UMLS, graphs of AWS's API (`api_graphs.py`) and made ones (`made_graphs.py`). The
choice of a default is to be made on the validation column: `best` counts the graphs of a kind on which a model's median
is the best there, and `behind` is how much worse than the best it is, mean over these graphs, relative to the best.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean

import api_graphs
import made_graphs
import torch
from graph_tasks import export, processed, searched
from rounds import Report, main

from modelyard.workloads.graph.data import Graph, read_graph
from modelyard.workloads.graph.models.registry import fitting, model_class
from modelyard.workloads.graph.training.search_space import LOWER_IS_BETTER, default_metric

Write = Callable[[Path], object]


def write_cora(folder: Path) -> None:
    """Cora as it is."""
    shutil.copytree(export("cora"), folder, dirs_exist_ok=True)


def write_umls(folder: Path) -> None:
    """UMLS as it is."""
    shutil.copytree(export("umls"), folder, dirs_exist_ok=True)


GRAPHS: dict[str, Write] = {
    "cora": write_cora,
    "sides": api_graphs.write_sides,
    "alike": made_graphs.write_alike,
    "unlike": made_graphs.write_unlike,
    "cycle": made_graphs.write_cycle,
    "paginated": api_graphs.write_paginated,
    "parts": api_graphs.write_parts,
    "shop": made_graphs.write_shop,
    "documented": api_graphs.write_documented,
    "smooth": made_graphs.write_smooth,
    "rough": made_graphs.write_rough,
    "described": api_graphs.write_described,
    "detailed": api_graphs.write_detailed,
    "required": api_graphs.write_required,
    "located": api_graphs.write_located,
    "parted": made_graphs.write_parted,
    "placed": api_graphs.write_placed,
    "needed": api_graphs.write_needed,
    "liked": made_graphs.write_liked,
    "explained": api_graphs.write_explained,
    "far": made_graphs.write_far,
    "told": api_graphs.write_told,
    "stars": made_graphs.write_stars,
    "held": api_graphs.write_held,
    "near": made_graphs.write_near,
    "raised": api_graphs.write_raised,
    "bought": made_graphs.write_bought,
    "linked": api_graphs.write_linked,
    "umls": write_umls,
}
QUICK = ("alike", "shop")
LINK_EPOCHS = 100
"""Passes of graph neural networks over links, a third of the default: so that the table comes in minutes."""


class Models:
    """Processed graphs, and one training run after another; each round has a seed of its own."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.graphs = {name: read_graph(self._processed(name)) for name in names}
        self.runs = 0

    def sides(self) -> dict[str, tuple[str, str]]:
        """A side for each graph and each model that fits it."""
        return {
            f"{kind_of(graph)}, {name}: {model}": (name, model)
            for name, graph in self.graphs.items()
            for model in fitting(graph)
        }

    def measure(self, name: str, model: str) -> dict[str, float]:
        folder = self.folder / f"run-{self.runs}"
        self.runs += 1
        graph = self.graphs[name].folder
        shutil.copyfile(graph / "hpo-configuration-templates" / f"{model}.json", graph / "model-hpo-configuration.json")
        result = searched(graph, folder, 1, 1, self.runs)
        (trial,) = json.loads((folder / "output" / "trials.json").read_text())
        tested = json.loads((folder / "output" / "test_metrics_info.json").read_text())
        shutil.rmtree(folder)
        seconds = {"seconds": trial["seconds"], "ms an epoch": 1000 * trial["seconds"] / len(trial["scores"])}
        return {"validation": float(result["value"]), "test": test_metric(result["metric"], tested)} | seconds

    def _configure(self, graph: Graph, model: str) -> None:
        """Writes the model's own search space beside the graph."""
        document = json.loads((graph.folder / "hpo-configuration-templates" / f"{model}.json").read_text())
        if graph.task.type == "link_predict" and model_class(model).family == "gnn":
            (epochs,) = (one for one in document["models"][0]["1-tier-param"] if one["param"] == "num-epochs")
            epochs.update(default=LINK_EPOCHS, range=[LINK_EPOCHS] * 2)
        (graph.folder / "model-hpo-configuration.json").write_text(json.dumps(document))

    def _processed(self, name: str) -> Path:
        folder = self.folder / f"{name}-export"
        folder.mkdir()
        GRAPHS[name](folder)
        return processed(folder, self.folder / name)


def test_metric(metric: str, report: Mapping[str, object]) -> float:
    """A metric as the report of the test split has it."""
    if metric == "F1":
        average = report["macro avg"]
        assert isinstance(average, Mapping)
        return float(average["f1-score"])
    return float(str(report[{"acc": "accuracy"}.get(metric, metric)]))


def kind_of(graph: Graph) -> str:
    """The task, and what decides which models fit: one type of nodes and of edges or several, features or none."""
    if graph.model_type == "kge":
        return f"{graph.task.type} without features"
    plain = len(graph.node_types) == len(graph.edge_types) == 1
    return f"{graph.task.type}, {'one type' if plain else 'several types'}"


def judge(report: Report, models: Models) -> None:
    """Adds what the validation column says of each model, by kind of task."""
    behind: dict[str, dict[str, list[float]]] = {}
    for name, graph in models.graphs.items():
        kind = kind_of(graph)
        found = {model: report.medians[f"{kind}, {name}: {model}"]["validation"] for model in fitting(graph)}
        lower = default_metric(graph) in LOWER_IS_BETTER
        best = (min if lower else max)(found.values())
        for model, value in found.items():
            behind.setdefault(kind, {}).setdefault(model, []).append(abs(value - best) / abs(best))
    for kind, of_model in behind.items():
        for model, values in of_model.items():
            side = f"{kind}: {model}"
            report.medians[side] = {"best": float(sum(one == 0 for one in values)), "behind": fmean(values)}
            report.rounds[side] = [{"behind": one} for one in values]


def run(quick: bool) -> Report:
    """Training runs in rounds."""
    torch.set_num_threads(1)
    report = Report("Each model's defaults: validation, and test at the best validation")
    with tempfile.TemporaryDirectory() as folder:
        models = Models(Path(folder), list(QUICK if quick else GRAPHS))
        report.measure({side: partial(models.measure, *of) for side, of in models.sides().items()}, 1 if quick else 3)
        judge(report, models)
    return report


if __name__ == "__main__":
    main(run, __doc__)
