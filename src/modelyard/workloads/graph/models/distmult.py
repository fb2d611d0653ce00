"""DistMult: scores a triple by a three-way product of vectors.

Yang, Yih, He, Gao, Deng: "Embedding Entities and Relations for Learning and Inference in Knowledge Bases", ICLR 2015.

    score(h, r, t) = sum_k h_k r_k t_k

Each relation has a second vector for the question from tail to head (reciprocal relations, Lacroix et al. 2018:
"Canonical tensor decomposition for knowledge base completion"), since the plain score cannot tell the two directions
apart.
"""

import torch
from torch import Tensor, nn


class DistMult(nn.Module):
    """Relation vectors `[2 * num_relations, channels]`: tail questions first, then head questions."""

    def __init__(self, num_relations: int, channels: int) -> None:
        super().__init__()
        self.num_relations = num_relations
        self.relation = nn.Parameter(torch.empty(2 * num_relations, channels))
        nn.init.xavier_uniform_(self.relation)

    def query(self, vectors: Tensor, question: Tensor) -> Tensor:
        """The vector whose product with a node's vector is that node's score as the answer.

        vectors: `[n, channels]` of the known ends. question: `[n]`; r asks for tails of relation r, `num_relations +
        r` for heads.
        """
        return vectors * self.relation[question]
