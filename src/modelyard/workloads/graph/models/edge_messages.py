"""What features of edges do to the messages of a relational convolution: each message is gated, and shifted.

With z_e = relu(U_r x_e + b), a message along edge e from node j is, instead of W_r h_j,

    W_r (2 sigmoid(G z_e + g) * h_j + S z_e)

The gate is that of Bresson and Laurent, "Residual Gated Graph ConvNets", 2017; gate and shift together are a
feature-wise linear modulation as in Brockschmidt, "GNN-FiLM: Graph Neural Networks with Feature-wise Linear
Modulation", ICML 2020.
Both are needed: on made graphs where edges alone tell the answer (share right, mean of three seeds), a shift alone
finds sums of features (96 %) but not which neighbours to trust (77 %, and 78 % without features), a gate alone the
opposite (85 % and 89 %); the two together 96 % and 88 %.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.training.tensors import EdgeBlock, GraphTensors


class EdgeMessages(nn.Module):
    """What is added to one layer's output for the features of edges.

    parts: relation and number of feature columns of each part of `GraphTensors.edges`. channels: of the layer's input.
    hidden: channels of z.
    """

    def __init__(self, parts: Sequence[tuple[int, int]], channels: int, hidden: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(_Projection(dim, hidden) for _, dim in parts)
        self.gate = nn.Linear(hidden, channels)
        self.shift = nn.Linear(hidden, channels, bias=False)

    def standardise(self, moments: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Takes shift and scale of each part's columns; once, before training."""
        for projection, (mean, deviation) in zip(self.projections, moments, strict=True):
            projection.mean.copy_(mean)  # type: ignore[operator]  # modules of a list lose their class
            projection.deviation.copy_(deviation)  # type: ignore[operator]  # as above

    def forward(self, x: Tensor, weight: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, in]`, each relation's weight `[relations, in, out]` -> `[num_outputs, out]`."""
        row_node = graph.row_node.split(list(graph.sizes))
        out = x.new_zeros(graph.num_outputs, weight.size(2))
        for projection, block in zip(self.projections, graph.edges, strict=True):
            nodes = row_node[block.relation]
            rows = x.new_zeros(len(nodes), x.size(1)).index_add(0, block.row, self._change(projection, block, x))
            out = out.index_add(0, nodes, rows @ weight[block.relation])
        return out

    def _change(self, projection: nn.Module, block: EdgeBlock, x: Tensor) -> Tensor:
        """By how much each message differs from the neighbour's vector alone, `[num_messages, in]`."""
        hidden = projection(block.features)
        gate, shift = 2 * self.gate(hidden).sigmoid() - 1, self.shift(hidden)
        change: Tensor = (x[block.col] * gate[block.edge] + shift[block.edge]) * block.weight[:, None]
        return change


class _Projection(nn.Module):
    """A linear map of standardised columns, and a ReLU."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, channels)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.linear((features - self.mean) / self.deviation)
        return projected.relu()
