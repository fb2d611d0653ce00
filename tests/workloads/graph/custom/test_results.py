import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.graph.custom import results
from modelyard.workloads.graph.data import Graph, Task


@pytest.fixture
def graph(two_communities: Any, tmp_path: Path) -> Graph:
    graph: Graph = two_communities(people=50).write(tmp_path / "graph")
    return graph


def left(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "result.npz", allow_pickle=True, **arrays)
    return folder


class Surprise:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/surprise",)


class TestScores:
    def test_probabilities_stay_as_they_are(self, graph: Graph, tmp_path: Path) -> None:
        scores = np.tile([0.5, 0.25], (50, 1))
        found = results.scores(left(tmp_path, infer_scores=scores), graph)
        assert found.dtype == np.float32
        assert (found == scores).all()

    def test_logits_become_probabilities(self, graph: Graph, tmp_path: Path) -> None:
        logits = np.tile([900.0, 901.0], (50, 1))
        found = results.scores(left(tmp_path, infer_scores=logits), graph)
        assert found[0] == pytest.approx([0.26894143, 0.7310586])

    def test_values_may_have_one_dimension_or_two(self, made: Any, tmp_path: Path) -> None:
        graph = made(
            Task("node_regression", "a", "size"), {"a": 3}, {}, labels=np.zeros(3, np.float32), split=np.zeros(3)
        ).write(tmp_path / "graph")
        for shape in ((3,), (3, 1)):
            found = results.scores(left(tmp_path, infer_scores=np.arange(3.0).reshape(shape)), graph)
            assert found.tolist() == [[0.0], [1.0], [2.0]]

    def test_columns_may_lie_one_after_another(self, graph: Graph, tmp_path: Path) -> None:
        scores = np.random.default_rng(0).random((50, 2)).astype(np.float32)
        found = results.scores(left(tmp_path, infer_scores=np.asfortranarray(scores)), graph)
        assert (found == scores).all()

    @pytest.mark.parametrize(
        ("array", "reason"),
        [
            (np.full((50, 2), np.nan), "100 of its numbers are not finite"),
            (np.ones((50, 3)), r"its shape is \[50, 3\]"),
            (np.ones(50), r"its shape is \[50\]"),
            (np.array([["a", "b"]] * 50), "numbers are wanted"),
            (np.array([[Surprise(), Surprise()]] * 50, dtype=object), "numbers are wanted, not object"),
        ],
    )
    def test_other_arrays_are_refused(self, array: np.ndarray, reason: str, graph: Graph, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=reason):
            results.scores(left(tmp_path, infer_scores=array), graph)
        assert not Path("/tmp/surprise").exists()

    @pytest.mark.parametrize("name", ["scores", "infer_scores/../x"])
    def test_an_archive_without_the_array_is_refused(self, name: str, graph: Graph, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "result.npz", "w") as archive:
            archive.writestr(f"{name}.npy", b"")
        with pytest.raises(InputError, match="no array infer_scores"):
            results.scores(tmp_path, graph)

    @pytest.mark.parametrize(
        "content", [b"", b"PK\x03\x04", pickle.dumps(Surprise()), b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000]
    )
    def test_no_archive_is_refused(self, content: bytes, graph: Graph, tmp_path: Path) -> None:
        (tmp_path / "result.npz").write_bytes(content)
        with pytest.raises(InputError):
            results.scores(tmp_path, graph)

    def test_an_array_that_says_it_is_huge_takes_no_memory(self, graph: Graph, tmp_path: Path) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"shape": (50, 2), "fortran_order": False, "descr": "<f8"})
        with zipfile.ZipFile(tmp_path / "result.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("infer_scores.npy", header.getvalue() + bytes(1 << 28))
        assert results.scores(tmp_path, graph).shape == (50, 2)

    def test_a_link_is_not_followed(self, graph: Graph, tmp_path: Path) -> None:
        left(tmp_path, infer_scores=np.ones((50, 2)))
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "result.npz").symlink_to(tmp_path / "result.npz")
        with pytest.raises(InputError, match=r"left no result\.npz"):
            results.scores(tmp_path / "model", graph)

    def test_a_pipe_holds_nobody_up(self, graph: Graph, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "result.npz")
        with pytest.raises(InputError, match="no plain file"):
            results.scores(tmp_path, graph)


class TestEdges:
    """Five nodes of two types; three edges of the type that is predicted, and one of another."""

    KEY = ("a", "x", "b")

    @pytest.fixture
    def edges(self, made: Any, tmp_path: Path) -> Callable[..., Graph]:
        def make(**task: Any) -> Graph:
            graph: Graph = made(
                Task(property="kind", edge_type=self.KEY, **task),
                {"a": 2, "b": 3},
                {("a", "y", "a"): np.zeros((2, 1)), self.KEY: np.array([[0, 1, 0], [1, 2, 1]])},
                edge_split={self.KEY: np.ones(3)},
            ).write(tmp_path / "edges")
            return graph

        return make

    def test_scores_have_a_row_for_each_edge_of_the_type(self, edges: Any, tmp_path: Path) -> None:
        graph = edges(type="edge_class", classes=("p", "q"))
        scores = np.array([[0.5, 0.5], [1, 0], [0, 1]])
        assert results.scores(left(tmp_path, infer_scores=scores), graph).tolist() == scores.tolist()
        with pytest.raises(InputError, match=r"infer_scores: its shape is \[5, 2\]; the graph needs \[3, 2\]"):
            results.scores(left(tmp_path, infer_scores=np.ones((5, 2))), graph)

    def test_logits_of_several_labels_become_a_probability_each(self, edges: Any, tmp_path: Path) -> None:
        graph = edges(type="edge_class", classes=("p", "q"), multilabel=True)
        found = results.scores(left(tmp_path, infer_scores=np.tile([0.0, 900.0], (3, 1))), graph)
        assert found[0] == pytest.approx([0.5, 1.0])

    def test_values_are_one_for_each_edge(self, edges: Any, tmp_path: Path) -> None:
        found = results.scores(left(tmp_path, infer_scores=np.arange(3.0) - 9), edges(type="edge_regression"))
        assert found.tolist() == [[-9.0], [-8.0], [-7.0]]

    def test_vectors_are_those_of_all_nodes(self, edges: Any, tmp_path: Path) -> None:
        graph = edges(type="edge_regression")
        np.save(tmp_path / "entity.npy", np.ones((5, 2)))
        found = results.embeddings(tmp_path, graph, [0, 2, 5])
        assert found is not None
        assert found.shape == (5, 2)
        np.save(tmp_path / "entity.npy", np.ones((2, 2)))
        with pytest.raises(InputError, match=r"entity.npy: its shape is \[2, 2\]; the graph needs \[5, channels\]"):
            results.embeddings(tmp_path, graph, [0, 2, 5])


class TestVectors:
    def test_those_of_the_target_type_are_put_among_zeros(self, graph: Graph, tmp_path: Path) -> None:
        np.save(tmp_path / "entity.npy", np.ones((50, 3)))
        found = results.embeddings(tmp_path, graph, [0, 50, 70])
        assert found is not None
        assert found.sum(axis=1).tolist() == [3.0] * 50 + [0.0] * 20

    def test_none_are_none(self, graph: Graph, tmp_path: Path) -> None:
        assert results.embeddings(tmp_path, graph, [0, 50, 70]) is None

    def test_a_file_that_promises_more_than_it_holds_is_refused(self, graph: Graph, tmp_path: Path) -> None:
        with (tmp_path / "entity.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"shape": (50, 60_000), "fortran_order": False, "descr": "<f8"})
        with pytest.raises(InputError, match="ends in the middle"):
            results.embeddings(tmp_path, graph, [0, 50, 70])


class TestRelations:
    @pytest.fixture
    def links(self, made: Any, tmp_path: Path) -> Graph:
        edges = {("a", name, "a"): np.zeros((2, 1)) for name in ("x", "y", "z")}
        split = {("a", "z", "a"): np.ones(1)}
        graph: Graph = made(Task("link_predict"), {"a": 2}, edges, edge_split=split).write(tmp_path / "links")
        return graph

    def test_one_for_each_edge_type_or_for_each_that_is_predicted(self, links: Graph, tmp_path: Path) -> None:
        for rows in ([[1], [2], [3]], [[3]]):
            np.save(tmp_path / "relation.npy", np.array(rows, np.float32))
            assert results.relations(tmp_path, links, 1).tolist() == [[3.0]]

    def test_without_any_the_ends_alone_are_multiplied(self, links: Graph, tmp_path: Path) -> None:
        assert results.relations(tmp_path, links, 2).tolist() == [[1.0, 1.0]]

    def test_those_of_another_length_are_refused(self, links: Graph, tmp_path: Path) -> None:
        np.save(tmp_path / "relation.npy", np.ones((1, 2)))
        with pytest.raises(InputError, match=r"its shape is \[1, 2\]"):
            results.relations(tmp_path, links, 3)
