"""Ranking nodes by their embeddings, in NumPy: the most likely ends of a link, and the nearest neighbours of a node.

Link prediction scores as the model was trained: its `scorer` turns a node's embedding, and one vector a relation for
tails and one for heads, into a query, and a candidate's logit is the product of the query and its embedding, or minus
their distance (`models/embedding.py` and the files beside it). Its score is the softmax of that over all nodes of the
candidates' type. Neighbours are scored by the cosine of two embeddings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from modelyard.workloads.graph.inference.ids import read_mapped

Ranked = tuple[np.ndarray, np.ndarray]
"""Rows of the best candidates, best first, and their scores."""

Scorer = Literal["distmult", "complex", "transe", "rotate"]
"""How links are scored; models with a decoder have DistMult's."""

_CELLS = 4_000_000
"""Scores that are computed at once: 16 MB."""


@dataclass(frozen=True)
class KnownLinks:
    """The links of one edge type from one side, as CSR: node i is linked to `ends[starts[i]:starts[i + 1]]`."""

    starts: np.ndarray
    ends: np.ndarray

    def of(self, node: int) -> np.ndarray:
        """The nodes that `node` is linked to; none for a node beyond the last that has any."""
        if node + 1 >= len(self.starts):
            return self.ends[:0]
        return self.ends[self.starts[node] : self.starts[node + 1]]


def known_links(near: np.ndarray, far: np.ndarray) -> KnownLinks:
    """The links from the side of `near`; both int64 `[num_edges]`, rows within their node types."""
    counts = np.bincount(near) if near.size else np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return KnownLinks(starts, far[np.argsort(near, kind="stable")].astype(np.int32))


def write_known(folder: Path, known: KnownLinks) -> None:
    """Writes links as arrays that `read_known` maps into memory."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "starts.npy", known.starts)
    np.save(folder / "ends.npy", known.ends)


def read_known(folder: Path) -> KnownLinks:
    """Maps what `write_known` wrote into memory."""
    return KnownLinks(read_mapped(folder / "starts.npy"), read_mapped(folder / "ends.npy"))


def rank_links(
    near: np.ndarray,
    vector: np.ndarray,
    candidates: np.ndarray,
    top: int,
    hidden: Sequence[np.ndarray] | None = None,
    scorer: Scorer = "distmult",
) -> list[Ranked]:
    """The `top` likeliest other ends for each of the nodes `near` among the `candidates`.

    Embeddings, float32 `[num_near, channels]` and `[num_candidates, channels]`; `vector` `[channels]`. The candidates
    `hidden[i]` are not listed for the i-th node, though the softmax covers them.
    """
    ranked: list[Ranked] = []
    for some in _pieces(len(near), len(candidates)):
        scores = softmax(logits(scorer, near[some], vector, candidates))
        hide = hidden[some] if hidden else [None] * len(scores)
        ranked += [best(row, top, places) for row, places in zip(scores, hide, strict=True)]
    return ranked


def logits(scorer: Scorer, near: np.ndarray, vector: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The scores `[num_near, num_candidates]` of all candidates, as the model of that name gives them in training."""
    query: np.ndarray
    if scorer == "distmult":
        query = near * vector
    elif scorer == "transe":
        query = near + vector
    else:
        query = (_as_complex(near) * _as_complex(vector)).view(np.float32)
    scores: np.ndarray = query @ candidates.T
    if scorer in ("distmult", "complex"):
        return scores
    squares = (query**2).sum(axis=1)[:, None] - 2 * scores + (candidates**2).sum(axis=1)
    nearness: np.ndarray = -np.sqrt(np.maximum(squares, 1e-9))
    return nearness


def rank_neighbours(nodes: np.ndarray, candidates: np.ndarray, top: int, itself: np.ndarray) -> list[Ranked]:
    """The `top` candidates whose embeddings point most nearly the same way; `itself[i]` is left out (-1: none)."""
    lengths = _lengths(candidates)
    hidden = [itself[i : i + 1][itself[i : i + 1] >= 0] for i in range(len(itself))]
    ranked: list[Ranked] = []
    for some in _pieces(len(nodes), len(candidates)):
        cosines = (nodes[some] / _lengths(nodes[some])[:, None]) @ candidates.T / lengths
        ranked += [best(row, top, places) for row, places in zip(cosines, hidden[some], strict=True)]
    return ranked


def best(scores: np.ndarray, top: int, hidden: np.ndarray | None = None) -> Ranked:
    """The places and values of the `top` largest scores, largest first, equal ones by place; none of `hidden`."""
    if hidden is not None and len(hidden):
        scores = scores.copy()
        scores[hidden] = -np.inf
    places = np.arange(len(scores))
    if top < len(scores):
        least = np.partition(scores, len(scores) - top)[len(scores) - top]
        above, level = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
        places = np.concatenate([above, level[: top - len(above)]])
    places = places[np.lexsort((places, -scores[places]))]
    places = places[scores[places] > -np.inf]
    return places, scores[places]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in place where it can."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def _as_complex(vectors: np.ndarray) -> np.ndarray:
    """Complex numbers of vectors that hold each one's real and imaginary part."""
    numbers: np.ndarray = np.ascontiguousarray(vectors, np.float32).view(np.complex64)
    return numbers


def _pieces(count: int, width: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(1, width))
    return (slice(begin, begin + step) for begin in range(0, count, step))


def _lengths(vectors: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    return lengths
