"""Ten trials over every model that fits Cora, chosen on validation, tested once; five searches."""

import json
import tempfile
import time
from pathlib import Path

import torch
from graph_tasks import export, processed, searched
from rounds import Bar, Report, main

from modelyard.workloads.graph.data import read_graph
from modelyard.workloads.graph.models.registry import fitting


class Zoo:
    """The processed graph with all models in its search space; each round has a seed of its own."""

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials = folder, trials
        self.graph = processed(export("cora"), folder / "cora")
        templates = self.graph / "hpo-configuration-templates"
        names = list(fitting(read_graph(self.graph)))
        models = [json.loads((templates / f"{name}.json").read_text())["models"][0] for name in names]
        (self.graph / "model-hpo-configuration.json").write_text(json.dumps({"models": models}))
        self.chosen: list[str] = []

    def measure(self) -> dict[str, float]:
        seed = len(self.chosen)
        folder = self.folder / f"search-{seed}"
        began = time.perf_counter()
        result = searched(self.graph, folder, self.trials, 2, seed)
        seconds = time.perf_counter() - began
        self.chosen.append(str(result["model"]))
        tested = json.loads((folder / "output" / "test_metrics_info.json").read_text())
        return {"test": tested["accuracy"], "validation": float(result["value"]), "seconds": seconds}


def run(quick: bool) -> Report:
    """Searches in rounds."""
    torch.set_num_threads(1)
    report = Report("Cora, ten trials over all models")
    with tempfile.TemporaryDirectory() as folder:
        zoo = Zoo(Path(folder), 2 if quick else 10)
        report.measure({"all models": zoo.measure}, 1 if quick else 5)
    report.title += f"; chosen: {', '.join(zoo.chosen)}"
    report.bars.append(Bar("median test accuracy", report.medians["all models"]["test"], low=0.82))
    return report


if __name__ == "__main__":
    main(run, __doc__)
