"""One training step on Cora: Modelyard's R-GCN beside the same model written plainly with PyTorch Geometric.

`python benchmarks/graph_step.py GRAPH` where GRAPH is the processed folder of Cora. One thread; rounds are
interleaved, and medians over rounds are compared. Accuracy: test accuracy at the best validation epoch, over several
seeds. The `*_input` rows drop out the features too. Prints a table and, as the last line, JSON.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
import torch_geometric
from graph_plain import MergedGCN, TwoRelationRGCN
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from modelyard.workloads.graph.adjacency import build_adjacency, decide_relations
from modelyard.workloads.graph.data import TEST, TRAIN, VALID, Graph, read_graph
from modelyard.workloads.graph.hyperparameters import Hyperparameters
from modelyard.workloads.graph.models.rgcn import RGCN
from modelyard.workloads.graph.objectives import objective_for
from modelyard.workloads.graph.tensors import SparseMatrix, graph_tensors
from modelyard.workloads.graph.train import dimensions_of, optimizer_for

LR, WEIGHT_DECAY = 0.01, 1e-3


class Cora:
    """The graph in both forms."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.adjacency = build_adjacency(graph, decide_relations(graph))
        self.tensors = graph_tensors(graph, self.adjacency)
        block = self.tensors.features[0][0]
        assert isinstance(block, SparseMatrix), "the features of Cora are sparse"
        self.x = torch.zeros(tuple(block.pattern.sparse_size()))  # type: ignore[arg-type]
        row, col = block.pattern.as_tensor()
        self.x[row, col] = block.value
        self.edge_index = torch.from_numpy(graph.edges(0)["edge_index"])
        arrays = graph.labels()
        self.labels = torch.from_numpy(arrays["labels"])
        self.split = torch.from_numpy(arrays["split"])

    def ours(self, hidden: int, dropout: float, input_dropout: bool) -> tuple[nn.Module, Callable[[], Tensor], Any]:
        settings = Hyperparameters(num_hidden=hidden, dropout=dropout, lr=LR, l2norm=WEIGHT_DECAY)
        objective = objective_for(self.graph, settings, torch.device("cpu"))
        model = RGCN(dimensions_of(self.graph, self.adjacency, objective), settings, bool(self.adjacency.own.any()))
        model.encoder.dropout = dropout if input_dropout else 0.0
        return model, lambda: model(self.tensors)[0], optimizer_for(nn.ModuleDict({"model": model}), model, settings)

    def plain(
        self, kind: type[nn.Module], hidden: int, dropout: float, input_dropout: bool
    ) -> tuple[nn.Module, Callable[[], Tensor], Any]:
        classes = len(self.graph.task.classes)
        model = kind(self.x.size(1), hidden, classes, dropout, dropout if input_dropout else 0.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
        return model, lambda: model(self.x, self.edge_index), optimizer

    def step(self, model: nn.Module, forward: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> None:
        model.train()
        optimizer.zero_grad()
        train = self.split == TRAIN
        functional.cross_entropy(forward()[train], self.labels[train]).backward()
        optimizer.step()

    def accuracy(self, model: nn.Module, forward: Callable[[], Tensor], optimizer: Any, epochs: int) -> float:
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


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--hidden", default=64)
@click.option("--dropout", default=0.5)
@click.option("--rounds", default=7)
@click.option("--steps", default=20)
@click.option("--seeds", default=5)
@click.option("--epochs", default=100)
def main(folder: Path, hidden: int, dropout: float, rounds: int, steps: int, seeds: int, epochs: int) -> None:
    torch.set_num_threads(1)
    cora = Cora(read_graph(folder))
    makers: dict[str, Callable[[], tuple[nn.Module, Callable[[], Tensor], Any]]] = {}
    for suffix, drops in (("", False), ("_input", True)):
        makers[f"modelyard{suffix}"] = lambda drops=drops: cora.ours(hidden, dropout, drops)
        makers[f"pyg_gcn{suffix}"] = lambda drops=drops: cora.plain(MergedGCN, hidden, dropout, drops)
        makers[f"pyg_rgcn{suffix}"] = lambda drops=drops: cora.plain(TwoRelationRGCN, hidden, dropout, drops)
    models = {name: make() for name, make in makers.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, parts in models.items():
            cora.step(*parts)
            began = time.perf_counter()
            for _ in range(steps):
                cora.step(*parts)
            times[name].append((time.perf_counter() - began) / steps * 1e3)
    accuracy: dict[str, list[float]] = {}
    for name in ("modelyard", "pyg_gcn", "modelyard_input", "pyg_gcn_input"):
        for seed in range(seeds):
            torch.manual_seed(seed)
            accuracy.setdefault(name, []).append(cora.accuracy(*makers[name](), epochs))
    show(times, accuracy, {"hidden": hidden, "dropout": dropout, "rounds": rounds, "steps": steps, "epochs": epochs})


def show(times: dict[str, list[float]], accuracy: dict[str, list[float]], settings: dict[str, Any]) -> None:
    table = Table("model", "ms a step", "ratio to ours", "test accuracy")
    result: dict[str, Any] = {"settings": settings | versions(), "steps": {}}
    for name, values in times.items():
        ours = statistics.median(times["modelyard_input" if name.endswith("_input") else "modelyard"])
        median = statistics.median(values)
        mean = statistics.fmean(accuracy[name]) if name in accuracy else None
        result["steps"][name] = {"ms": median, "ratio": median / ours, "all_ms": values, "accuracy": accuracy.get(name)}
        table.add_row(name, f"{median:.2f}", f"{median / ours:.1f}", "" if mean is None else f"{mean:.4f}")
    Console().print(table)
    print(json.dumps(result))


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__, "threads": "1"}


if __name__ == "__main__":
    main()
