"""ComplEx: scores a triple by a three-way product of complex vectors.

Trouillon, Welbl, Riedel, Gaussier, Bouchard: "Complex Embeddings for Simple Link Prediction", ICML 2016.

    score(h, r, t) = Re(sum_k h_k r_k conj(t_k))

Trained as Lacroix, Usunier, Obozinski 2018 do: softmax, Adagrad, cubed moduli as regularisation. Not one of AWS's
models.
"""

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.embedding import Embedding, as_complex, as_real, product_tiers
from modelyard.workloads.graph.training.entries import Tiers


class ComplEx(Embedding):
    """Relation vectors `[2 * num_relations, 2 * channels]`: each channel's real and imaginary part."""

    name = "complex"
    parts = 2

    def __init__(self, num_relations: int, channels: int) -> None:
        super().__init__(num_relations, channels)
        self.relation = nn.Parameter(torch.randn(2 * num_relations, 2 * channels) * self.spread)

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """See `embedding.product_tiers`."""
        return product_tiers(graph)

    def vectors(self) -> Tensor:
        """The relation vectors themselves."""
        return self.relation

    def turn(self, nodes: Tensor, vectors: Tensor) -> Tensor:
        """`h * r`, of which the product with a tail's vector is the score."""
        return as_real(as_complex(nodes) * as_complex(vectors))

    def cubes(self, vectors: Tensor) -> Tensor:
        """Each vector's sum of cubed moduli of complex numbers."""
        return super().cubes(as_complex(vectors))
