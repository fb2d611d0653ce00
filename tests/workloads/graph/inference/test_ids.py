from pathlib import Path

import numpy as np
import pytest

from modelyard.workloads.graph.inference import ids as module
from modelyard.workloads.graph.inference.ids import NodeIds, write_index

_IDS = [["a", "b", "", "Zürich", "a\x00b"], ["a", "c", "\U0001f600" * 50]]


@pytest.fixture
def index(tmp_path: Path) -> NodeIds:
    write_index(tmp_path / "ids", _IDS)
    return NodeIds(tmp_path / "ids")


def test_every_id_is_found_and_given_back(index: NodeIds) -> None:
    flat = [*_IDS[0], *_IDS[1]]
    assert [index.id(row) for row in range(len(index))] == flat
    assert index.rows(_IDS[0], 0, 5).tolist() == [0, 1, 2, 3, 4]
    assert index.rows(_IDS[1], 5, 8).tolist() == [5, 6, 7]


def test_one_id_in_two_types_is_two_nodes(index: NodeIds) -> None:
    assert index.rows(["a"], 0, 5).tolist() == [0]
    assert index.rows(["a"], 5, 8).tolist() == [5]


def test_unknown_ids_have_no_row(index: NodeIds) -> None:
    assert index.rows(["x", "b", "\ud800", "c"], 0, 5).tolist() == [-1, 1, -1, -1]
    assert index.rows([], 0, 5).tolist() == []


def test_equal_hashes_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_hashes", lambda encoded: np.zeros(len(encoded), np.uint64))
    write_index(tmp_path, [["a", "b", "c"]])
    assert NodeIds(tmp_path).rows(["c", "a", "d"], 0, 3).tolist() == [2, 0, -1]


def test_pieces_of_a_type_make_one_index(tmp_path: Path) -> None:
    write_index(tmp_path, ([f"n{n}" for n in range(at, at + 1000)] for at in range(0, 5000, 1000)))
    index = NodeIds(tmp_path)
    assert index.rows(["n4999", "n0", "n5000"], 0, 5000).tolist() == [4999, 0, -1]
    assert index.id(1234) == "n1234"


def test_a_graph_without_nodes_has_an_index(tmp_path: Path) -> None:
    write_index(tmp_path, [])
    assert NodeIds(tmp_path).rows(["a"], 0, 0).tolist() == [-1]
