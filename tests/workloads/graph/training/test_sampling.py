from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.gnn import GNN, Dimensions
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training.adjacency import Adjacency, build_adjacency, decide_relations
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.sampling import ALL, NeighbourSampler, fanout_of_layers
from modelyard.workloads.graph.training.tensors import graph_tensors


def dimensions(graph: Graph, adjacency: Adjacency) -> Dimensions:
    return Dimensions(
        num_nodes=tuple(one.num_nodes for one in graph.node_types),
        feature_dims=tuple(tuple(feature.dim for feature in one.features) for one in graph.node_types),
        num_relations=len(adjacency.relations),
        out_channels=3,
    )


def built(name: str, graph: Graph, **settings: Any) -> tuple[GNN, Adjacency]:
    kind = cast("type[GNN]", model_class(name))
    adjacency = build_adjacency(graph, kind.relations(graph, use_self_loop=True))
    torch.manual_seed(0)
    hyperparameters = Hyperparameters(num_hidden=8, **settings)
    return kind(dimensions(graph, adjacency), hyperparameters, bool(adjacency.own.any())), adjacency


@pytest.fixture
def graph(two_communities: Callable[..., Any], tmp_path: Path) -> Graph:
    made: Graph = two_communities(people=80).write(tmp_path / "graph")
    return made


def compare(model: GNN, graph: Graph, adjacency: Adjacency, seeds: np.ndarray) -> None:
    """Outputs and gradients of the seeds: of the whole graph, and of a sample that leaves nothing out."""
    parameters = list(model.parameters())
    whole = model(graph_tensors(graph, adjacency))[0][torch.from_numpy(seeds)]
    expected = torch.autograd.grad(whole.square().sum(), parameters)
    fanout = [int(np.bincount(adjacency.row).max())] * len(model.layers)
    for every in (fanout, [ALL] * len(model.layers)):
        sample = NeighbourSampler(graph, adjacency, 0).sample(seeds, every)
        sampled = model(sample.tensors)[0]
        torch.testing.assert_close(sampled, whole, rtol=1e-5, atol=1e-5)
        found = torch.autograd.grad(sampled.square().sum(), parameters)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"num_bases": 1}, {"num_layer": 3, "layer_norm": True}])
def test_a_sample_that_leaves_nothing_out_gives_what_the_whole_graph_gives(
    graph: Graph, settings: dict[str, Any]
) -> None:
    model, adjacency = built("rgcn", graph, **settings)
    compare(model, graph, adjacency, np.array([3, 7, 79, 85]))


def test_every_model_of_one_type_runs_on_samples(cora: Graph) -> None:
    for name in ("rgcn", "gcn", "sage", "gat"):
        model, adjacency = built(name, cora)
        compare(model, cora, adjacency, np.arange(0, 2708, 400))


def test_attention_over_many_types_runs_on_samples(graph: Graph) -> None:
    model, adjacency = built("hgt", graph)
    compare(model, graph, adjacency, np.array([0, 50, 90]))


def test_each_layer_gives_the_nodes_that_the_next_one_takes(graph: Graph) -> None:
    adjacency = build_adjacency(graph, decide_relations(graph))
    seeds = np.array([3, 50])
    sample = NeighbourSampler(graph, adjacency, 0).sample(seeds, [2, 2, 2])
    first, second, third = sample.tensors.layers
    assert first.num_nodes == sample.tensors.num_nodes
    assert first.outputs_of_types == second.num_nodes
    assert second.outputs_of_types == third.num_nodes
    assert len(sample.nodes) > first.num_outputs > second.num_outputs > third.num_outputs == len(seeds)
    reached = sample.nodes
    for layer in sample.tensors.layers:
        assert layer.outputs is not None
        reached = reached[layer.outputs.places]
    np.testing.assert_array_equal(reached, seeds)


def test_each_row_gives_at_most_its_fanout_and_never_an_entry_twice(graph: Graph) -> None:
    adjacency = build_adjacency(graph, decide_relations(graph))
    degree = np.bincount(adjacency.row)
    sampler = NeighbourSampler(graph, adjacency, 0)
    seeds = np.arange(graph.node_types[0].num_nodes)
    sample = sampler.sample(seeds, [3])
    tensors = sample.tensors
    row, col = tensors.matrix.pattern.as_tensor().numpy()
    assert (np.bincount(row) <= 3).all()
    assert len(np.unique(np.stack([row, col]), axis=1).T) == len(row)
    assert len(row) == np.minimum(degree, 3)[adjacency.row_node < graph.node_types[0].num_nodes].sum()
    ends = {(int(sample.nodes[c]), int(seeds[tensors.row_node[r]])) for r, c in zip(row, col, strict=True)}
    whole = set(zip(adjacency.col.tolist(), adjacency.row_node[adjacency.row].tolist(), strict=True))
    assert ends <= whole


def test_the_mean_over_many_samples_is_the_whole_sum(graph: Graph) -> None:
    adjacency = build_adjacency(graph, decide_relations(graph))
    x = torch.randn(adjacency.num_nodes, 2)
    whole = graph_tensors(graph, adjacency)
    node = int(np.bincount(adjacency.row_node[adjacency.row]).argmax())
    expected = whole.matrix.matmul(x)[whole.row_node == node]
    sampler, found = NeighbourSampler(graph, adjacency, 0), []
    for _ in range(1000):
        sample = sampler.sample(np.array([node]), [4], features=False)
        found.append(sample.tensors.matrix.matmul(x[torch.from_numpy(sample.nodes)]))
    torch.testing.assert_close(torch.stack(found).mean(0), expected, rtol=0.1, atol=0.06)


def test_the_seed_decides_every_sample(graph: Graph) -> None:
    adjacency = build_adjacency(graph, decide_relations(graph))

    def drawn(seed: int) -> list[np.ndarray]:
        sampler = NeighbourSampler(graph, adjacency, seed)
        return [sampler.sample(np.arange(5), [2, 2]).nodes for _ in range(3)]

    for one, other in zip(drawn(1), drawn(1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(len(one) != len(other) or (one != other).any() for one, other in zip(drawn(1), drawn(2), strict=True))


def test_hidden_edges_carry_no_message_in_either_direction(graph: Graph) -> None:
    adjacency = build_adjacency(graph, tuple(r for r in decide_relations(graph) if r.direction != "merged"))
    people = graph.node_types[0].num_nodes
    number = adjacency.relations[0].edge_type
    edges = graph.edges(number)["edge_index"]
    offset = people if graph.edge_types[number].dest == "good" else 0
    hidden = np.stack([np.full(5, number), edges[0, :5], edges[1, :5] + offset])
    seeds = np.unique(hidden[1:])
    sample = NeighbourSampler(graph, adjacency, 0).sample(seeds, [ALL], hidden)
    row, col = sample.tensors.matrix.pattern.as_tensor().numpy()
    there = set(zip(sample.nodes[col].tolist(), seeds[sample.tensors.row_node[row]].tolist(), strict=True))
    gone = set(zip(*hidden[1:].tolist(), strict=True))
    assert not there & (gone | {(dest, source) for source, dest in gone})
    sums = torch.zeros(len(sample.tensors.row_node)).index_add(0, torch.from_numpy(row), sample.tensors.matrix.value)
    torch.testing.assert_close(sums[sums > 0], torch.ones(int((sums > 0).sum())))


def test_blocks_hold_every_node_once(graph: Graph) -> None:
    adjacency = build_adjacency(graph, decide_relations(graph))
    blocks = NeighbourSampler(graph, adjacency, 0).blocks(50)
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(adjacency.num_nodes))


def test_a_fanout_is_stretched_to_the_number_of_layers() -> None:
    assert fanout_of_layers(5, 2) == (5, 5)
    assert fanout_of_layers([10, 15, 20], 2) == (10, 15)
    assert fanout_of_layers([10, 15], 3) == (10, 15, 15)
