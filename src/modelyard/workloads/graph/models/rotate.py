"""RotatE: a relation is a rotation from head to tail, in the complex plane of each channel.

Sun, Deng, Nie, Tang: "RotatE: Knowledge Graph Embedding by Relational Rotation in Complex Space", ICLR 2019.

    score(h, r, t) = gamma - ||h * r - t||_2        |r_k| = 1

The norm is that of the whole complex vector, as in `torch_geometric.nn.kge` and PyKEEN; the authors' program sums the
moduli instead, which no matrix product can compute. Negatives weigh by their own scores (self-adversarial, eq. 5).
"""

from math import pi

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.embedding import Embedding, as_complex, as_real, tiers
from modelyard.workloads.graph.training.entries import Tiers, entry


class RotatE(Embedding):
    """Angles `[2 * num_relations, channels]`: from head to tail first, then from tail to head."""

    name = "rotate"
    similarity = "distance"
    loss = "adversarial"
    parts = 2
    spread = 0.3
    hyperparameters = Embedding.hyperparameters | {"gamma"}

    def __init__(self, num_relations: int, channels: int) -> None:
        super().__init__(num_relations, channels)
        self.angle = nn.Parameter(torch.empty(2 * num_relations, channels).uniform_(-pi, pi))

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """See `embedding.tiers`."""
        return tiers(graph, 128, 0.2, entry("gamma", "float", 12.0, range=[6.0, 18.0], inc_strategy="linear"))

    def vectors(self) -> Tensor:
        """Unit complex numbers."""
        return torch.stack([self.angle.cos(), self.angle.sin()], dim=2).flatten(1)

    def turn(self, nodes: Tensor, vectors: Tensor) -> Tensor:
        """`h * r`."""
        return as_real(as_complex(nodes) * as_complex(vectors))
