"""The graph convolutional network (GCN).

Kipf, Welling: "Semi-Supervised Classification with Graph Convolutional Networks", ICLR 2017. A layer computes

    H' = S H W + b        S = D^-1/2 (A + I) D^-1/2

with A the edges in both directions and D the degrees with self-loops. For graphs of one node type and one edge type.
It learns most from few labels where neighbours are alike, and can say nothing of a node that its neighbours blur.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.gnn import GNN, Dimensions, needs_one_type
from modelyard.workloads.graph.training.adjacency import Relation
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import GraphTensors


class GCNLayer(nn.Module):
    """One graph convolution.

    weighted: False leaves `W` out, where a linear map precedes the layer anyway.
    """

    def __init__(self, in_channels: int, out_channels: int, weighted: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels)) if weighted else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if self.weight is not None:
            nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, in_channels]` -> `[num_outputs, out_channels]`; the narrower product is sparse."""
        if self.weight is None:
            return graph.matrix.matmul(x) + self.bias
        if self.weight.size(1) < self.weight.size(0):
            return graph.matrix.matmul(x @ self.weight) + self.bias
        return torch.addmm(self.bias, graph.matrix.matmul(x), self.weight)


class GCN(GNN):
    """Graph convolutions; the encoder's projection is the first one's weight."""

    name = "gcn"

    @classmethod
    def fits(cls, graph: Graph) -> str | None:
        """See `GNN`."""
        return needs_one_type(graph)

    @classmethod
    def relations(cls, graph: Graph, use_self_loop: bool) -> tuple[Relation, ...]:
        """Both directions as one, and the self-loop among them."""
        return (Relation(0, "merged", use_self_loop),)

    def make_layers(
        self, sizes: Sequence[int], dimensions: Dimensions, hyperparameters: Hyperparameters, self_weight: bool
    ) -> list[nn.Module]:
        """See `GNN`."""
        folded = not hyperparameters.per_feat_name_embed and sizes[0] == sizes[1]
        return [GCNLayer(*pair, weighted=number > 0 or not folded) for number, pair in enumerate(pairwise(sizes))]
