"""The model of both scripts: GraphSAGE (Hamilton et al. 2017) for the nodes, and a decoder that classifies edges."""

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import MLP, HeteroConv, SAGEConv

EdgeKey = tuple[str, str, str]


class EdgeClassifier(nn.Module):
    """An edge is what its two ends are, what they are together, and what it says of itself."""

    def __init__(self, data: HeteroData, target: EdgeKey, channels: int, classes: int) -> None:
        super().__init__()
        self.target = target
        self.projections = nn.ModuleDict({name: nn.Linear(x.size(1), channels) for name, x in data.x_dict.items()})
        learned = {name: data[name].num_nodes for name in data.node_types if "x" not in data[name]}
        self.embeddings = nn.ModuleDict({name: nn.Embedding(count, channels) for name, count in learned.items()})
        self.convolution = HeteroConv({key: SAGEConv(channels, channels) for key in data.edge_types}, aggr="sum")
        features = data[target].edge_attr.size(1) if "edge_attr" in data[target] else 0
        self.decoder = MLP([3 * channels + features, channels, channels, classes], norm=None)

    def embed(self, data: HeteroData) -> dict[str, Tensor]:
        """The vectors of all nodes, `[nodes, channels]` by type; messages go along `data`'s `edge_index`."""
        own = {name: layer(data[name].x) for name, layer in self.projections.items()}
        own |= {name: layer.weight for name, layer in self.embeddings.items()}
        heard = self.convolution(own, data.edge_index_dict)
        return {name: torch.relu(vectors + heard[name]) if name in heard else vectors for name, vectors in own.items()}

    def forward(self, vectors: dict[str, Tensor], edges: Tensor, features: Tensor | None) -> Tensor:
        """The logits of edges of the target type, `[edges, classes]`, by the rows of their ends `[2, edges]`."""
        source, _, dest = self.target
        head, tail = vectors[source][edges[0]], vectors[dest][edges[1]]
        known = [head, tail, head * tail] if features is None else [head, tail, head * tail, features]
        return self.decoder(torch.cat(known, dim=1))
