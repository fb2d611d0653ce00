"""A decoder that scores an edge by the vectors of its two ends and by its own features: a perceptron of one layer.

    score(u, v, e) = W_2 relu(W_u h_u + W_v h_v + W_p (h_u * h_v) + W_e x_e + b_1) + b_2

The concatenation of both ends and the edge's features is the edge decoder of GraphStorm (Zheng et al. 2024,
"GraphStorm: all-in-one graph machine learning framework for industry applications", `MLPEFeatEdgeDecoder`). The product
of the ends is what lets it tell how well two nodes match, as DistMult does (Yang et al. 2015), which a sum under one
ReLU hardly does.
"""

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.models.dropout import dropout


class EdgeDecoder(nn.Module):
    """Scores `[num_edges, num_outputs]` of edges.

    channels: of a node's vector, and of the hidden layer. feature_dim: columns of the edges' features, 0 for none;
    they are standardised with the training graph's mean and deviation.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, feature_dim: int, num_outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = nn.Parameter(torch.empty(3 * channels + feature_dim, channels))
        self.first_bias = nn.Parameter(torch.zeros(channels))
        self.second = nn.Parameter(torch.empty(channels, num_outputs))
        self.second_bias = nn.Parameter(torch.zeros(num_outputs))
        for weight in (self.first, self.second):
            nn.init.xavier_uniform_(weight)
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("deviation", torch.ones(feature_dim))

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Sets by how much to shift and divide each column of features, `[feature_dim]`; once, before training."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, head: Tensor, tail: Tensor, features: Tensor) -> Tensor:
        """`[num_edges, channels]` twice and `[num_edges, feature_dim]` -> `[num_edges, num_outputs]`."""
        parts = torch.cat([head, tail, head * tail, (features - self.mean) / self.deviation], dim=1)
        hidden = torch.addmm(self.first_bias, parts, self.first).relu()
        return torch.addmm(self.second_bias, dropout(hidden, self.dropout, self.training), self.second)
