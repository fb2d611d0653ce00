from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.nn import RGCNConv

from modelyard.workloads.graph.data import Task
from modelyard.workloads.graph.models.gnn import Dimensions
from modelyard.workloads.graph.models.rgcn import RGCN, RGCNLayer
from modelyard.workloads.graph.training.adjacency import build_adjacency, decide_relations
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import SparseMatrix, graph_tensors, moments


def test_layer_equals_that_of_pyg(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    graph = two_communities(people=60).write(tmp_path)
    adjacency = build_adjacency(graph, tuple(r for r in decide_relations(graph) if r.direction != "merged"))
    tensors = graph_tensors(graph, adjacency)
    relation_of_row = torch.repeat_interleave(torch.arange(len(tensors.sizes)), torch.tensor(tensors.sizes))
    edge_index = torch.stack([torch.from_numpy(adjacency.col), tensors.row_node[torch.from_numpy(adjacency.row)]])
    edge_type = relation_of_row[torch.from_numpy(adjacency.row)]
    for num_bases in (0, 1):
        ours = RGCNLayer(8, 5, len(adjacency.relations), num_bases)
        theirs = RGCNConv(8, 5, len(adjacency.relations), num_bases or None)
        with torch.no_grad():
            theirs.weight.copy_(ours.weight)
            theirs.root.copy_(ours.self_weight)
            theirs.bias.copy_(ours.bias)
            if num_bases:
                theirs.comp.copy_(ours.coefficient)
        x = torch.randn(adjacency.num_nodes, 8)
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        torch.testing.assert_close(ours(one, tensors), theirs(other, edge_index, edge_type), rtol=1e-4, atol=1e-5)
        ours(one, tensors).square().sum().backward()
        theirs(other, edge_index, edge_type).square().sum().backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


def test_sparse_features_give_what_dense_ones_give_and_only_stored_values_drop_out() -> None:
    dense = np.array([[0, 2, 0], [1, 0, 3], [0, 0, 0]], np.float32)
    row, col = np.nonzero(dense)
    matrix = SparseMatrix.from_entries(row, col, dense[row, col], (3, 3), torch.device("cpu"))
    weight = torch.randn(3, 4, requires_grad=True)
    torch.testing.assert_close(matrix.matmul(weight), torch.from_numpy(dense) @ weight)
    halved = matrix.matmul(weight, matrix.value * torch.tensor([1.0, 0.0, 1.0]))
    expected = torch.tensor([[0.0, 2, 0], [0, 0, 3], [0, 0, 0]]) @ weight
    torch.testing.assert_close(halved, expected)
    gradient = torch.autograd.grad(halved.sum(), weight)[0]
    torch.testing.assert_close(gradient, torch.tensor([[0.0] * 4, [2.0] * 4, [3.0] * 4]))


def test_dense_features_of_any_scale_come_out_standardised(made: type[Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    small = random.normal(size=(50, 2))
    stretched = small * np.array([1e-4, 1e5]) + np.array([0, 2e5])
    outputs = []
    for name, features in (("small", small), ("stretched", stretched)):
        (tmp_path / name).mkdir()
        graph = made(
            Task("node_class", "a", "p", ("x", "y")),
            {"a": 50},
            {("a", "r", "a"): np.array([[0, 1], [1, 2]])},
            {"a": [features]},
            labels=np.zeros(50, np.int64),
            split=np.ones(50),
        ).write(tmp_path / name)
        tensors = graph_tensors(graph, build_adjacency(graph, decide_relations(graph)))
        torch.manual_seed(0)
        model = RGCN(Dimensions((50,), ((2,),), 2, 2), Hyperparameters(num_hidden=4))
        model.encoder.standardise(tensors)
        outputs.append(model(tensors)[0])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-2, atol=1e-2)


def test_a_rare_category_is_not_blown_up() -> None:
    one_hot = torch.zeros(1000, 2)
    one_hot[:, 0], one_hot[0, 1] = 1, 1
    outlier = torch.zeros(1000, 1)
    outlier[0] = 7e6
    (shift, scale), (mean, deviation) = moments([one_hot, outlier])
    assert (shift == 0).all()
    assert (scale == 1).all()
    assert float((outlier[0] - mean) / deviation) <= 10
