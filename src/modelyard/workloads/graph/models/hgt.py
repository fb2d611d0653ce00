"""The heterogeneous graph transformer (HGT).

Hu, Dong, Wang, Sun: "Heterogeneous Graph Transformer", WWW 2020. A head computes, for node t of type T, over its
neighbours s of type S under all relations r,

    alpha = softmax_{s, r}(mu_r (K_S h_s) A_r (Q_T h_t) / sqrt(channels))
    h_t' = sigma(z_T) O_T gelu(sum_{s, r} alpha (V_S h_s) M_r) + (1 - sigma(z_T)) h_t

with keys, queries, values and outputs of each node type and matrices A_r, M_r of each relation. Both matrices are
applied to rows, a (relation, node) pair each, where the paper applies them to edges: to the query before the scores,
and to the sum of a row's values after it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.attention import channels_of_heads, edge_scores, edge_softmax, edge_sums
from modelyard.workloads.graph.models.gnn import GNN, Dimensions
from modelyard.workloads.graph.models.rgcn import relation_matmul
from modelyard.workloads.graph.training.adjacency import Relation, decide_relations
from modelyard.workloads.graph.training.entries import Tiers, entry, extended, replaced
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import GraphTensors


class TypedLinear(nn.Module):
    """A linear map of its own for each node type."""

    def __init__(self, num_types: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_types, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(num_types, out_channels))
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """`[num_nodes, in_channels]`, the nodes of each type together -> `[num_nodes, out_channels]`."""
        parts = zip(self.bias, x.split(list(sizes)), self.weight, strict=True)
        return torch.cat([torch.addmm(bias, part, weight) for bias, part, weight in parts])


class HGTLayer(nn.Module):
    """One attention over all neighbours, with `heads` heads that share `channels`.

    skip: False leaves the node's own vector out.
    """

    def __init__(self, channels: int, num_types: int, num_relations: int, heads: int, skip: bool = True) -> None:
        super().__init__()
        self.heads = heads
        dim = channels // heads
        self.projection = TypedLinear(num_types, channels, 3 * channels)
        self.out = TypedLinear(num_types, channels, channels)
        self.attention = nn.Parameter(torch.empty(num_relations, heads, dim, dim))
        self.message = nn.Parameter(torch.empty(num_relations, heads, dim, dim))
        self.prior = nn.Parameter(torch.ones(num_relations, heads))
        self.skip = nn.Parameter(torch.ones(num_types)) if skip else None
        for weight in (*self.attention.flatten(0, 1), *self.message.flatten(0, 1)):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, channels]` -> `[num_outputs, channels]`."""
        key, query, value = self.projection(x, graph.num_nodes).chunk(3, dim=1)
        query, own = graph.of_outputs(query), graph.of_outputs(x)
        scale = self.prior[:, :, None, None] * self.attention.size(2) ** -0.5
        attention = _block_diagonal(self.attention.transpose(2, 3) * scale)
        asked = relation_matmul(query.index_select(0, graph.row_node), attention, graph.sizes)
        score = edge_scores(graph.matrix, self._by_head(asked), self._by_head(key))
        weight = edge_softmax(graph.matrix, score, graph.row_node, graph.num_outputs)
        sums = edge_sums(graph.matrix, weight, self._by_head(value)).transpose(0, 1).reshape(-1, x.size(1))
        rows = relation_matmul(sums, _block_diagonal(self.message), graph.sizes)
        sums = torch.zeros_like(own).index_add(0, graph.row_node, rows)
        out: Tensor = self.out(functional.gelu(sums), graph.outputs_of_types)
        if self.skip is None:
            return out
        sizes = torch.tensor(graph.outputs_of_types, device=x.device)
        share = self.skip.sigmoid().repeat_interleave(sizes, output_size=len(own))[:, None]
        return torch.lerp(own, out, share)

    def _by_head(self, rows: Tensor) -> Tensor:
        """`[num_rows, channels]` -> `[heads, num_rows, channels / heads]`."""
        return rows.reshape(len(rows), self.heads, rows.size(1) // self.heads).transpose(0, 1)


class HGTOutput(nn.Module):
    """The last layer: one more attention, and a linear map to the output."""

    def __init__(self, layer: HGTLayer, channels: int, out_channels: int) -> None:
        super().__init__()
        self.layer = layer
        self.linear = nn.Linear(channels, out_channels)

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, channels]` -> `[num_outputs, out_channels]`."""
        out: Tensor = self.linear(self.layer(x, graph))
        return out


class HGT(GNN):
    """Heterogeneous graph transformers."""

    name = "hgt"
    hyperparameters = GNN.hyperparameters | {"num-heads"}

    @classmethod
    def relations(cls, graph: Graph, use_self_loop: bool) -> tuple[Relation, ...]:
        """Every edge type in both directions, joined where they say the same; the node itself is skipped to."""
        return decide_relations(graph, use_self_loop=False)

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """The shared tiers, and the number of heads; normalised layers, as the paper's own code has them.

        Without normalisation a model learned from few labels is far worse, with weight decay a little.
        """
        tiers = extended(super().search_space(graph), "2-tier-param", entry("num-heads", "int", 4, options=[1, 4, 8]))
        return replaced(tiers, entry("layer-norm", "bool", True), entry("l2norm", "float", 0.0))

    def make_layers(
        self, sizes: Sequence[int], dimensions: Dimensions, hyperparameters: Hyperparameters, self_weight: bool
    ) -> list[nn.Module]:
        """See `GNN`. InputError: the hidden channels cannot be shared out among the heads."""
        channels_of_heads(hyperparameters)
        types, relations = len(dimensions.num_nodes), dimensions.num_relations
        layers = [HGTLayer(size, types, relations, hyperparameters.num_heads, self_weight) for size in sizes[:-1]]
        return [*layers[:-1], HGTOutput(layers[-1], sizes[-2], sizes[-1])]


def _block_diagonal(weight: Tensor) -> Tensor:
    """`[relations, heads, channels, channels]` -> `[relations, heads * channels, heads * channels]`.

    One product with it is the product of each head with its own, of which there are too many too small ones to be fast.
    """
    heads = torch.eye(weight.size(1), device=weight.device)
    return torch.einsum("rhio,hk->rhiko", weight, heads).flatten(1, 2).flatten(2, 3)
