"""Predictions for edges, in NumPy: the decoder of `models/edge_decoder.py` over the embeddings of both ends.

A folder holds `decoder.npz`: the decoder's weights, with the standardisation of features and the scale of a
regression's labels folded into them, `mean`, the mean features, and the name of the `activation`. Where edges have
features, it also holds `pairs.npy`, int64 `[num_edges]`, the sorted codes `head * num_tails + tail` of the rows of
their ends within their types, and `features.npy`, float32 `[num_edges, dim]`, in the same order.

A custom model's folder holds no decoder, which only its author knows, but what the model said of the graph's edges:
`pairs.npy` as above, each pair once, and `scores.npy`, float32 `[num_pairs, outputs]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelyard.workloads.graph.inference.ids import read_mapped
from modelyard.workloads.graph.inference.ranking import softmax

if TYPE_CHECKING:  # a serving task has no use for the readers of graphs
    from modelyard.workloads.graph.data import Graph

_AT_ONCE = 65_536
"""Edges that are scored at once."""


@dataclass(frozen=True)
class EdgeScorer:
    """Probabilities of an edge's classes, or its number in the label's unit, from both ends and its features."""

    weights: Mapping[str, np.ndarray]
    activation: str

    def scores(self, head: np.ndarray, tail: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Embeddings `[num_edges, channels]` twice, features `[num_edges, dim]` -> float32 `[num_edges, outputs]`."""
        hidden = np.concatenate([head, tail, head * tail, features], axis=1) @ self.weights["first"]
        hidden += self.weights["first_bias"]
        raw: np.ndarray = np.maximum(hidden, 0, out=hidden) @ self.weights["second"] + self.weights["second_bias"]
        if self.activation == "softmax":
            return softmax(raw)
        return 1 / (1 + np.exp(-raw)) if self.activation == "sigmoid" else raw


class PairScores:
    """Scores of the pairs of nodes that edges join, as a custom model left them; of no others.

    num_tails: nodes of the tails' type.
    """

    def __init__(self, folder: Path, num_tails: int) -> None:
        self._num_tails = num_tails
        self._pairs, self._scores = (read_mapped(folder / f"{name}.npy") for name in ("pairs", "scores"))

    def knows(self, head: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Which pairs of rows have scores, bool `[num_pairs]`."""
        codes = head * self._num_tails + tail
        known: np.ndarray = np.searchsorted(self._pairs, codes, "left") < np.searchsorted(self._pairs, codes, "right")
        return known

    def of(self, head: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """As `EdgeScores.of`, for pairs that have scores."""
        scores: np.ndarray = self._scores[np.searchsorted(self._pairs, head * self._num_tails + tail)]
        return scores


class EdgeScores:
    """Scores of pairs of nodes. Where several edges join a pair, their scores are averaged; a pair without an edge is
    taken for one with mean features.

    heads, tails: embeddings of all nodes of both ends' types, `[num_nodes, channels]`.
    """

    def __init__(self, folder: Path, heads: np.ndarray, tails: np.ndarray) -> None:
        self._heads, self._tails = heads, tails
        self._scorer = read_scorer(folder)
        self._mean = self._scorer.weights["mean"]
        if self._mean.size:
            self._pairs, self._features = (read_mapped(folder / f"{name}.npy") for name in ("pairs", "features"))

    def knows(self, head: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """As `PairScores.knows`: all of them."""
        return np.ones(len(head), bool)

    def of(self, head: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """float32 `[num_pairs, outputs]` for rows of nodes within their types, int64 `[num_pairs]`."""
        return self._averaged(head, tail, self._heads, self._tails, head, tail)

    def fresh(
        self,
        rows: tuple[np.ndarray, np.ndarray],
        heads: np.ndarray,
        tails: np.ndarray,
        features: Sequence[Sequence[float] | None],
    ) -> np.ndarray:
        """As `of`, for vectors `[num_pairs, channels]` of both ends that no transform has computed.

        rows: of stored nodes within their types, -1 for others. features: those of the edge that is asked for, None for
        what is stored.
        """
        every = np.arange(len(heads))
        scores = self._averaged(*rows, heads, tails, every, every)
        given = [place for place, one in enumerate(features) if one is not None]
        if given:
            values = np.array([features[place] for place in given], np.float32).reshape(len(given), -1)
            scores[given] = self._scorer.scores(heads[given], tails[given], values)
        return scores

    def _averaged(
        self,
        head: np.ndarray,
        tail: np.ndarray,
        heads: np.ndarray,
        tails: np.ndarray,
        head_at: np.ndarray,
        tail_at: np.ndarray,
    ) -> np.ndarray:
        """The scores of pairs of stored rows whose vectors are `heads[head_at]` and `tails[tail_at]`."""
        if not self._mean.size:
            return self._scored(heads, tails, head_at, tail_at, np.empty((len(head), 0), np.float32))
        codes = np.where((head < 0) | (tail < 0), -1, head * len(self._tails) + tail)
        first = np.searchsorted(self._pairs, codes, "left")
        count = np.searchsorted(self._pairs, codes, "right") - first
        known = count > 0
        count = np.maximum(count, 1)
        pair = np.repeat(np.arange(len(codes)), count)
        begin = np.cumsum(count) - count
        place = (first - begin)[pair] + np.arange(len(pair))
        features = np.broadcast_to(self._mean, (len(pair), len(self._mean))).copy()
        features[known[pair]] = self._features[place[known[pair]]]
        sums = np.add.reduceat(self._scored(heads, tails, head_at[pair], tail_at[pair], features), begin, axis=0)
        averages: np.ndarray = sums / count[:, None].astype(np.float32)
        return averages

    def _scored(
        self, heads: np.ndarray, tails: np.ndarray, head: np.ndarray, tail: np.ndarray, features: np.ndarray
    ) -> np.ndarray:
        pieces = [slice(begin, begin + _AT_ONCE) for begin in range(0, max(1, len(head)), _AT_ONCE)]
        return np.concatenate([self._scorer.scores(heads[head[p]], tails[tail[p]], features[p]) for p in pieces])


def write_scorer(
    graph: "Graph", decoder: Mapping[str, np.ndarray], mean: float, deviation: float, folder: Path
) -> EdgeScorer:
    """Writes the folder for a graph's task, and gives the scorer.

    decoder: the weights of `EdgeDecoder`. mean, deviation: the scale of a regression's labels.
    """
    activation = "none" if graph.task.is_regression() else "sigmoid" if graph.task.multilabel else "softmax"
    weights = _folded(decoder, mean, deviation)
    folder.mkdir(parents=True)
    np.savez(folder / "decoder.npz", activation=activation, **weights)  # type: ignore[arg-type]  # none is called allow_pickle
    if weights["mean"].size:
        _write_features(graph, folder)
    return EdgeScorer(weights, activation)


def read_scorer(folder: Path) -> EdgeScorer:
    """Reads what `write_scorer` wrote."""
    with np.load(folder / "decoder.npz", allow_pickle=False) as file:
        weights = dict(file)
    return EdgeScorer(weights, str(weights.pop("activation")))


def write_pair_scores(graph: "Graph", scores: np.ndarray, folder: Path) -> None:
    """Writes the folder of a custom model. scores: float32 `[num_edges, outputs]`; several of a pair are averaged."""
    codes, _ = _codes(graph)
    order = np.argsort(codes, kind="stable")
    pairs, begin, count = np.unique(codes[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(scores[order], begin, axis=0) if len(pairs) else scores
    folder.mkdir(parents=True)
    np.save(folder / "pairs.npy", pairs)
    np.save(folder / "scores.npy", sums / count[:, None].astype(np.float32))


def _folded(decoder: Mapping[str, np.ndarray], mean: float, deviation: float) -> dict[str, np.ndarray]:
    first = decoder["first"].copy()
    vectors = len(first) - len(decoder["mean"])
    first[vectors:] /= decoder["deviation"][:, None]
    return {
        "first": first,
        "first_bias": decoder["first_bias"] - decoder["mean"] @ first[vectors:],
        "second": decoder["second"] * np.float32(deviation),
        "second_bias": decoder["second_bias"] * np.float32(deviation) + np.float32(mean),
        "mean": decoder["mean"],
    }


def _codes(graph: "Graph") -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """What `pairs.npy` holds, in the order of the edges; and their arrays."""
    assert graph.task.edge_type is not None
    arrays = graph.edges(graph.edge_type_index(graph.task.edge_type))
    num_tails = graph.node_types[graph.node_type_index(graph.task.edge_type[2])].num_nodes
    return arrays["edge_index"][0] * num_tails + arrays["edge_index"][1], arrays


def _write_features(graph: "Graph", folder: Path) -> None:
    codes, arrays = _codes(graph)
    order = np.argsort(codes, kind="stable")
    np.save(folder / "pairs.npy", codes[order])
    np.save(folder / "features.npy", arrays["features"][order])
