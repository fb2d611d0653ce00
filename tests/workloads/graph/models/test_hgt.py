from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.workloads.graph.one_type import copied
from torch_geometric.nn import HGTConv

from modelyard.workloads.graph.models.hgt import HGT, HGTLayer
from modelyard.workloads.graph.training.adjacency import build_adjacency
from modelyard.workloads.graph.training.tensors import graph_tensors

CHANNELS, HEADS = 8, 2


def test_layer_equals_that_of_pyg(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    graph = two_communities(people=60).write(tmp_path)
    relations = HGT.relations(graph, True)
    adjacency = build_adjacency(graph, relations)
    tensors = graph_tensors(graph, adjacency)
    names = [node_type.name for node_type in graph.node_types]
    offsets = torch.tensor([0, *tensors.num_nodes]).cumsum(0)
    edges, row, column = {}, torch.from_numpy(adjacency.row), torch.from_numpy(adjacency.col)
    for number, relation in enumerate(relations):
        edge_type = graph.edge_types[relation.edge_type]
        back = relation.direction == "reverse"
        source, dest = (edge_type.dest, edge_type.source) if back else (edge_type.source, edge_type.dest)
        here = (row >= adjacency.row_ptr[number]) & (row < adjacency.row_ptr[number + 1])
        pair = torch.stack([column[here], tensors.row_node[row[here]]])
        begin = torch.stack([offsets[names.index(source)], offsets[names.index(dest)]])
        edges[source, f"r{number}", dest] = pair - begin[:, None]

    torch.manual_seed(0)
    ours = HGTLayer(CHANNELS, len(names), len(relations), HEADS)
    theirs = HGTConv(CHANNELS, CHANNELS, (names, list(edges)), HEADS)
    for parameter in (ours.prior, ours.skip, ours.projection.bias, ours.out.bias):
        torch.nn.init.normal_(parameter)
    pairs = []
    for number, name in enumerate(names):
        pairs += [
            (theirs.kqv_lin.lins[name].weight, ours.projection.weight[number].t()),
            (theirs.kqv_lin.lins[name].bias, ours.projection.bias[number]),
            (theirs.out_lin.lins[name].weight, ours.out.weight[number].t()),
            (theirs.out_lin.lins[name].bias, ours.out.bias[number]),
            (theirs.skip[name], ours.skip[number]),
        ]
    for number, key in enumerate(edges):
        pairs.append((theirs.p_rel["__".join(key)], ours.prior[number]))
    # PyG numbers its matrices by head first, then by relation, and multiplies keys where we multiply queries.
    order = (HEADS * len(relations), CHANNELS // HEADS, CHANNELS // HEADS)
    pairs.append((theirs.k_rel.weight, ours.attention.transpose(0, 1).reshape(order)))
    pairs.append((theirs.v_rel.weight, ours.message.transpose(0, 1).reshape(order)))
    copied(pairs)

    x = torch.randn(adjacency.num_nodes, CHANNELS)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    given = ours(one, tensors)
    found = theirs(dict(zip(names, other.split(tensors.num_nodes), strict=True)), edges)
    expected = torch.cat([found[name] for name in names])
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(given)
    (given * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)
    message = theirs.v_rel.weight.grad.view(HEADS, len(relations), *order[1:]).transpose(0, 1)
    torch.testing.assert_close(ours.message.grad, message, rtol=1e-4, atol=1e-5)
