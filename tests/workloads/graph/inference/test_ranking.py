from pathlib import Path

import numpy as np
import pytest

from modelyard.workloads.graph.inference import ranking
from modelyard.workloads.graph.inference.ranking import (
    best,
    known_links,
    rank_links,
    rank_neighbours,
    read_known,
    write_known,
)

_RANDOM = np.random.default_rng(0)


def _vectors(count: int) -> np.ndarray:
    return _RANDOM.standard_normal((count, 8), dtype=np.float32)


@pytest.mark.parametrize("top", [1, 3, 20, 100])
def test_best_is_a_stable_sort(top: int) -> None:
    scores = _RANDOM.integers(0, 6, 20).astype(np.float32)
    places, values = best(scores, top)
    assert places.tolist() == np.argsort(-scores, kind="stable")[:top].tolist()
    assert values.tolist() == scores[places].tolist()


def test_hidden_places_are_never_listed() -> None:
    scores = np.array([0.1, 0.4, 0.2, 0.3])
    assert best(scores, 10, np.array([1, 2]))[0].tolist() == [3, 0]
    assert best(scores, 2, np.arange(4))[0].tolist() == []
    assert scores.tolist() == [0.1, 0.4, 0.2, 0.3]


@pytest.mark.parametrize("cells", [1, 25, 10**6])
def test_links_are_ranked_by_the_softmax_of_distmult(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_CELLS", cells)
    near, vector, candidates = _vectors(7), _vectors(1)[0], _vectors(11)
    ranked = rank_links(near, vector, candidates, 3, [np.array([n]) for n in range(7)])
    for number, (places, scores) in enumerate(ranked):
        odds = np.exp([(near[number] * vector * one).sum() for one in candidates])
        expected = [place for place in np.argsort(-odds) if place != number][:3]
        assert places.tolist() == expected
        np.testing.assert_allclose(scores, odds[expected] / odds.sum(), rtol=1e-4)


def test_neighbours_are_ranked_by_cosine_and_leave_the_node_out() -> None:
    candidates = np.array([[1, 0], [2, 0.2], [0, 3], [0, 0], [-1, 0]], np.float32)
    (places, scores), (other, _) = rank_neighbours(candidates[[0, 0]], candidates, 4, np.array([0, -1]))
    assert places.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(scores, [10 / np.sqrt(101), 0, 0, -1], atol=1e-6)
    assert other.tolist() == [0, 1, 2, 3]


def test_known_links_survive_the_disk(tmp_path: Path) -> None:
    write_known(tmp_path / "known", known_links(np.array([3, 0, 3, 1]), np.array([5, 6, 4, 7])))
    known = read_known(tmp_path / "known")
    assert [known.of(node).tolist() for node in range(6)] == [[6], [7], [], [5, 4], [], []]
    write_known(tmp_path / "none", known_links(np.empty(0, np.int64), np.empty(0, np.int64)))
    assert read_known(tmp_path / "none").of(0).tolist() == []
