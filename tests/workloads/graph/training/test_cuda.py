"""What runs on a GPU gives what it gives on a CPU; skipped where there is none."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.gnn import GNN
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training.adjacency import build_adjacency
from modelyard.workloads.graph.training.evaluation import Evaluation
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import objective_for
from modelyard.workloads.graph.training.passes import Passes, SampledGraph, WholeGraph
from modelyard.workloads.graph.training.train import dimensions_of, fit

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SETTINGS = Hyperparameters(num_hidden=16, layer_norm=True, num_negs=20, batch_size=64)


@pytest.fixture
def graph(two_communities: Callable[..., Any], tmp_path: Path) -> Graph:
    made: Graph = two_communities(people=120).write(tmp_path / "graph")
    return made


def model_of(name: str, graph: Graph) -> GNN:
    kind = cast("type[GNN]", model_class(name))
    adjacency = build_adjacency(graph, kind.relations(graph, use_self_loop=True))
    torch.manual_seed(0)
    dimensions = dimensions_of(graph, adjacency, objective_for(graph, SETTINGS, CPU))
    return kind(dimensions, SETTINGS, bool(adjacency.own.any()))


def compared(name: str, graph: Graph, make: Callable[[torch.device], Passes]) -> None:
    """Outputs, losses and gradients on both devices."""
    model, found = model_of(name, graph), []
    for device in (CPU, CUDA):
        model, passes, objective = model.to(device), make(device), objective_for(graph, SETTINGS, device)
        loss = passes.loss(model, objective, torch.arange(10, device=device))
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        output = passes.outputs(model)[0]
        assert isinstance(output, torch.Tensor)
        found.append([loss.detach(), output, *(one for one in gradients if one is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-3, atol=1e-4)


@needs_cuda
@pytest.mark.parametrize("name", ["rgcn", "hgt"])
def test_a_whole_graph_gives_on_cuda_what_it_gives_on_a_cpu(graph: Graph, name: str) -> None:
    adjacency = build_adjacency(graph, cast("type[GNN]", model_class(name)).relations(graph, use_self_loop=True))
    compared(name, graph, lambda device: WholeGraph(graph, adjacency, device))


@needs_cuda
def test_samples_give_on_cuda_what_they_give_on_a_cpu(graph: Graph, tmp_path: Path) -> None:
    adjacency = build_adjacency(graph, cast("type[GNN]", model_class("rgcn")).relations(graph, use_self_loop=True))
    settings = Hyperparameters(num_hidden=16, fanout=3)
    compared("rgcn", graph, lambda device: SampledGraph(graph, adjacency, settings, device, 0, tmp_path))


@needs_cuda
@pytest.mark.parametrize("more", [{}, {"fanout": (4, 4)}])
def test_training_on_cuda_learns(graph: Graph, more: dict[str, Any]) -> None:
    adjacency = build_adjacency(graph, cast("type[GNN]", model_class("rgcn")).relations(graph, use_self_loop=True))
    settings = Hyperparameters(num_hidden=16, num_epochs=15, batch_size=16, enable_early_stop=False, **more)
    checkpoint, scores = fit(graph, adjacency, settings, Evaluation("acc"))
    assert max(score.value for score in scores) > 0.8
    assert all(not weight.is_cuda for weight in checkpoint.weights.values())


@needs_cuda
def test_links_are_learned_on_cuda(umls: Graph) -> None:
    adjacency = build_adjacency(umls, cast("type[GNN]", model_class("rgcn")).relations(umls, use_self_loop=True))
    settings = Hyperparameters(num_hidden=32, num_epochs=5, batch_size=8192, layer_norm=True)
    _, scores = fit(umls, adjacency, settings, Evaluation("mrr"))
    assert scores[-1].value > scores[0].value


def test_imports_leave_cuda_alone_so_that_a_fork_may_use_it() -> None:
    """A process that has touched CUDA cannot fork others that use it; the resident parent only imports."""
    script = "import torch, modelyard.workloads.graph.training.train; print(torch.cuda.is_initialized())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert found.stdout.strip() == "False"
