"""One training step on Cora: Modelyard's R-GCN beside the same model written plainly with PyTorch Geometric.

One thread, 64 hidden channels, dropout 0.5; the sides called `... input dropout` drop out the features too. `gcn` is
the same function as ours (both directions merged, see `graph_plain.py`), `rgcn` is PyG's `RGCNConv` over both
directions. Accuracy is that of the test nodes at the best validation epoch, mean of several seeds.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from graph_plain import MergedGCN, TwoRelationRGCN
from graph_tasks import export, processed
from rounds import Bar, Report, main
from torch import Tensor, nn
from torch.nn import functional

from modelyard.workloads.graph.data import TEST, TRAIN, VALID, Graph, read_graph
from modelyard.workloads.graph.models.rgcn import RGCN
from modelyard.workloads.graph.training.adjacency import build_adjacency, decide_relations
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import objective_for
from modelyard.workloads.graph.training.tensors import SparseMatrix, graph_tensors
from modelyard.workloads.graph.training.train import dimensions_of, optimizer_for

LR, WEIGHT_DECAY, HIDDEN, DROPOUT = 0.01, 1e-3, 64, 0.5

Parts = tuple[nn.Module, Callable[[], Tensor], torch.optim.Optimizer]
"""A model, its forward pass over the whole graph, and its optimizer."""


class Cora:
    """The graph in both forms."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.adjacency = build_adjacency(graph, decide_relations(graph))
        self.tensors = graph_tensors(graph, self.adjacency)
        block = self.tensors.features[0][0]
        assert isinstance(block, SparseMatrix), "the features of Cora are sparse"
        self.x = torch.zeros(tuple(block.pattern.sparse_size()))
        row, col = block.pattern.as_tensor()
        self.x[row, col] = block.value
        self.edge_index = torch.from_numpy(graph.edges(0)["edge_index"])
        arrays = graph.labels()
        self.labels = torch.from_numpy(arrays["labels"])
        self.split = torch.from_numpy(arrays["split"])

    def ours(self, input_dropout: bool) -> Parts:
        settings = Hyperparameters(num_hidden=HIDDEN, dropout=DROPOUT, lr=LR, l2norm=WEIGHT_DECAY)
        objective = objective_for(self.graph, settings, torch.device("cpu"))
        model = RGCN(dimensions_of(self.graph, self.adjacency, objective), settings, bool(self.adjacency.own.any()))
        model.encoder.dropout = DROPOUT if input_dropout else 0.0
        return model, lambda: model(self.tensors)[0], optimizer_for(nn.ModuleDict({"model": model}), model, settings)

    def plain(self, kind: type[nn.Module], input_dropout: bool) -> Parts:
        classes = len(self.graph.task.classes)
        model = kind(self.x.size(1), HIDDEN, classes, DROPOUT, DROPOUT if input_dropout else 0.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
        return model, lambda: model(self.x, self.edge_index), optimizer

    def step(self, model: nn.Module, forward: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> None:
        model.train()
        optimizer.zero_grad()
        train = self.split == TRAIN
        functional.cross_entropy(forward()[train], self.labels[train]).backward()
        optimizer.step()

    def accuracy(
        self, model: nn.Module, forward: Callable[[], Tensor], optimizer: torch.optim.Optimizer, epochs: int
    ) -> float:
        best, found = (-1.0, 0.0), 0.0
        for _ in range(epochs):
            self.step(model, forward, optimizer)
            model.eval()
            with torch.no_grad():
                scores = forward()
            right = (scores.argmax(1) == self.labels).double()
            valid = self.split == VALID
            loss = float(functional.cross_entropy(scores[valid], self.labels[valid]))
            if (float(right[valid].mean()), -loss) > best:
                best, found = (float(right[valid].mean()), -loss), float(right[self.split == TEST].mean())
        return found


def run(quick: bool) -> Report:
    """Times steps in rounds, then trains to compare accuracy."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return compare(Cora(read_graph(processed(export("cora"), Path(folder) / "cora"))), quick)


def compare(cora: Cora, quick: bool) -> Report:
    makers: dict[str, Callable[[], Parts]] = {}
    for suffix, drops in (("", False), (", input dropout", True)):
        makers[f"modelyard{suffix}"] = partial(cora.ours, drops)
        makers[f"plain gcn{suffix}"] = partial(cora.plain, MergedGCN, drops)
        makers[f"plain rgcn{suffix}"] = partial(cora.plain, TwoRelationRGCN, drops)
    report = Report("One training step on Cora")
    sides = {name: partial(timed, cora, make(), 5 if quick else 20) for name, make in makers.items()}
    report.measure(sides, 2 if quick else 7)
    for suffix, low in (("", 2), (", input dropout", 10)):
        ratio = report.ratio("ms", f"plain gcn{suffix}", f"modelyard{suffix}")
        report.bars.append(Bar(f"plain gcn's step over ours{suffix}", ratio, low=low))
    seeds, epochs = (1, 20) if quick else (5, 100)
    for name in ("modelyard, input dropout", "plain gcn, input dropout"):
        found = [accuracy(cora, makers[name], seed, epochs) for seed in range(seeds)]
        report.medians[name]["accuracy"] = statistics.fmean(found)
    ours, plain = (report.medians[f"{name}, input dropout"]["accuracy"] for name in ("modelyard", "plain gcn"))
    report.bars.append(Bar("our accuracy above plain gcn's", ours - plain, low=-0.01))
    return report


def timed(cora: Cora, parts: Parts, steps: int) -> dict[str, float]:
    cora.step(*parts)
    began = time.perf_counter()
    for _ in range(steps):
        cora.step(*parts)
    return {"ms": (time.perf_counter() - began) / steps * 1e3}


def accuracy(cora: Cora, make: Callable[[], Parts], seed: int, epochs: int) -> float:
    torch.manual_seed(seed)
    return cora.accuracy(*make(), epochs)


if __name__ == "__main__":
    main(run, __doc__)
