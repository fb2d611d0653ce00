"""The graph attention network (GAT).

Velickovic, Cucurull, Casanova, Romero, Lio, Bengio: "Graph Attention Networks", ICLR 2018. A head computes, for node i,

    h_i' = sum_{j in N(i)} alpha_ij W h_j        alpha_ij = softmax_j(LeakyReLU(a_dst W h_i + a_src W h_j))

with N(i) the ends of i's edges in either direction and i itself. Heads are concatenated, those of the last layer
averaged; attention is dropped out as vectors are. For graphs of one node type and one edge type.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.attention import channels_of_heads, edge_softmax, edge_sums, end_sums
from modelyard.workloads.graph.models.dropout import dropout
from modelyard.workloads.graph.models.gnn import GNN, Dimensions, needs_one_type
from modelyard.workloads.graph.training.adjacency import Relation
from modelyard.workloads.graph.training.entries import Tiers, entry, extended
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import GraphTensors

_NEGATIVE_SLOPE = 0.2


class GATLayer(nn.Module):
    """One attention over neighbours, with `heads` heads of `channels` each.

    concat: False averages the heads. weighted: False leaves `W` out, where a linear map precedes the layer anyway.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        heads: int,
        concat: bool = True,
        weighted: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads, self.concat, self.dropout = heads, concat, dropout
        self.weight = nn.Parameter(torch.empty(in_channels, heads * channels)) if weighted else None
        self.source = nn.Parameter(torch.empty(heads, channels))
        self.dest = nn.Parameter(torch.empty(heads, channels))
        self.bias = nn.Parameter(torch.zeros(heads * channels if concat else channels))
        for weight in (self.weight, self.source, self.dest):
            if weight is not None:
                nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, in_channels]` -> `[num_outputs, heads * channels]`, or `[num_outputs, channels]` if averaged."""
        x = x if self.weight is None else x @ self.weight
        source, dest = (x @ _block_diagonal(one) for one in (self.source, self.dest))
        dest = graph.of_outputs(dest)
        dest = dest if graph.one_row_a_node else dest[graph.row_node]
        score = functional.leaky_relu(end_sums(graph.matrix, dest, source), _NEGATIVE_SLOPE)
        vectors = x.view(x.size(0), self.heads, -1).transpose(0, 1).contiguous()
        weight = edge_softmax(graph.matrix, score, graph.row_node, graph.num_outputs)
        out = edge_sums(graph.matrix, dropout(weight, self.dropout, self.training), vectors)
        if not graph.one_row_a_node:
            out = out.new_zeros(out.size(0), graph.num_outputs, out.size(2)).index_copy(1, graph.row_node, out)
        out = out.transpose(0, 1).reshape(graph.num_outputs, -1) if self.concat else out.mean(0)
        return out + self.bias


def _block_diagonal(weight: Tensor) -> Tensor:
    """`[heads, channels]` -> `[heads * channels, heads]`: one product with it is the product of each head with its own.

    A product a head has too few channels to be fast.
    """
    heads, channels = weight.shape
    own = torch.eye(heads, device=weight.device).repeat_interleave(channels, dim=0)
    return own * weight.reshape(-1, 1)


class GAT(GNN):
    """Graph attentions; the encoder's projection is the first one's weight."""

    name = "gat"
    hyperparameters = GNN.hyperparameters | {"num-heads"}

    @classmethod
    def fits(cls, graph: Graph) -> str | None:
        """See `GNN`."""
        return needs_one_type(graph)

    @classmethod
    def relations(cls, graph: Graph, use_self_loop: bool) -> tuple[Relation, ...]:
        """Both directions as one, and the self-loop among them."""
        return (Relation(0, "merged", use_self_loop),)

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """The shared tiers, and the number of heads."""
        return extended(super().search_space(graph), "2-tier-param", entry("num-heads", "int", 8, options=[1, 4, 8]))

    def make_layers(
        self, sizes: Sequence[int], dimensions: Dimensions, hyperparameters: Hyperparameters, self_weight: bool
    ) -> list[nn.Module]:
        """See `GNN`. InputError: the hidden channels cannot be shared out among the heads."""
        heads, rate = hyperparameters.num_heads, hyperparameters.dropout
        channels = channels_of_heads(hyperparameters)
        folded = not hyperparameters.per_feat_name_embed and len(sizes) > 2
        inner = [
            GATLayer(size, channels, heads, weighted=number > 0 or not folded, dropout=rate)
            for number, size in enumerate(sizes[:-2])
        ]
        return [*inner, GATLayer(sizes[-2], sizes[-1], heads, concat=False, dropout=rate)]
