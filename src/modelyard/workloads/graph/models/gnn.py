"""What all graph neural networks here have in common: first vectors of nodes, then layers over the adjacency.

A model is one file beside this: a layer, the relations that it wants, its hyperparameters and its search space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.dropout import dropout
from modelyard.workloads.graph.training.adjacency import Relation, decide_relations
from modelyard.workloads.graph.training.entries import Tiers, edge_tiers, is_large, link_tiers, node_tiers, sampled
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.node_table import NodeTable
from modelyard.workloads.graph.training.tensors import GraphTensors, SparseMatrix, moments


@dataclass(frozen=True)
class Dimensions:
    """The sizes that, with the hyperparameters, say everything about a model's weights.

    num_nodes: of each node type. feature_dims: of each node type's features, one by one. edge_parts: the relation and
    the number of columns of all edge features that take part in message passing (see `edge_features`).
    """

    num_nodes: tuple[int, ...]
    feature_dims: tuple[tuple[int, ...], ...]
    num_relations: int
    out_channels: int
    edge_parts: tuple[tuple[int, int], ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Dimensions":
        """From what `document` made."""
        dims = tuple(tuple(dims) for dims in document["feature_dims"])
        parts = tuple((relation, dim) for relation, dim in document.get("edge_parts", ()))
        return cls(tuple(document["num_nodes"]), dims, document["num_relations"], document["out_channels"], parts)


class NodeEncoder(nn.Module):
    """First vectors of nodes: encoded features, projected; learnable embeddings where there are none, or beside them.

    The projection of concatenated features is the sum of each feature's own projection, which is how it is computed.
    Dense columns are standardised inside it with the training graph's mean and deviation; of sparse features the
    stored values alone are dropped out. With `per-feat-name-embed` a ReLU follows each feature's projection. tables:
    embeddings that are kept, and learn, apart from the other weights, by number of the node type.
    """

    def __init__(
        self, dimensions: Dimensions, hyperparameters: Hyperparameters, tables: Mapping[int, NodeTable]
    ) -> None:
        super().__init__()
        self.tables = tables
        self.dropout = hyperparameters.dropout
        self.each_feature = hyperparameters.per_feat_name_embed
        channels = hyperparameters.num_hidden
        self.projections = nn.ModuleDict()
        self.embeddings = nn.ParameterDict()
        for number, (nodes, dims) in enumerate(zip(dimensions.num_nodes, dimensions.feature_dims, strict=True)):
            for place, dim in enumerate(dims):
                self.projections[f"{number}-{place}"] = _Projection(dim, sum(dims), channels)
            if number not in tables and (not dims or hyperparameters.concat_node_embed):
                self.embeddings[str(number)] = nn.Parameter(torch.empty(nodes, channels))
        for embedding in self.embeddings.values():
            nn.init.xavier_uniform_(embedding)

    def standardise(self, graph: GraphTensors) -> None:
        """Takes mean and deviation of dense columns from a graph; once, before training."""
        for number, blocks in enumerate(graph.features):
            for place, (mean, deviation) in enumerate(moments(blocks)):
                projection = self.projections[f"{number}-{place}"]
                projection.mean.copy_(mean)  # type: ignore[operator]  # modules of a dict lose their class
                projection.deviation.copy_(deviation)  # type: ignore[operator]  # as above

    def forward(self, graph: GraphTensors) -> Tensor:
        """`[num_nodes, num_hidden]`, all node types one after the other."""
        vectors = [self._of_type(number, graph) for number in range(len(graph.num_nodes))]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors)

    def _of_type(self, number: int, graph: GraphTensors) -> Tensor:
        parts = []
        for place, block in enumerate(graph.features[number]):
            part: Tensor = self.projections[f"{number}-{place}"](block, self.dropout)
            parts.append(part.relu() if self.each_feature else part)
        if number in self.tables:
            assert graph.rows is not None
            parts.append(self.tables[number].rows(graph.rows[number]))
        elif str(number) in self.embeddings:
            embedding = self.embeddings[str(number)]
            rows = None if graph.rows is None else graph.rows[number].to(embedding.device)
            parts.append(embedding if rows is None else embedding.index_select(0, rows))
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


class GNN(nn.Module):
    """Node encoder, layers, and between them layer normalisation, ReLU and dropout.

    A model is a subclass that says what a layer is. self_weight: whether any node's own vector is to have a weight of
    its own (see `Adjacency.own`). tables: see `NodeEncoder`.
    """

    family: ClassVar[Literal["gnn"]] = "gnn"
    name: ClassVar[str]
    hyperparameters: ClassVar[frozenset[str]] = frozenset(
        {
            "num-hidden", "num-layer", "num-epochs", "lr", "sparse-lr", "l2norm", "dropout", "layer-norm",
            "use-self-loop", "concat-node-embed", "per-feat-name-embed", "use-class-weight", "batch-size",
            "enable-early-stop", "window-for-early-stop", "num-negs", "neg-share", "regularization-coef", "fanout",
            "low-mem",
        }
    )  # fmt: skip
    """The hyperparameters that the model takes, by AWS's names; these are those that all of them take."""

    def __init__(
        self,
        dimensions: Dimensions,
        hyperparameters: Hyperparameters,
        self_weight: bool = True,
        tables: Mapping[int, NodeTable] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        hidden, layers = hyperparameters.num_hidden, hyperparameters.num_layer
        self.dropout = hyperparameters.dropout
        self.encoder = NodeEncoder(dimensions, hyperparameters, tables)
        sizes = [hidden] * layers + [dimensions.out_channels]
        self.layers = nn.ModuleList(self.make_layers(sizes, dimensions, hyperparameters, self_weight))
        norms = layers - 1 if hyperparameters.layer_norm else 0
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(norms))

    @classmethod
    def fits(cls, graph: Graph) -> str | None:
        """Why the model cannot learn from a graph, as the end of "model … "; None if it can."""
        return None

    @classmethod
    def relations(cls, graph: Graph, use_self_loop: bool) -> tuple[Relation, ...]:
        """The relations that the model passes messages along."""
        return decide_relations(graph, use_self_loop)

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """The tiers of `model-hpo-configuration.json` that suit a graph."""
        if graph.task.type == "link_predict":
            tiers = link_tiers(graph)
        else:
            tiers = node_tiers(graph) if graph.task.edge_type is None else edge_tiers(graph)
        return sampled(tiers) if is_large(graph) else tiers

    def standardise(self, graph: GraphTensors, edges: Sequence[tuple[Tensor, Tensor]] = ()) -> None:
        """Takes scales of features from a graph, and those of the parts of edge features; once, before training."""
        self.encoder.standardise(graph)

    def make_layers(
        self, sizes: Sequence[int], dimensions: Dimensions, hyperparameters: Hyperparameters, self_weight: bool
    ) -> list[nn.Module]:
        """The layers, `num_layer` of them, from `sizes[n]` to `sizes[n + 1]` channels.

        Each is called with `[num_nodes, in_channels]` and the graph, and gives `[num_outputs, out_channels]`.
        """
        raise NotImplementedError

    def forward(self, graph: GraphTensors) -> tuple[Tensor, Tensor]:
        """The last layer's output `[num_outputs, out_channels]`, and its input `[num_outputs, num_hidden]`."""
        hidden = self.encoder(graph)
        for number in range(len(self.layers) - 1):
            hidden = self.step(number, hidden, graph)
        last = graph.of_layer(len(self.layers) - 1)
        return self.layers[-1](hidden, last), last.of_outputs(hidden)

    def step(self, number: int, hidden: Tensor, graph: GraphTensors) -> Tensor:
        """One layer but the last, and what stands between it and the next."""
        hidden = self.layers[number](hidden, graph.of_layer(number))
        if self.norms:
            hidden = self.norms[number](hidden)
        return dropout(hidden.relu(), self.dropout, self.training)

    def embedding_parameters(self) -> Sequence[nn.Parameter]:
        """The learnable embeddings of nodes: they take `sparse-lr`, and no weight decay."""
        return list(self.encoder.embeddings.values())


def needs_one_type(graph: Graph) -> str | None:
    """What a model that knows one node type and one edge type says of a graph: see `GNN.fits`."""
    found = len(graph.node_types), len(graph.edge_types)
    if found == (1, 1):
        return None
    return f"takes graphs of one node type and one edge type, and this one has {found[0]} and {found[1]}"
