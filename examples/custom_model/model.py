"""The model of both scripts: GraphSAGE (Hamilton et al. 2017) over every edge type of a graph."""

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv


class Sage(nn.Module):
    """Nodes with features are projected, nodes without have a vector to learn; then each layer sums over edge types."""

    def __init__(self, data: HeteroData, channels: int, layers: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.projections = nn.ModuleDict({name: nn.Linear(x.size(1), channels) for name, x in data.x_dict.items()})
        learned = {name: data[name].num_nodes for name in data.node_types if "x" not in data[name]}
        self.embeddings = nn.ModuleDict({name: nn.Embedding(count, channels) for name, count in learned.items()})
        self.layers = nn.ModuleList(
            HeteroConv({key: SAGEConv(channels, channels) for key in data.edge_types}, aggr="sum")
            for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(channels, classes)

    def embed(self, data: HeteroData) -> dict[str, Tensor]:
        """The vectors of all nodes, `[nodes, channels]` by type."""
        vectors = {name: layer(data[name].x) for name, layer in self.projections.items()}
        vectors |= {name: layer.weight for name, layer in self.embeddings.items()}
        for layer in self.layers:
            new = layer(vectors, data.edge_index_dict)
            vectors = {name: self.dropout(torch.relu(new.get(name, old))) for name, old in vectors.items()}
        return vectors

    def forward(self, data: HeteroData, target: str) -> Tensor:
        """The logits of the target type's nodes, `[nodes, classes]`."""
        return self.decoder(self.embed(data)[target])
