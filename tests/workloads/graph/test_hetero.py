from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch_geometric.transforms import ToUndirected

from modelyard.workloads.graph.data import Graph, Task
from modelyard.workloads.graph.hetero import load_graph, load_info, message_edges

KNOWS, BUYS = ("person", "knows", "person"), ("person", "buys", "good")


@pytest.fixture
def graph(two_communities: Any, tmp_path: Path) -> Graph:
    graph: Graph = two_communities(people=50).write(tmp_path / "graph")
    return graph


@pytest.fixture
def links(made: Any, tmp_path: Path) -> Graph:
    """Three people who like each other; one such edge is for validation, one for the test."""
    graph: Graph = made(
        task=Task("link_predict"),
        nodes={"person": 3},
        edges={("person", "likes", "person"): np.array([[0, 1, 2, 0], [1, 2, 0, 2]])},
        edge_split={("person", "likes", "person"): np.array([1, 2, 3, 1])},
    ).write(tmp_path / "links")
    return graph


def test_nodes_have_features_labels_and_masks(graph: Graph) -> None:
    data = load_graph(graph.folder)
    arrays = graph.labels()

    assert data.node_types == ["person", "good"]
    assert (data["person"].num_nodes, data["good"].num_nodes) == (50, 20)
    assert data["person"].x.numpy() == pytest.approx(graph.features(0)["0"])
    assert "x" not in data["good"]
    assert (data["person"].y.numpy() == arrays["labels"]).all()
    for mask, part in (("train_mask", 1), ("valid_mask", 2), ("test_mask", 3)):
        assert (data["person"][mask].numpy() == (arrays["split"] == part)).all()
    data.validate()


def test_reverse_relations_have_the_names_that_pyg_gives_them(graph: Graph) -> None:
    data = load_graph(graph.folder)
    theirs = ToUndirected(merge=False)(load_graph(graph.folder, reverse=False))

    assert set(data.edge_types) == set(theirs.edge_types)
    for key in data.edge_types:
        assert torch.equal(data[key].edge_index, theirs[key].edge_index)
    assert load_graph(graph.folder, reverse=False).edge_types == [KNOWS, BUYS]


def test_features_stand_side_by_side_dense_or_not(made: Any, tmp_path: Path) -> None:
    wide, narrow = np.eye(4, 3, dtype=np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)
    graph = made(Task("link_predict"), {"a": 4}, {}, features={"a": [wide, narrow]}, sparse={"a": [True, False]}).write(
        tmp_path / "graph"
    )

    assert load_graph(graph.folder)["a"].x.numpy().tolist() == np.hstack([wide, narrow]).tolist()
    assert load_info(graph.folder).columns("a") == {"feature0": range(3), "feature1": range(3, 5)}


def test_held_out_edges_pass_no_messages_either_way(links: Graph) -> None:
    data = load_graph(links.folder)
    passing = message_edges(data)

    assert passing["person", "likes", "person"].tolist() == [[0, 0], [1, 2]]
    assert passing["person", "rev_likes", "person"].tolist() == [[1, 2], [0, 0]]
    assert load_info(links.folder).targets == (("person", "likes", "person"),)


def test_edge_labels_and_features_are_the_edge_types_own(made: Any, tmp_path: Path) -> None:
    key = ("a", "x", "a")
    task = Task("edge_class", property="kind", classes=("p", "q"), edge_type=key)
    graph = made(task, {"a": 2}, {key: np.array([[0, 1], [1, 0]])}, edge_split={key: np.array([1, 2])}).write(
        tmp_path / "graph"
    )
    file = graph.folder / "edges" / "0.safetensors"
    more = {"labels": np.array([1, 0]), "features": np.ones((2, 3), np.float32)}
    save_file({**load_file(file), **more}, file)
    data = load_graph(graph.folder)

    assert data[key].y.tolist() == [1, 0]
    assert data[key].edge_attr.shape == (2, 3)
    assert "y" not in data["a", "rev_x", "a"]
    assert load_info(graph.folder).target_etype == key


def test_the_info_says_what_numbers_stand_for(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_DATA_DIR", str(graph.folder))
    info = load_info()

    assert (info.task, info.target_ntype, info.property) == ("node_class", "person", "group")
    assert info.label_map == {0: "a", 1: "b"}
    assert info.node_ids("good")[:2] == ["good-0", "good-1"]


def test_without_a_folder_it_says_which_variables_name_one() -> None:
    with pytest.raises(ValueError, match="SM_CHANNEL_TRAIN"):
        load_graph()


def test_arrays_are_mapped_and_writing_to_them_stays_here(graph: Graph) -> None:
    data = load_graph(graph.folder)
    data["person"].x.zero_()

    assert load_graph(graph.folder)["person"].x.abs().sum() > 0
