"""GraphSAGE with the mean aggregator.

Hamilton, Ying, Leskovec: "Inductive Representation Learning on Large Graphs", NIPS 2017. A layer computes, for node i,

    h_i' = W_self h_i + W_neighbour mean_{j in N(i)} h_j + b

with N(i) the ends of i's edges in either direction. For graphs of one node type and one edge type. A node's own vector
has a weight of its own, so it also learns where neighbours differ; it needs no degree of the whole graph, so it takes
new nodes and sampled neighbours as they are.
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


class SAGELayer(nn.Module):
    """One aggregation.

    self_weight: False leaves `W_self` out. neighbour_weight: False leaves `W_neighbour` out, where a linear map
    precedes the layer anyway.
    """

    def __init__(
        self, in_channels: int, out_channels: int, self_weight: bool = True, neighbour_weight: bool = True
    ) -> None:
        super().__init__()
        shape = (in_channels, out_channels)
        self.self_weight = nn.Parameter(torch.empty(shape)) if self_weight else None
        self.neighbour_weight = nn.Parameter(torch.empty(shape)) if neighbour_weight else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        for weight in (self.self_weight, self.neighbour_weight):
            if weight is not None:
                nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, in_channels]` -> `[num_outputs, out_channels]`; the narrower product is sparse."""
        weight = self.neighbour_weight
        if weight is not None and weight.size(1) < weight.size(0):
            out = _mean(x @ weight, graph)
        else:
            out = _mean(x, graph) if weight is None else _mean(x, graph) @ weight
        if self.self_weight is not None:
            out = torch.addmm(out, graph.of_outputs(x), self.self_weight)
        return out + self.bias


class SAGE(GNN):
    """Mean aggregations; the encoder's projection is the first one's weight of neighbours."""

    name = "sage"

    @classmethod
    def fits(cls, graph: Graph) -> str | None:
        """See `GNN`."""
        return needs_one_type(graph)

    @classmethod
    def relations(cls, graph: Graph, use_self_loop: bool) -> tuple[Relation, ...]:
        """Both directions as one."""
        return (Relation(0, "merged"),)

    def make_layers(
        self, sizes: Sequence[int], dimensions: Dimensions, hyperparameters: Hyperparameters, self_weight: bool
    ) -> list[nn.Module]:
        """See `GNN`."""
        folded = not hyperparameters.per_feat_name_embed and sizes[0] == sizes[1]
        return [
            SAGELayer(*pair, self_weight=self_weight, neighbour_weight=number > 0 or not folded)
            for number, pair in enumerate(pairwise(sizes))
        ]


def _mean(x: Tensor, graph: GraphTensors) -> Tensor:
    """The mean over the sources of each row's entries, `[num_outputs, channels]`; 0 for a node without any."""
    (offsets, _), _ = graph.matrix.pattern.get_csr()
    ones = torch.ones_like(graph.matrix.value)
    rows: Tensor = graph.matrix.matmul(x, ones) / offsets.diff().clamp(min=1)[:, None]
    if graph.one_row_a_node:
        return rows
    return rows.new_zeros(graph.num_outputs, x.size(1)).index_copy(0, graph.row_node, rows)
