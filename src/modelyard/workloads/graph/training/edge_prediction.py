"""Learning a property of edges from the vectors of their ends and their own features."""

import numpy as np
import torch
from torch import Tensor

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.edge_decoder import EdgeDecoder
from modelyard.workloads.graph.training.adjacency import node_offsets
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.property_prediction import PropertyPrediction
from modelyard.workloads.graph.training.tensors import moments
from modelyard.workloads.graph.training.vectors import Vectors


class EdgePrediction(PropertyPrediction):
    """A property of the edges of one type; each of several edges that join one pair is an example of its own."""

    def __init__(self, graph: Graph, hyperparameters: Hyperparameters, device: torch.device) -> None:
        key = graph.task.edge_type
        assert key is not None
        arrays = graph.edges(graph.edge_type_index(key))
        super().__init__(graph.task, f"edges: no edge {'-'.join(key)!r}", arrays, hyperparameters, device)
        offsets = node_offsets(graph)[[graph.node_type_index(key[0]), graph.node_type_index(key[2])]]
        self._ends = torch.from_numpy(arrays["edge_index"] + offsets[:, None]).to(device)
        features = arrays.get("features", np.zeros((len(self.labels), 0), np.float32))
        self._features = torch.from_numpy(features).to(device)
        self.out_channels = hyperparameters.num_hidden
        sizes = (self.out_channels, self._features.size(1), self.num_outputs)
        self.decoder = EdgeDecoder(*sizes, dropout=hyperparameters.dropout).to(device)
        self.decoder.standardise(*moments([self._features])[0])

    def raw(self, output: Tensor | Vectors, rows: Tensor) -> Tensor:
        """See `PropertyPrediction`."""
        head, tail = self._ends[:, rows]
        scores: Tensor = self.decoder(output[head], output[tail], self._features[rows])
        return scores

    def nodes_of(self, rows: Tensor) -> Tensor:
        """See `PropertyPrediction`."""
        return self._ends[:, rows].flatten()
