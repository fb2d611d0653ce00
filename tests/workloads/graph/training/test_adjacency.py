from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.workloads.graph.data import TEST, VALID, Graph, Task
from modelyard.workloads.graph.training.adjacency import (
    Adjacency,
    Relation,
    build_adjacency,
    decide_relations,
    read_adjacency,
)

LINKS = Task("link_predict")


def messages(graph: Graph) -> Adjacency:
    return build_adjacency(graph, decide_relations(graph))


def pairs(adjacency: Adjacency, relation: int) -> set[tuple[int, int]]:
    """(source, destination) of each edge of a relation, self-loops left out."""
    rows = slice(*np.searchsorted(adjacency.row, adjacency.row_ptr[relation : relation + 2]))
    source, dest = adjacency.col[rows], adjacency.row_node[adjacency.row[rows]]
    return {(int(s), int(d)) for s, d in zip(source, dest, strict=True) if s != d}


def dense(adjacency: Adjacency, relation: int) -> np.ndarray:
    matrix = np.zeros((adjacency.num_nodes, adjacency.num_nodes))
    rows = slice(*np.searchsorted(adjacency.row, adjacency.row_ptr[relation : relation + 2]))
    matrix[adjacency.row_node[adjacency.row[rows]], adjacency.col[rows]] = adjacency.value[rows]
    return matrix


def test_a_single_relation_has_a_row_for_nodes_without_neighbours(made: type[Any], tmp_path: Path) -> None:
    graph = made(LINKS, {"p": 4}, {("p", "knows", "p"): np.array([[0, 1], [1, 0]])}).write(tmp_path)
    adjacency = build_adjacency(graph, (Relation(0, "merged"),))
    assert adjacency.row_ptr.tolist() == [0, 4]
    assert adjacency.row_node.tolist() == [0, 1, 2, 3]
    assert dense(adjacency, 0).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]


def test_each_direction_takes_the_mean_over_neighbours(made: type[Any], tmp_path: Path) -> None:
    edges = np.array([[0, 1, 1], [0, 0, 1]])
    task = Task("node_class", "a", "p", ("x", "y"))
    graph = made(task, {"a": 2, "b": 2}, {("a", "r", "b"): edges}, labels=np.zeros(2, int), split=np.ones(2))
    adjacency = messages(graph.write(tmp_path))
    assert adjacency.relations == (Relation(0, "forward"), Relation(0, "reverse"))
    expected = np.zeros((4, 4))
    expected[2, [0, 1]], expected[3, 1] = 0.5, 1
    assert dense(adjacency, 0) == pytest.approx(expected)
    back = np.zeros((4, 4))
    back[0, 2], back[1, [2, 3]] = 1, 0.5
    assert dense(adjacency, 1) == pytest.approx(back)
    assert adjacency.own.all()


def test_an_edge_set_that_is_its_own_reverse_is_one_relation(made: type[Any], tmp_path: Path) -> None:
    edges = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])
    task = Task("node_class", "a", "p", ("x", "y"))
    graph = made(task, {"a": 3}, {("a", "r", "a"): edges}, labels=np.zeros(3, int), split=np.ones(3)).write(tmp_path)
    adjacency = messages(graph)
    assert adjacency.relations == (Relation(0, "merged", self_loops=False),)
    half = 1 / np.sqrt(2)
    assert dense(adjacency, 0) == pytest.approx(np.array([[0, half, 0], [half, 0, half], [0, half, 0]]))
    assert adjacency.own.all()


@pytest.mark.parametrize("alike", [True, False])
def test_directions_merge_where_labels_are_alike_across_edges(made: type[Any], tmp_path: Path, alike: bool) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    source, dest = random.integers(0, 100, (2, 600))
    wanted = (labels[source] == labels[dest]) == alike
    edges = np.stack([np.minimum(source, dest), np.maximum(source, dest)])[:, wanted & (source != dest)]
    task = Task("node_class", "a", "p", ("x", "y"))
    graph = made(task, {"a": 100}, {("a", "r", "a"): edges}, labels=labels, split=np.arange(100) % 2 + 1)
    adjacency = messages(graph.write(tmp_path))
    if alike:
        assert adjacency.relations == (Relation(0, "merged", self_loops=True),)
        assert not adjacency.own.any()
        matrix = dense(adjacency, 0)
        assert matrix == pytest.approx(matrix.T)
        assert (np.diag(matrix) > 0).all()
    else:
        assert [relation.direction for relation in adjacency.relations] == ["forward", "reverse"]


def test_labels_of_test_nodes_decide_nothing(made: type[Any], tmp_path: Path) -> None:
    labels = np.repeat([0, 1], 50)
    edges = np.stack([np.arange(99), np.arange(1, 100)])
    task = Task("node_class", "a", "p", ("x", "y"))
    split = np.full(100, TEST)
    graph = made(task, {"a": 100}, {("a", "r", "a"): edges}, labels=labels, split=split).write(tmp_path)
    assert [relation.direction for relation in decide_relations(graph)] == ["forward", "reverse"]


def test_without_self_loops_no_node_sees_itself(cora: Graph) -> None:
    adjacency = build_adjacency(cora, decide_relations(cora, use_self_loop=False), use_self_loop=False)
    assert not adjacency.own.any()
    assert (adjacency.col != adjacency.row_node[adjacency.row]).all()


def test_held_out_edges_and_their_reverses_carry_no_message(umls: Graph) -> None:
    adjacency = messages(umls)
    for number, relation in enumerate(adjacency.relations):
        arrays = umls.edges(relation.edge_type)
        held = arrays["edge_index"][:, np.isin(arrays["split"], (VALID, TEST))]
        there = {(int(s), int(d)) for s, d in held.T}
        hidden = there | {(d, s) for s, d in there}
        assert not pairs(adjacency, number) & hidden


def test_copies_of_held_out_edges_in_another_edge_type_carry_no_message(made: type[Any], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    edges = np.unique(random.integers(0, 30, (2, 200)), axis=1)
    split = np.where(np.arange(edges.shape[1]) % 5 == 0, TEST, 1)
    split[1::5] = VALID
    other = np.unique(random.integers(0, 30, (2, 200)), axis=1)
    graph = made(
        LINKS,
        {"author": 30, "paper": 30},
        {
            ("author", "writes", "paper"): edges,
            ("paper", "written by", "author"): edges[::-1],
            ("author", "signs", "paper"): edges[:, ::-1],
            ("paper", "praises", "author"): other,
        },
        edge_split={("author", "writes", "paper"): split},
    ).write(tmp_path)
    adjacency = messages(graph)
    hidden = {(int(s), int(d) + 30) for s, d in edges[:, split != 1].T}
    for number, relation in enumerate(adjacency.relations):
        found = pairs(adjacency, number) | {(d, s) for s, d in pairs(adjacency, number)}
        if relation.edge_type < 3:
            assert not found & hidden
            assert len(pairs(adjacency, number)) == (split == 1).sum()
        else:
            assert len(pairs(adjacency, number)) == other.shape[1]


def test_what_is_written_is_read(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    adjacency = messages(two_communities().write(tmp_path / "graph"))
    adjacency.write(tmp_path / "adjacency.safetensors")
    again = read_adjacency(tmp_path / "adjacency.safetensors")
    assert again.relations == adjacency.relations
    for name in ("row", "col", "value", "row_ptr", "row_node", "own"):
        np.testing.assert_array_equal(getattr(again, name), getattr(adjacency, name))


def test_a_trained_models_relations_are_kept_on_a_newer_graph(
    two_communities: Callable[..., Any], tmp_path: Path
) -> None:
    graph = two_communities().write(tmp_path)
    relations = tuple(replace(relation, self_loops=False) for relation in decide_relations(graph))
    assert build_adjacency(graph, relations).relations == relations
