"""The relational graph convolutional network (R-GCN).

Schlichtkrull, Kipf, Bloem, van den Berg, Titov, Welling: "Modeling Relational Data with Graph Convolutional
Networks", ESWC 2018. A layer computes, for node i with neighbours N_r(i) under relation r,

    h_i' = b + W_0 h_i + sum_r sum_{j in N_r(i)} c_ij W_r h_j        W_r = sum_b a_rb V_b  (basis decomposition)

Here the sum over neighbours of all relations is one sparse product: its rows are (relation, node) pairs, the rows of
one relation lie together, and each relation's weight multiplies its own rows. No message of a single edge is ever
stored.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.edge_messages import EdgeMessages
from modelyard.workloads.graph.models.gnn import GNN, Dimensions
from modelyard.workloads.graph.training.entries import Tiers, entry, extended
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import GraphTensors, SparseMatrix

_FEW_RELATIONS = 16


class _RelationMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, sizes: list[int]) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.sizes = sizes
        out = rows.new_empty(rows.size(0), weight.size(2))
        for part, own, result in zip(torch.split(rows, sizes), weight.unbind(), torch.split(out, sizes), strict=True):
            torch.mm(part, own, out=result)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, weight = ctx.saved_tensors
        to_rows, to_weight = torch.empty_like(rows), torch.empty_like(weight)
        parts = [torch.split(one, ctx.sizes) for one in (gradients[0].contiguous(), rows, to_rows)]
        weights = (weight.transpose(1, 2).unbind(), to_weight.unbind())
        for gradient, part, to_part, own, to_own in zip(*parts, *weights, strict=True):
            torch.mm(gradient, own, out=to_part)
            torch.mm(part.t(), gradient, out=to_own)
        return to_rows, to_weight, None


def relation_matmul(rows: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of each relation times that relation's weight.

    rows: `[num_rows, in]`. weight: `[relations, in, out]`. sizes: each relation's number of rows. Returns `[num_rows,
    out]`.
    """
    product: Tensor = _RelationMatmul.apply(rows, weight, list(sizes))
    return product


class RGCNLayer(nn.Module):
    """One relational convolution over the stacked adjacency of a graph.

    num_bases: 0 gives each relation its own weight. self_weight: False leaves `W_0` out. edges: what the features of
    edges change.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_relations: int,
        num_bases: int = 0,
        self_weight: bool = True,
        edges: EdgeMessages | None = None,
    ) -> None:
        super().__init__()
        bases = num_bases if 0 < num_bases < num_relations else 0
        self.weight = nn.Parameter(torch.empty(bases or num_relations, in_channels, out_channels))
        self.coefficient = nn.Parameter(torch.empty(num_relations, bases)) if bases else None
        self.self_weight = nn.Parameter(torch.empty(in_channels, out_channels)) if self_weight else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.edges = edges
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform initialisation, as in PyG's `RGCNConv`."""
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)
        if self.coefficient is not None:
            nn.init.xavier_uniform_(self.coefficient)
        if self.self_weight is not None:
            nn.init.xavier_uniform_(self.self_weight)

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, in_channels]` -> `[num_outputs, out_channels]`."""
        if graph.one_row_a_node:
            out = self._one_relation(x, graph.matrix)
        else:
            rows = relation_matmul(graph.matrix.matmul(x), self._weights(), graph.sizes)
            out = rows.new_zeros(graph.num_outputs, rows.size(1)).index_add(0, graph.row_node, rows)
        if self.edges is not None:
            out = out + self.edges(x, self._weights(), graph)
        if self.self_weight is not None:
            own = graph.of_outputs(x)
            out = torch.addmm(out, own if graph.own is None else own * graph.own[:, None], self.self_weight)
        return out + self.bias

    def _one_relation(self, x: Tensor, matrix: SparseMatrix) -> Tensor:
        weight = self._weights()[0]
        narrows = weight.size(1) < weight.size(0)
        return matrix.matmul(x @ weight) if narrows else matrix.matmul(x) @ weight

    def _weights(self) -> Tensor:
        if self.coefficient is None:
            return self.weight
        return torch.einsum("rb,bio->rio", self.coefficient, self.weight)


class Propagation(nn.Module):
    """The mean over neighbours alone, and a bias: a layer of one relation whose weight would follow another at once."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, channels]` -> `[num_outputs, channels]`."""
        return graph.matrix.matmul(x) + self.bias


class RGCN(GNN):
    """R-GCN layers.

    Where one relation reaches every node, the encoder's projection and the first layer's weight are two linear maps
    in a row, which is one: the first layer then has no weight (a GCN). That is both faster and better.
    """

    name = "rgcn"
    hyperparameters = GNN.hyperparameters | {"num-bases", "use-edge-features", "edge-num-hidden"}

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """The shared tiers; bases where relations are many, and features of edges where there are any."""
        bases = 8 if 2 * len(graph.edge_types) > _FEW_RELATIONS else 0
        choice = entry("num-bases", "int", bases, range=[0, 8], inc_strategy="linear", inc_val=2)
        tiers = extended(super().search_space(graph), "3-tier-param", choice)
        if not any(one.features for one in graph.edge_types):
            return tiers
        tiers = extended(tiers, "2-tier-param", entry("use-edge-features", "bool", False))
        width = entry("edge-num-hidden", "int", 16, range=[8, 32], inc_strategy="power2")
        return extended(tiers, "3-tier-param", width)

    def make_layers(
        self, sizes: Sequence[int], dimensions: Dimensions, hyperparameters: Hyperparameters, self_weight: bool
    ) -> list[nn.Module]:
        """See `GNN`."""
        parts = dimensions.edge_parts
        one_map = dimensions.num_relations == 1 and not self_weight and not hyperparameters.per_feat_name_embed
        return [
            Propagation(size)
            if one_map and following == size and number == 0 and not parts
            else RGCNLayer(
                size,
                following,
                dimensions.num_relations,
                hyperparameters.num_bases,
                self_weight,
                EdgeMessages(parts, size, hyperparameters.edge_num_hidden) if parts else None,
            )
            for number, (size, following) in enumerate(pairwise(sizes))
        ]

    def standardise(self, graph: GraphTensors, edges: Sequence[tuple[Tensor, Tensor]] = ()) -> None:
        """See `GNN`."""
        super().standardise(graph)
        for layer in self.layers:
            if isinstance(layer, RGCNLayer) and layer.edges is not None:
                layer.edges.standardise(edges)
