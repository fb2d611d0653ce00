from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.transforms import RandomLinkSplit, ToUndirected

from modelyard.workloads.graph.data import Graph, Task
from modelyard.workloads.graph.hetero import load_graph, load_info, message_edges, split_edges

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
    graph = made(
        task=Task("edge_class", property="kind", classes=("p", "q"), edge_type=key),
        nodes={"a": 2},
        edges={key: np.array([[0, 1], [1, 0]])},
        edge_split={key: np.array([1, 2])},
        edge_features={key: np.ones((2, 3))},
        edge_labels=np.array([1, 0]),
    ).write(tmp_path / "graph")
    data = load_graph(graph.folder)

    assert data[key].y.tolist() == [1, 0]
    assert data[key].edge_attr.shape == (2, 3)
    assert "y" not in data["a", "rev_x", "a"]
    assert load_info(graph.folder).target_etype == key
    assert load_info(graph.folder).columns(key) == {"feature0": range(3)}


class TestSplitEdges:
    RATED = ("person", "rated", "film")

    @pytest.fixture
    def rated(self, made: Any, tmp_path: Path) -> Graph:
        """Five ratings of three people, the last without a label, and one friendship."""
        graph: Graph = made(
            task=Task("edge_class", property="verdict", classes=("bad", "good"), edge_type=self.RATED),
            nodes={"person": 3, "film": 2},
            edges={
                ("person", "knows", "person"): np.array([[0], [1]]),
                self.RATED: np.array([[0, 1, 2, 0, 1], [0, 1, 0, 1, 0]]),
            },
            edge_split={self.RATED: np.array([1, 2, 3, 1, 0])},
            edge_features={self.RATED: np.arange(10).reshape(5, 2)},
            edge_labels=np.array([0, 1, 1, 0, -1]),
        ).write(tmp_path / "rated")
        return graph

    def test_each_part_has_its_edges_their_labels_and_their_features(self, rated: Graph) -> None:
        parts = split_edges(load_graph(rated.folder), load_info(rated.folder))
        stores = [part[self.RATED] for part in parts]

        assert [store.edge_label_index.tolist() for store in stores] == [[[0, 0], [0, 1]], [[1], [1]], [[2], [0]]]
        assert [store.edge_label.tolist() for store in stores] == [[0, 0], [1], [1]]
        assert [store.edge_label_attr.tolist() for store in stores] == [[[0, 1], [6, 7]], [[2, 3]], [[4, 5]]]

    def test_only_edges_of_the_training_and_without_a_label_pass_messages(self, rated: Graph) -> None:
        data = load_graph(rated.folder)
        for part in split_edges(data, load_info(rated.folder)):
            assert part[self.RATED].edge_index.tolist() == [[0, 0, 1], [0, 1, 0]]
            assert part["film", "rev_rated", "person"].edge_index.tolist() == [[0, 1, 0], [0, 0, 1]]
            assert part["film", "rev_rated", "person"].edge_attr[:, 0].tolist() == [0, 6, 8]
            assert "edge_label" not in part["film", "rev_rated", "person"]
            assert part["person", "knows", "person"].num_edges == 1
            assert part.validate()
        assert data[self.RATED].num_edges == 5

    def test_attributes_have_the_names_that_pyg_gives_them(self, rated: Graph) -> None:
        data, back = load_graph(rated.folder), ("film", "rev_rated", "person")
        ours, *_ = split_edges(data, load_info(rated.folder))
        for name in ("y", "train_mask", "valid_mask", "test_mask"):
            for key in {self.RATED, back} & {key for key in data.edge_types if name in data[key]}:
                del data[key][name]
        theirs, *_ = RandomLinkSplit(1, 1, edge_types=self.RATED, rev_edge_types=back, neg_sampling_ratio=0.0)(data)

        assert set(ours[self.RATED].keys()) == {*theirs[self.RATED].keys(), "edge_label_attr"}
        assert set(ours[back].keys()) == set(theirs[back].keys())

    def test_links_that_are_there_have_the_label_one(self, links: Graph) -> None:
        _, valid, _ = split_edges(load_graph(links.folder), load_info(links.folder))
        assert valid["person", "likes", "person"].edge_label.tolist() == [1.0]
        assert valid["person", "likes", "person"].edge_label_index.tolist() == [[1], [2]]


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
