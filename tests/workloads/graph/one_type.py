"""One small graph of one node type and one edge type, for tests of the models that take such graphs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.utils import to_undirected

from modelyard.workloads.graph.data import Graph, Task
from modelyard.workloads.graph.models.gnn import GNN
from modelyard.workloads.graph.training.adjacency import build_adjacency
from modelyard.workloads.graph.training.tensors import GraphTensors, graph_tensors


@dataclass
class OneType:
    """The graph as we hold it and as PyG's layers take it: both directions, no self-loops, one node without edges."""

    graph: Graph
    tensors: GraphTensors
    edge_index: Tensor
    num_nodes: int


def one_type(made: Callable[..., object], folder: Path, model: type[GNN]) -> OneType:
    """A graph written into `folder`, with the relations that the model wants."""
    random = np.random.default_rng(0)
    edges = random.integers(0, 39, (2, 120))
    edges = edges[:, edges[0] != edges[1]]
    graph = made(
        Task("node_class", "a", "p", ("x", "y")),
        {"a": 40},
        {("a", "r", "a"): edges},
        {"a": [random.normal(size=(40, 3))]},
        labels=random.integers(0, 2, 40),
        split=np.repeat([1, 2], 20),
    ).write(folder)
    tensors = graph_tensors(graph, build_adjacency(graph, model.relations(graph, True), True))
    return OneType(graph, tensors, to_undirected(torch.from_numpy(edges)), 40)


def same_gradients(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Holds that two layers give the same for `x`, and the same gradient of it."""
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    given, expected = ours(one), theirs(other)
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(given)
    (given * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def copied(pairs: list[tuple[nn.Parameter, Tensor]]) -> None:
    """Gives PyG's parameters the values of ours."""
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
