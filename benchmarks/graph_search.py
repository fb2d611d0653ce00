"""A search of 32 trials, 2 at once, beside the very same trials in one serial script, and those on PyTorch Geometric.

The search proposes, prunes, keeps what a kill would lose, and tests its best model; the scripts repeat its trials on
Cora one after the other, each with its settings, its seed and as many epochs as it had. Searches of their own would
propose and prune otherwise, and be more or less work by a fifth. Everything from the first proposal to the last result
counts; imports do not (a task finds them in memory). Each round has a seed of its own.
"""

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from graph_plain import MergedGCN
from graph_step import Cora
from graph_tasks import export, processed, searched
from rounds import Bar, Report, main
from torch.nn import functional

from modelyard.workloads.graph.data import TRAIN, VALID, read_graph
from modelyard.workloads.graph.training.evaluation import Evaluation, Score
from modelyard.workloads.graph.training.heap import keep_freed_memory
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.train import fit

TRIALS = 32

Train = Callable[[Hyperparameters, int, int], list[float]]
"""Settings, seed and epochs to the validation accuracy of each epoch."""


class Ended(Exception):
    """The script has had as many epochs as the search's trial."""


class Scripts:
    """The peers: one process, one trial after the other."""

    def __init__(self, folder: Path) -> None:
        keep_freed_memory()
        self.cora = Cora(read_graph(folder))

    def serial(self, settings: Hyperparameters, seed: int, epochs: int) -> list[float]:
        """Modelyard's own training."""
        values: list[float] = []

        def on_score(score: Score) -> None:
            values.append(score.value)
            if len(values) == epochs:
                raise Ended

        with suppress(Ended):
            fit(self.cora.graph, self.cora.adjacency, settings, Evaluation("acc"), seed, on_score)
        return values

    def plain(self, settings: Hyperparameters, seed: int, epochs: int) -> list[float]:
        """Plain PyTorch Geometric on dense features, without layer normalisation."""
        torch.manual_seed(seed)
        cora = self.cora
        drop = settings.dropout
        model = MergedGCN(cora.x.size(1), settings.num_hidden, len(cora.graph.task.classes), drop, drop)
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.l2norm)
        train, valid = cora.split == TRAIN, cora.split == VALID
        values = []
        for _ in range(epochs):
            model.train()
            optimizer.zero_grad()
            functional.cross_entropy(model(cora.x, cora.edge_index)[train], cora.labels[train]).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                scores = model(cora.x, cora.edge_index)
            values.append(float((scores.argmax(1) == cora.labels)[valid].double().mean()))
        return values


class Searches:
    """The search, and the scripts that repeat the last one."""

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials = folder, trials
        self.scripts = Scripts(folder)
        self.seed = 0
        self.found: list[dict[str, Any]] = []

    def search(self) -> dict[str, float]:
        self.seed += 1
        with tempfile.TemporaryDirectory() as scratch:
            began = time.perf_counter()
            found = searched(self.folder, Path(scratch) / "search", self.trials, 2, self.seed, "rgcn")
            seconds = time.perf_counter() - began
            self.found = json.loads((Path(scratch) / "search" / "output" / "trials.json").read_text())
        return self.measured(seconds, float(found["value"]))

    def repeat(self, train: Train, same: bool) -> dict[str, float]:
        """All trials of the last search; `same` holds each score to the search's."""
        began = time.perf_counter()
        values = [
            train(Hyperparameters.from_names(one["hyperparameters"]), one["seed"], len(one["scores"]))
            for one in self.found
        ]
        seconds = time.perf_counter() - began
        assert not same or values == [[score["value"] for score in one["scores"]] for one in self.found]
        return self.measured(seconds, max(map(max, values)))

    def measured(self, seconds: float, best: float) -> dict[str, float]:
        return {"seconds": seconds, "epochs": sum(len(one["scores"]) for one in self.found), "best validation": best}


def run(quick: bool) -> Report:
    """Searches in rounds."""
    torch.set_num_threads(1)
    report = Report(f"{TRIALS} trials, 2 at once, on Cora")
    with tempfile.TemporaryDirectory() as folder:
        searches = Searches(processed(export("cora"), Path(folder) / "cora"), 2 if quick else TRIALS)
        serial = partial(searches.repeat, searches.scripts.serial, same=True)
        report.measure({"modelyard": searches.search, "serial": serial}, 1 if quick else 5)
        plain = partial(searches.repeat, searches.scripts.plain, same=False)
        report.measure({"plain": plain}, 1)  # minutes long
    report.bars.append(Bar("our time over serial", report.round_ratio("seconds", "modelyard", "serial"), high=0.65))
    report.bars.append(Bar("our time over plain", report.ratio("seconds", "modelyard", "plain"), high=0.3))
    return report


if __name__ == "__main__":
    main(run, __doc__)
