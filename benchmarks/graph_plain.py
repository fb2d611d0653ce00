"""The peer: the same models as a user would write them plainly with PyTorch Geometric.

`MergedGCN` is what Modelyard trains where both directions of one relation are merged: dense features, PyG's own
convolution with its normalisation cached, dropout in the same places. `TwoRelationRGCN` is PyG's `RGCNConv` over the
edges and their reverses.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GCNConv, RGCNConv


class MergedGCN(nn.Module):
    """Two GCN layers; `input_dropout` is on the dense features."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, dropout: float, input_dropout: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [GCNConv(in_channels, hidden, cached=True), GCNConv(hidden, out_channels, cached=True)]
        )
        self.dropout, self.input_dropout = dropout, input_dropout

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = functional.dropout(x, self.input_dropout, self.training)
        x = functional.dropout(self.convs[0](x, edge_index).relu(), self.dropout, self.training)
        return self.convs[1](x, edge_index)


class TwoRelationRGCN(nn.Module):
    """Two `RGCNConv` layers; relation 1 is relation 0 backwards."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, dropout: float, input_dropout: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList([RGCNConv(in_channels, hidden, 2), RGCNConv(hidden, out_channels, 2)])
        self.dropout, self.input_dropout = dropout, input_dropout

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        edges = torch.cat([edge_index, edge_index.flip(0)], dim=1)
        kind = torch.arange(2).repeat_interleave(edge_index.size(1))
        x = functional.dropout(x, self.input_dropout, self.training)
        x = functional.dropout(self.convs[0](x, edges, kind).relu(), self.dropout, self.training)
        return self.convs[1](x, edges, kind)
