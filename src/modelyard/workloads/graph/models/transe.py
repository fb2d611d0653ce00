"""TransE: a relation is a step from head to tail.

Bordes, Usunier, Garcia-Durán, Weston, Yakhnenko: "Translating Embeddings for Modeling Multi-relational Data", NIPS
2013.

    score(h, r, t) = gamma - ||h + r - t||_2

Its weakness is known: of several tails of one head it makes one point. It is trained by softmax like the models of
products, which serves it better than the self-adversarial loss of `rotate` (0.727 and 0.698 on UMLS); there the margin
gamma cancels out.
"""

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.embedding import Embedding, tiers
from modelyard.workloads.graph.training.entries import Tiers


class TransE(Embedding):
    """Steps `[2 * num_relations, channels]`: from head to tail first, then from tail to head."""

    name = "transe"
    similarity = "distance"
    spread = 0.1
    hyperparameters = Embedding.hyperparameters | {"gamma"}

    def __init__(self, num_relations: int, channels: int) -> None:
        super().__init__(num_relations, channels)
        self.relation = nn.Parameter(torch.randn(2 * num_relations, channels) * self.spread)

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """See `embedding.tiers`."""
        return tiers(graph, 128, 0.1)

    def vectors(self) -> Tensor:
        """The steps themselves."""
        return self.relation

    def turn(self, nodes: Tensor, vectors: Tensor) -> Tensor:
        """`h + r`."""
        return nodes + vectors
