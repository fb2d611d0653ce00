from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from modelyard.workloads.graph.data import Graph, Task
from modelyard.workloads.graph.models.gnn import GNN
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training import passes
from modelyard.workloads.graph.training.adjacency import build_adjacency
from modelyard.workloads.graph.training.checkpoint import read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.evaluation import Evaluation
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import objective_for
from modelyard.workloads.graph.training.passes import NeededGraph, SampledGraph, WholeGraph, passes_for
from modelyard.workloads.graph.training.train import dimensions_of, fit

CPU = torch.device("cpu")


@pytest.fixture
def graph(two_communities: Callable[..., Any], tmp_path: Path) -> Graph:
    made: Graph = two_communities(people=120).write(tmp_path / "graph")
    return made


@pytest.mark.parametrize("name", ["rgcn", "hgt"])
def test_block_by_block_comes_out_what_the_whole_graph_gives(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(passes, "_BLOCK_ENTRIES", {True: 100, False: 100})
    monkeypatch.setattr(passes, "MAPPED_FROM", 1000)
    kind = cast("type[GNN]", model_class(name))
    adjacency = build_adjacency(graph, kind.relations(graph, use_self_loop=True))
    settings = Hyperparameters(num_hidden=8, fanout=2, layer_norm=True)
    dimensions = dimensions_of(graph, adjacency, objective_for(graph, settings, CPU))
    model = kind(dimensions, settings, bool(adjacency.own.any())).eval()
    whole = WholeGraph(graph, adjacency, CPU).outputs(model)
    blocks = SampledGraph(graph, adjacency, settings, CPU, 0, tmp_path).outputs(model)
    for one, other in zip(whole, blocks, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", ["rgcn", "hgt"])
def test_what_reaches_the_targets_gives_what_the_whole_graph_gives(graph: Graph, name: str, layers: int) -> None:
    kind = cast("type[GNN]", model_class(name))
    adjacency = build_adjacency(graph, kind.relations(graph, use_self_loop=True))
    settings = Hyperparameters(num_hidden=8, num_layer=layers)
    objective = objective_for(graph, settings, CPU)
    targets = objective.targets()
    assert targets is not None
    assert len(targets) == np.isin(graph.labels()["split"], (1, 2, 3)).sum()
    torch.manual_seed(0)
    model = kind(dimensions_of(graph, adjacency, objective), settings, bool(adjacency.own.any()))
    whole, needed = WholeGraph(graph, adjacency, CPU), NeededGraph(graph, adjacency, settings, CPU, targets)
    batch = next(objective.batches())
    losses = [one.loss(model, objective, batch) for one in (whole, needed)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(loss, list(model.parameters()), allow_unused=True) for loss in losses]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    values = [objective.validate(one.outputs(model)[0], "acc", 1) for one in (whole, needed)]
    assert values[0] == pytest.approx(values[1])


def test_a_fanout_decides_for_samples(graph: Graph, tmp_path: Path) -> None:
    adjacency = build_adjacency(graph, cast("type[GNN]", model_class("rgcn")).relations(graph, True))
    whole = passes_for(graph, adjacency, Hyperparameters(), CPU, 0, tmp_path)
    sampled = passes_for(graph, adjacency, Hyperparameters(fanout=3), CPU, 0, tmp_path)
    assert isinstance(whole, WholeGraph)
    assert isinstance(sampled, SampledGraph)
    assert list(sampled.tables) == [1], "only goods have no features"


@pytest.mark.parametrize("mapped", [False, True])
def test_training_on_samples_learns_what_training_on_the_whole_graph_learns(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    if mapped:
        monkeypatch.setattr(passes, "MAPPED_FROM", 1)
    adjacency = build_adjacency(graph, cast("type[GNN]", model_class("rgcn")).relations(graph, True))
    settings = {"num_hidden": 16, "num_epochs": 15, "batch_size": 16, "enable_early_stop": False}
    found = [
        max(score.value for score in fit(graph, adjacency, Hyperparameters(**settings, **more), Evaluation("acc"))[1])
        for more in ({}, {"fanout": (3, 5)})
    ]
    assert found[1] >= found[0] - 0.1
    assert found[1] > 0.8


def test_a_checkpoint_of_samples_is_like_any_other(graph: Graph, tmp_path: Path) -> None:
    adjacency = build_adjacency(graph, cast("type[GNN]", model_class("rgcn")).relations(graph, True))
    settings = Hyperparameters(num_hidden=8, num_epochs=2, batch_size=16, fanout=4)
    checkpoint, scores = fit(graph, adjacency, settings, Evaluation("acc"), scratch=tmp_path)
    write_checkpoint(checkpoint, tmp_path / "model")
    model = read_checkpoint(tmp_path / "model").restore()
    output = WholeGraph(graph, adjacency, CPU).outputs(model)[0]
    value, _ = objective_for(graph, settings, CPU).validate(output, "acc", 1)
    assert value == pytest.approx(max(score.value for score in scores))
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"graph", "model"}


def test_links_are_learned_from_samples_without_seeing_the_answers(made: type[Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    group = random.integers(0, 6, 120)
    edges = np.unique(random.integers(0, 120, (2, 6000)), axis=1)
    edges = edges[:, (group[edges[0]] == group[edges[1]]) & (edges[0] != edges[1])]
    split = random.choice([1, 2, 3], edges.shape[1], p=[0.8, 0.1, 0.1])
    key, back = ("a", "near", "a"), ("a", "back", "a")
    graph = made(Task("link_predict"), {"a": 120}, {key: edges, back: edges[::-1]}, edge_split={key: split}).write(
        tmp_path / "graph"
    )
    adjacency = build_adjacency(graph, cast("type[GNN]", model_class("rgcn")).relations(graph, True))
    settings = Hyperparameters(
        num_hidden=32, num_epochs=25, batch_size=256, fanout=(8, 8), num_negs=60, enable_early_stop=False
    )
    objective = objective_for(graph, settings, CPU)
    batch = next(objective.batches())
    nodes, hidden = objective.reads(batch)
    assert hidden is not None
    assert set(hidden[0].tolist()) == {0, 1}, "the edge type and its copy"
    assert hidden.size(1) == 2 * batch.size(1)
    assert len(nodes) == 2 * batch.size(1) + 60
    _, scores = fit(graph, adjacency, settings, Evaluation("mrr"))
    chance = sum(1 / rank for rank in range(1, 121)) / 120
    assert max(score.value for score in scores) > 3 * chance
