"""What all knowledge-graph embedding models here have in common: one vector a node, and two for each relation.

A triple asks two questions, for its tail and for its head. A model turns the known end and the relation into a *query*
vector, and says by a product or by a distance how near each candidate is to it:

    score(h, r, ?) = similarity(query(h, r), t)        score(?, r, t) = similarity(query(t, r'), h)

Each direction has a vector of its own (reciprocal relations, Lacroix, Usunier, Obozinski 2018: "Canonical tensor
decomposition for knowledge base completion"). So any question against all nodes is one matrix product, for training
as for ranking. A model is one file beside this: the query, its hyperparameters and its search space.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training.entries import FIXED, TIERS, Tiers, entry

NODES = "nodes"
"""The name of the nodes' vectors, `[num_nodes, width]`, among the weights of a checkpoint."""

SCORES_THAT_FIT = 1 << 26
"""Scores of one epoch up to which every node of a type is a negative (`num-negs` 0)."""

_NEAR = 1e-9


class Embedding(nn.Module):
    """The relations' part of an embedding model; the vectors of nodes come from whoever calls.

    num_relations: how many; question r asks for tails of relation r, question `num_relations + r` for its heads.
    channels: `num-hidden`; a vector has `parts` numbers for each.
    """

    family: ClassVar[Literal["embedding"]] = "embedding"
    name: ClassVar[str]
    similarity: ClassVar[Literal["product", "distance"]] = "product"
    loss: ClassVar[Literal["softmax", "adversarial"]] = "softmax"
    parts: ClassVar[int] = 1
    spread: ClassVar[float] = 1e-3
    """Standard deviation of the first vectors of nodes."""
    hyperparameters: ClassVar[frozenset[str]] = frozenset(
        {
            "num-hidden", "num-epochs", "lr", "batch-size", "num-negs", "neg-share", "regularization-coef",
            "enable-early-stop", "window-for-early-stop", "rel-part", "l2norm", "sparse-lr",
        }
    )  # fmt: skip
    """The hyperparameters that the model takes, by AWS's names; these are those that all of them take."""

    def __init__(self, num_relations: int, channels: int) -> None:
        super().__init__()
        self.num_relations, self.channels = num_relations, channels

    @classmethod
    def fits(cls, graph: Graph) -> str | None:
        """Why the model cannot learn from a graph, as the end of "model … "; None if it can."""
        return None if graph.task.type == "link_predict" else "learns which links there are, and nothing else"

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """The tiers of `model-hpo-configuration.json` that suit a graph."""
        raise NotImplementedError

    def first_nodes(self, num_nodes: int) -> Tensor:
        """Vectors of nodes to begin with, `[num_nodes, width]`."""
        return torch.randn(num_nodes, self.parts * self.channels) * self.spread

    def vectors(self) -> Tensor:
        """The questions' vectors `[2 * num_relations, width]`, as `turn` takes them."""
        raise NotImplementedError

    def turn(self, nodes: Tensor, vectors: Tensor) -> Tensor:
        """The queries `[n, width]` of known ends and of the questions' vectors, both `[n, width]`."""
        raise NotImplementedError

    def query(self, nodes: Tensor, question: Tensor) -> Tensor:
        """The queries `[n, width]` of known ends `[n, width]` and questions `[n]`."""
        return self.turn(nodes, self.vectors()[question])

    def scores(self, query: Tensor, candidates: Tensor) -> Tensor:
        """How well candidates `[m, width]` answer queries `[n, width]`: `[n, m]`, above 0 or not."""
        return query @ candidates.t() if self.similarity == "product" else -distance(query, candidates)

    def score(self, query: Tensor, candidate: Tensor) -> Tensor:
        """The same, of each query with its own candidates alone: `[..., width]` both, to `[...]`."""
        if self.similarity == "product":
            return (query * candidate).sum(-1)
        return -(query - candidate).square().sum(-1).clamp(min=_NEAR).sqrt()

    def cubes(self, vectors: Tensor) -> Tensor:
        """Each vector's sum of cubed moduli, `[n, width]` to `[n]`: the nuclear 3-norm of Lacroix et al. 2018."""
        return vectors.abs().pow(3).sum(1)


class _Distance(torch.autograd.Function):
    """Euclidean distances by one product, and their gradients by two.

    `[n, width]`, `[m, width]` -> `[n, m]`.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        squares = torch.addmm(candidates.square().sum(1), query, candidates.t(), alpha=-2)
        distances = squares.add_(query.square().sum(1, keepdim=True)).clamp_(min=_NEAR).sqrt_()
        ctx.save_for_backward(query, candidates, distances)
        return distances

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates, distances = ctx.saved_tensors
        share = gradients[0] / distances
        to_query = share.sum(1, keepdim=True) * query - share @ candidates
        to_candidates = share.sum(0)[:, None] * candidates - share.t() @ query
        return to_query, to_candidates


def distance(query: Tensor, candidates: Tensor) -> Tensor:
    """The Euclidean distance of every query from every candidate."""
    distances: Tensor = _Distance.apply(query, candidates)
    return distances


def as_complex(vectors: Tensor) -> Tensor:
    """Complex numbers `[n, channels]` of vectors `[n, 2 * channels]`, which hold each one's real and imaginary part."""
    return torch.view_as_complex(vectors.unflatten(-1, (-1, 2)))


def as_real(numbers: Tensor) -> Tensor:
    """The vectors `[n, 2 * channels]` of complex numbers `[n, channels]`."""
    return torch.view_as_real(numbers).flatten(-2)


def tiers(graph: Graph, hidden: int, lr: float, *tuned: dict[str, Any]) -> Tiers:
    """The tiers that embedding models share, with a model's own entries in the first.

    They depend on the graph's size alone: a small graph takes every node as a negative and many epochs of small
    batches, a large one shared negatives.
    """
    small = fits_whole(graph)
    epochs = 50 if small else 20
    return {
        TIERS[0]: [
            entry("num-hidden", "int", hidden, range=[hidden // 2, hidden * 2], inc_strategy="power2"),
            entry("lr", "float", lr, range=[lr / 2, lr * 2], inc_strategy="log"),
            *tuned,
        ],
        TIERS[1]: [
            entry("num-epochs", "int", epochs, range=[epochs // 2, epochs * 2], inc_strategy="linear", inc_val=5),
        ],
        TIERS[2]: [
            entry("batch-size", "int", 256 if small else 1024, range=[128, 512] if small else [512, 4096],
                  inc_strategy="power2"),
        ],
        FIXED: [
            entry("num-negs", "int", 0 if small else 1000),
            entry("neg-share", "bool", True),
            entry("enable-early-stop", "bool", True),
            entry("window-for-early-stop", "int", 10),
        ],
    }  # fmt: skip


def product_tiers(graph: Graph) -> Tiers:
    """The tiers of models that score by a product: Adagrad's rate is around 0.1, as Lacroix et al. 2018 train them."""
    cubes = entry("regularization-coef", "float", 1e-2, range=[1e-3, 3e-2], inc_strategy="log")
    return tiers(graph, 128, 0.1, cubes)


def fits_whole(graph: Graph) -> bool:
    """Whether the scores of all nodes for all questions of an epoch are few enough to take every node as a negative."""
    edges = sum(one.num_edges for one in graph.edge_types)
    return 2 * edges * max((one.num_nodes for one in graph.node_types), default=1) <= SCORES_THAT_FIT
