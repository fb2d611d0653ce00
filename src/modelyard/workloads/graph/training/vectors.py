"""What a graph model gives for some nodes only, asked for as if it were there for all of them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Vectors:
    """The output of a sample: `vectors[i]` is that of node `nodes[i]` of the whole graph.

    nodes: int64, rising. vectors: `[len(nodes), channels]`.
    """

    nodes: Tensor
    vectors: Tensor

    def __getitem__(self, nodes: Tensor) -> Tensor:
        """The vectors of nodes by their numbers in the whole graph; all of them must be here."""
        return self.vectors.index_select(0, torch.searchsorted(self.nodes, nodes))

    def span(self, nodes: slice) -> tuple[Tensor, Tensor]:
        """Those of the nodes that lie in a slice, and their vectors."""
        ends = torch.tensor([nodes.start, nodes.stop], device=self.nodes.device)
        begin, end = torch.searchsorted(self.nodes, ends).tolist()
        return self.nodes[begin:end], self.vectors[begin:end]
