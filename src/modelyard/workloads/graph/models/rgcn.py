"""The relational graph convolutional network (R-GCN).

Schlichtkrull, Kipf, Bloem, van den Berg, Titov, Welling: "Modeling Relational Data with Graph Convolutional
Networks", ESWC 2018. A layer computes, for node i with neighbours N_r(i) under relation r,

    h_i' = b + W_0 h_i + sum_r sum_{j in N_r(i)} c_ij W_r h_j        W_r = sum_b a_rb V_b  (basis decomposition)

Here the sum over neighbours of all relations is one sparse product: its rows are (relation, node) pairs, the rows of
one relation lie together, and each relation's weight multiplies its own rows. No message of a single edge is ever
stored.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.models.dropout import dropout
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import GraphTensors, SparseMatrix, moments


@dataclass(frozen=True)
class Dimensions:
    """The sizes that, with the hyperparameters, say everything about an R-GCN's weights.

    num_nodes: of each node type. feature_dims: of each node type's features, one by one.
    """

    num_nodes: tuple[int, ...]
    feature_dims: tuple[tuple[int, ...], ...]
    num_relations: int
    out_channels: int

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Dimensions":
        """From what `document` made."""
        dims = tuple(tuple(dims) for dims in document["feature_dims"])
        return cls(tuple(document["num_nodes"]), dims, document["num_relations"], document["out_channels"])


class _RelationMatmul(torch.autograd.Function):
    """Rows of each relation times that relation's weight.

    `[num_rows, in]`, `[relations, in, out]`, the relations' numbers of rows -> `[num_rows, out]`.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, sizes: list[int]) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.sizes = sizes
        out = rows.new_empty(rows.size(0), weight.size(2))
        for part, own, result in zip(torch.split(rows, sizes), weight.unbind(), torch.split(out, sizes), strict=True):
            torch.mm(part, own, out=result)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, weight = ctx.saved_tensors
        to_rows, to_weight = torch.empty_like(rows), torch.empty_like(weight)
        parts = [torch.split(one, ctx.sizes) for one in (gradients[0].contiguous(), rows, to_rows)]
        weights = (weight.transpose(1, 2).unbind(), to_weight.unbind())
        for gradient, part, to_part, own, to_own in zip(*parts, *weights, strict=True):
            torch.mm(gradient, own, out=to_part)
            torch.mm(part.t(), gradient, out=to_own)
        return to_rows, to_weight, None


def _relation_matmul(rows: Tensor, weight: Tensor, sizes: list[int]) -> Tensor:
    product: Tensor = _RelationMatmul.apply(rows, weight, sizes)
    return product


class RGCNLayer(nn.Module):
    """One relational convolution over the stacked adjacency of a graph.

    num_bases: 0 gives each relation its own weight. self_weight: False leaves `W_0` out.
    """

    def __init__(
        self, in_channels: int, out_channels: int, num_relations: int, num_bases: int = 0, self_weight: bool = True
    ) -> None:
        super().__init__()
        bases = num_bases if 0 < num_bases < num_relations else 0
        self.weight = nn.Parameter(torch.empty(bases or num_relations, in_channels, out_channels))
        self.coefficient = nn.Parameter(torch.empty(num_relations, bases)) if bases else None
        self.self_weight = nn.Parameter(torch.empty(in_channels, out_channels)) if self_weight else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform initialisation, as in PyG's `RGCNConv`."""
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)
        if self.coefficient is not None:
            nn.init.xavier_uniform_(self.coefficient)
        if self.self_weight is not None:
            nn.init.xavier_uniform_(self.self_weight)

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, in_channels]` -> `[num_nodes, out_channels]`."""
        if graph.one_row_a_node:
            out = self._one_relation(x, graph.matrix)
        else:
            rows = _relation_matmul(graph.matrix.matmul(x), self._weights(), list(graph.sizes))
            out = rows.new_zeros(x.size(0), rows.size(1)).index_add(0, graph.row_node, rows)
        if self.self_weight is not None:
            own = x if graph.own is None else x * graph.own[:, None]
            out = torch.addmm(out, own, self.self_weight)
        return out + self.bias

    def _one_relation(self, x: Tensor, matrix: SparseMatrix) -> Tensor:
        weight = self._weights()[0]
        narrows = weight.size(1) < weight.size(0)
        return matrix.matmul(x @ weight) if narrows else matrix.matmul(x) @ weight

    def _weights(self) -> Tensor:
        if self.coefficient is None:
            return self.weight
        return torch.einsum("rb,bio->rio", self.coefficient, self.weight)


class Propagation(nn.Module):
    """The mean over neighbours alone, and a bias: a layer of one relation whose weight would follow another at once."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, graph: GraphTensors) -> Tensor:
        """`[num_nodes, channels]` -> `[num_nodes, channels]`."""
        return graph.matrix.matmul(x) + self.bias


class NodeEncoder(nn.Module):
    """First vectors of nodes: encoded features, projected; learnable embeddings where there are none, or beside them.

    The projection of concatenated features is the sum of each feature's own projection, which is how it is computed.
    Dense columns are standardised inside it with the training graph's mean and deviation; of sparse features the
    stored values alone are dropped out. With `per-feat-name-embed` a ReLU follows each feature's projection.
    """

    def __init__(self, dimensions: Dimensions, hyperparameters: Hyperparameters) -> None:
        super().__init__()
        self.dropout = hyperparameters.dropout
        self.each_feature = hyperparameters.per_feat_name_embed
        channels = hyperparameters.num_hidden
        self.projections = nn.ModuleDict()
        self.embeddings = nn.ParameterDict()
        for number, (nodes, dims) in enumerate(zip(dimensions.num_nodes, dimensions.feature_dims, strict=True)):
            for place, dim in enumerate(dims):
                self.projections[f"{number}-{place}"] = _Projection(dim, sum(dims), channels)
            if not dims or hyperparameters.concat_node_embed:
                self.embeddings[str(number)] = nn.Parameter(torch.empty(nodes, channels))
        for embedding in self.embeddings.values():
            nn.init.xavier_uniform_(embedding)

    def standardise(self, graph: GraphTensors) -> None:
        """Takes mean and deviation of dense columns from a graph; once, before training."""
        for number, blocks in enumerate(graph.features):
            for place, (mean, deviation) in enumerate(moments(blocks)):
                projection = self.projections[f"{number}-{place}"]
                projection.mean.copy_(mean)  # type: ignore[operator]
                projection.deviation.copy_(deviation)  # type: ignore[operator]

    def forward(self, graph: GraphTensors) -> Tensor:
        """`[num_nodes, num_hidden]`, all node types one after the other."""
        vectors = [self._of_type(number, graph) for number in range(len(graph.num_nodes))]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors)

    def _of_type(self, number: int, graph: GraphTensors) -> Tensor:
        parts = []
        for place, block in enumerate(graph.features[number]):
            part: Tensor = self.projections[f"{number}-{place}"](block, self.dropout)
            parts.append(part.relu() if self.each_feature else part)
        if str(number) in self.embeddings:
            parts.append(self.embeddings[str(number)])
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


class _Projection(nn.Module):
    """A linear map of one feature's columns, standardised."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, all_dims: int, channels: int) -> None:
        super().__init__()
        bound = (6 / (all_dims + channels)) ** 0.5
        self.weight = nn.Parameter(torch.empty(dim, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def forward(self, block: Tensor | SparseMatrix, probability: float) -> Tensor:
        if isinstance(block, SparseMatrix):
            value = dropout(block.value, probability, self.training)
            return block.matmul(self.weight, value) + self.bias
        weight = self.weight / self.deviation[:, None]
        return torch.addmm(self.bias - self.mean @ weight, block, weight)


class RGCN(nn.Module):
    """Node encoder, R-GCN layers, and between them layer normalisation, ReLU and dropout.

    Where one relation reaches every node, the encoder's projection and the first layer's weight are two linear maps
    in a row, which is one: the first layer then has no weight (a GCN). That is both faster and better.
    """

    def __init__(self, dimensions: Dimensions, hyperparameters: Hyperparameters, self_weight: bool = True) -> None:
        super().__init__()
        one_map = dimensions.num_relations == 1 and not self_weight and not hyperparameters.per_feat_name_embed
        hidden, layers = hyperparameters.num_hidden, hyperparameters.num_layer
        sizes = [hidden] * layers + [dimensions.out_channels]
        self.dropout = hyperparameters.dropout
        self.encoder = NodeEncoder(dimensions, hyperparameters)
        self.layers = nn.ModuleList(
            Propagation(size)
            if one_map and following == size and number == 0
            else RGCNLayer(size, following, dimensions.num_relations, hyperparameters.num_bases, self_weight)
            for number, (size, following) in enumerate(pairwise(sizes))
        )
        norms = layers - 1 if hyperparameters.layer_norm else 0
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(norms))

    def forward(self, graph: GraphTensors) -> tuple[Tensor, Tensor]:
        """The last layer's output `[num_nodes, out_channels]` and its input `[num_nodes, num_hidden]`."""
        hidden = self.encoder(graph)
        for number, layer in enumerate(self.layers[:-1]):
            hidden = layer(hidden, graph)
            if self.norms:
                hidden = self.norms[number](hidden)
            hidden = dropout(hidden.relu(), self.dropout, self.training)
        return self.layers[-1](hidden, graph), hidden

    def embedding_parameters(self) -> Sequence[nn.Parameter]:
        """The learnable embeddings of nodes: they take `sparse-lr`, and no weight decay."""
        return list(self.encoder.embeddings.values())
