"""DistMult: scores a triple by a three-way product of vectors.

Yang, Yih, He, Gao, Deng: "Embedding Entities and Relations for Learning and Inference in Knowledge Bases", ICLR 2015.

    score(h, r, t) = sum_k h_k r_k t_k

The plain score cannot tell the two directions of a relation apart; a vector for each of them (see `embedding`) can. It
is also the decoder of link prediction by graph neural networks.
"""

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.embedding import Embedding, product_tiers
from modelyard.workloads.graph.training.entries import Tiers


class DistMult(Embedding):
    """Relation vectors `[2 * num_relations, channels]`: tail questions first, then head questions."""

    name = "distmult"

    def __init__(self, num_relations: int, channels: int) -> None:
        super().__init__(num_relations, channels)
        self.relation = nn.Parameter(torch.empty(2 * num_relations, channels))
        nn.init.xavier_uniform_(self.relation)

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """See `embedding.product_tiers`."""
        return product_tiers(graph)

    def vectors(self) -> Tensor:
        """The relation vectors themselves."""
        return self.relation

    def turn(self, nodes: Tensor, vectors: Tensor) -> Tensor:
        """`h * r`."""
        return nodes * vectors
