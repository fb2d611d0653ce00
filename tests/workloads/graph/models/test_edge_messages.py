from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modelyard.workloads.graph.data import Graph, Task
from modelyard.workloads.graph.models.edge_messages import EdgeMessages
from modelyard.workloads.graph.models.rgcn import RGCN, RGCNLayer
from modelyard.workloads.graph.training.adjacency import Adjacency, build_adjacency, decide_relations, node_offsets
from modelyard.workloads.graph.training.checkpoint import read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.edge_features import edge_parts, part_moments, read_parts, with_edge_features
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import objective_for
from modelyard.workloads.graph.training.sampling import ALL, NeighbourSampler
from modelyard.workloads.graph.training.tensors import GraphTensors, graph_tensors
from modelyard.workloads.graph.training.train import Evaluation, dimensions_of, fit

CPU = torch.device("cpu")
PEOPLE, GOODS, CHANNELS, OUT = 12, 5, 6, 4
KNOWS, BUYS, LIKES = ("person", "knows", "person"), ("person", "buys", "good"), ("person", "likes", "good")


def mixed(made: type[Any], folder: Path) -> Graph:
    """A relation that is its own reverse, with copies and loops; one between two types, with copies; one bare."""
    random = np.random.default_rng(0)
    pairs = random.integers(0, PEOPLE, (2, 14))
    knows = np.concatenate([pairs, pairs[::-1], pairs[:, :3], [[4], [4]]], axis=1)
    buys = np.stack([random.integers(0, PEOPLE, 20), random.integers(0, GOODS, 20)])
    buys = np.concatenate([buys, buys[:, :4]], axis=1)
    likes = np.stack([random.integers(0, PEOPLE, 9), random.integers(0, GOODS, 9)])
    task = Task("node_class", "good", "kind", ("a", "b"))
    graph: Graph = made(
        task,
        {"person": PEOPLE, "good": GOODS},
        {LIKES: likes, KNOWS: knows, BUYS: buys},
        edge_features={
            KNOWS: random.normal(size=(knows.shape[1], 2)) * 3 + 5,
            BUYS: random.normal(size=(buys.shape[1], 3)),
        },
        labels=np.array([0, 1, 0, 1, 0]),
        split=np.array([1, 1, 2, 3, 1]),
    ).write(folder)
    return graph


def with_edges(graph: Graph, adjacency: Adjacency) -> GraphTensors:
    return with_edge_features(graph_tensors(graph, adjacency), graph, adjacency)


def slowly(graph: Graph, adjacency: Adjacency, layer: RGCNLayer, messages: EdgeMessages, x: Tensor) -> Tensor:
    """The layer's formula, one message after the other, from the raw edges."""
    offsets, weight, out = node_offsets(graph), layer.weight, torch.zeros(len(x), OUT)
    part = 0
    for number, relation in enumerate(adjacency.relations):
        ends, arrays = graph.edge_types[relation.edge_type], graph.edges(relation.edge_type)
        begin = [int(offsets[graph.node_type_index(name)]) for name in (ends.source, ends.dest)]
        edges = [(a + begin[0], b + begin[1], row) for row, (a, b) in enumerate(arrays["edge_index"].T.tolist())]
        along = [(a, b, row, part) for a, b, row in edges]
        against = [(b, a, row, part) for a, b, row in edges]
        merged = [*along, *((b, a, row, part + 1) for a, b, row in edges)]
        sent = {"forward": along, "reverse": against, "merged": merged}[relation.direction]
        neighbours = {i: {j for j, to, *_ in sent if to == i} for i in range(len(x))}
        for j, i, row, of in sent:
            copies = [one for one in sent if one[:2] == (j, i)]
            if relation.direction == "merged":
                share = 1 / np.sqrt(len(neighbours[i]) * len(neighbours[j])) / len(copies)
            else:
                share = 1 / len([one for one in sent if one[1] == i])
            message = x[j]
            if "features" in arrays:
                projection = messages.projections[of]
                features = (torch.from_numpy(arrays["features"][row]) - projection.mean) / projection.deviation
                hidden = projection.linear(features).relu()
                gate = 2 * torch.sigmoid(messages.gate.weight @ hidden + messages.gate.bias)
                message = gate * x[j] + messages.shift.weight @ hidden
            out[i] += share * (message @ weight[number])
        if "features" in arrays:
            part += 2 if relation.direction == "merged" else 1
    assert layer.self_weight is not None
    return out + x @ layer.self_weight + layer.bias


def test_messages_are_those_of_a_plain_loop(made: type[Any], tmp_path: Path) -> None:
    graph = mixed(made, tmp_path)
    relations = decide_relations(graph)
    assert [one.direction for one in relations] == ["forward", "reverse", "merged", "forward", "reverse"]
    parts = edge_parts(graph, relations)
    assert parts == ((2, 2), (2, 2), (3, 3), (4, 3))
    adjacency = build_adjacency(graph, relations)
    torch.manual_seed(0)
    messages = EdgeMessages(parts, CHANNELS, 7)
    messages.standardise(part_moments(graph, relations))
    layer = RGCNLayer(CHANNELS, OUT, len(relations), edges=messages)
    x = torch.randn(PEOPLE + GOODS, CHANNELS)
    with torch.no_grad():
        ours, plain = layer(x, with_edges(graph, adjacency)), slowly(graph, adjacency, layer, messages, x)
        layer.edges = None
        bare = layer(x, with_edges(graph, adjacency))
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours, bare, atol=1e-2)


def test_held_out_edges_send_nothing_and_the_others_keep_their_features(made: type[Any], tmp_path: Path) -> None:
    edges = np.array([[0, 1, 2, 1, 3], [1, 2, 3, 0, 0]])
    graph = made(
        Task("link_predict"),
        {"p": 4},
        {("p", "k", "p"): edges},
        edge_features={("p", "k", "p"): np.arange(5.0)[:, None]},
        edge_split={("p", "k", "p"): np.array([2, 1, 3, 2, 1])},
    ).write(tmp_path)
    adjacency = build_adjacency(graph, decide_relations(graph))
    for part, block in zip(read_parts(graph, adjacency), with_edges(graph, adjacency).edges, strict=True):
        assert sorted(part.edge.tolist()) == [1, 4]
        forward = adjacency.relations[part.relation].direction == "forward"
        sent = {(int(col), float(block.features[edge, 0])) for col, edge in zip(block.col, block.edge, strict=True)}
        assert sent == ({(1, 1.0), (3, 4.0)} if forward else {(2, 1.0), (0, 4.0)})


def test_a_sample_with_all_neighbours_is_the_whole_graph(made: type[Any], tmp_path: Path) -> None:
    graph = mixed(made, tmp_path)
    adjacency = build_adjacency(graph, decide_relations(graph))
    settings = Hyperparameters(num_hidden=CHANNELS, use_edge_features=True, edge_num_hidden=5)
    objective = objective_for(graph, settings, CPU)
    model = RGCN(dimensions_of(graph, adjacency, objective, use_edge_features=True), settings).eval()
    sampler = NeighbourSampler(graph, adjacency, 0, edge_parts=read_parts(graph, adjacency))
    seeds = np.array([1, 4, PEOPLE, PEOPLE + 3])
    with torch.no_grad():
        whole = model(with_edges(graph, adjacency))[0]
        sample = sampler.sample(seeds, (ALL, ALL))
        sampled = model(sample.tensors)[0]
    torch.testing.assert_close(sampled, whole[torch.from_numpy(seeds)], atol=1e-5, rtol=1e-5)


def trusting(made: type[Any], folder: Path, people: int = 400) -> Graph:
    """Who a person agrees with: the side of those neighbours whose edge says that they are trusted."""
    random = np.random.default_rng(0)
    edges = random.integers(0, people, (2, people * 6))
    side, trust = np.where(random.random(people) < 0.5, -1.0, 1.0), random.normal(size=(people * 6, 2))
    votes = np.bincount(edges[1], side[edges[0]] * (trust[:, 0] > 0), people)
    graph: Graph = made(
        Task("node_class", "p", "vote", ("no", "yes")),
        {"p": people},
        {("p", "hears", "p"): edges},
        {"p": [side[:, None]]},
        edge_features={("p", "hears", "p"): trust},
        labels=(votes > 0).astype(np.int64),
        split=np.resize([1, 1, 1, 2, 3], people),
    ).write(folder)
    return graph


def on_test(graph: Graph, settings: Hyperparameters, folder: Path) -> float:
    adjacency = build_adjacency(graph, decide_relations(graph))
    checkpoint, _ = fit(graph, adjacency, settings, Evaluation("acc"))
    write_checkpoint(checkpoint, folder)
    objective = objective_for(graph, settings, CPU)
    with torch.no_grad():
        output = read_checkpoint(folder).restore(objective.decoder)(with_edges(graph, adjacency))[0]
    report = objective.report(output, 3)
    assert report is not None
    return float(report["accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize("fanout", [None, (20, 20)])
def test_what_only_features_of_edges_tell_is_learned(made: type[Any], tmp_path: Path, fanout: Any) -> None:
    graph = trusting(made, tmp_path / "graph")
    settings = Hyperparameters(
        num_hidden=16, num_layer=1, num_epochs=60, lr=0.02, dropout=0.1, enable_early_stop=False, fanout=fanout
    )
    with_features = on_test(graph, replace(settings, use_edge_features=True), tmp_path / "1")
    assert with_features >= 0.85
    assert on_test(graph, settings, tmp_path / "2") <= with_features - 0.1


def test_features_take_part_only_where_they_are_asked_for(
    made: type[Any], two_communities: Callable[..., Any], tmp_path: Path
) -> None:
    graph = mixed(made, tmp_path / "1")
    adjacency = build_adjacency(graph, decide_relations(graph))
    objective = objective_for(graph, Hyperparameters(), CPU)
    assert dimensions_of(graph, adjacency, objective).edge_parts == ()
    bare = two_communities().write(tmp_path / "2")
    checkpoint, _ = fit(
        bare,
        build_adjacency(bare, decide_relations(bare)),
        Hyperparameters(num_hidden=4, num_epochs=1, use_edge_features=True),
        Evaluation("acc"),
    )
    assert not any(".edges." in name for name in checkpoint.weights)
