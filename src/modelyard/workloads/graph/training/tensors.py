"""A processed graph as tensors: the constant inputs of a model, in the shape in which it multiplies them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from modelyard.workloads.graph.data import Graph, NodeType
from modelyard.workloads.graph.training.adjacency import Adjacency

# Torch says both of these once in every process, and so in every trial's log; patterns are checked as they are built.
torch.sparse.check_sparse_tensor_invariants.disable()
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)


@dataclass(frozen=True)
class SparseMatrix:
    """A constant sparse matrix with its transpose at hand, so that the backward pass is a product like the forward one.

    pattern: entries sorted by row, PyG's form with the transpose in its cache. value: float32 `[num_entries]`.
    """

    pattern: EdgeIndex
    value: Tensor

    @classmethod
    def from_entries(
        cls, row: np.ndarray, col: np.ndarray, value: np.ndarray, size: tuple[int, int], device: torch.device
    ) -> "SparseMatrix":
        """Builds the matrix from entries that are sorted by row."""
        index = torch.from_numpy(np.stack([row, col]).astype(np.int64)).to(device)
        pattern = EdgeIndex(index, sparse_size=size, sort_order="row").fill_cache_()
        return cls(pattern, torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)).to(device))

    def matmul(self, dense: Tensor, value: Tensor | None = None) -> Tensor:
        """The product with `dense` (`[num_columns, channels]`), with other values at the same places if given.

        Not by `EdgeIndex.matmul`, whose forward product takes up to twice as long for few channels on a CPU.
        """
        matrix = self if value is None else replace(self, value=value)
        product: Tensor = _Product.apply(matrix, dense)
        return product

    @cached_property
    def rows(self) -> Tensor:
        """As a tensor of compressed sparse rows, `[num_rows, num_columns]`."""
        (offsets, col), _ = self.pattern.get_csr()
        return torch.sparse_csr_tensor(offsets, col, self.value, self.pattern.get_sparse_size())

    @cached_property
    def transposed_rows(self) -> Tensor:
        """The transpose in the same form."""
        (offsets, row), order = self.pattern.get_csc()
        value = self.value if order is None else self.value[order]
        return torch.sparse_csr_tensor(offsets, row, value, self.pattern.get_sparse_size()[::-1])


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, dense: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix.rows @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix.transposed_rows @ gradients[0]


Block = Tensor | SparseMatrix
"""One encoded feature of one node type: dense float32 `[num_nodes, dim]`, or sparse of that size."""


@dataclass(frozen=True)
class EdgeBlock:
    """The edges with features of one relation, in one direction (see `edge_features`); a message of each.

    row, col: int64 `[num_messages]`, the row among the relation's own and the node that sends. weight: float32
    `[num_messages]`. edge: int64 `[num_messages]`, the edge's row in `features`, float32 `[num_edges, dim]`.
    """

    relation: int
    row: Tensor
    col: Tensor
    weight: Tensor
    edge: Tensor
    features: Tensor


@dataclass(frozen=True)
class Outputs:
    """The nodes that a layer gives vectors of, where these are not all that it takes.

    places: int64, rising, where they stand among the nodes that it takes. num_nodes: of each type.
    """

    places: Tensor
    num_nodes: tuple[int, ...]


@dataclass(frozen=True)
class GraphTensors:
    """What a graph model reads at every step, on one device.

    features: the blocks of each node type, in the order of its features. matrix: the stacked adjacency of all
    relations, `[num_rows, num_nodes]`; the first `sizes[0]` rows are relation 0's, and so on; `row_node` are the
    rows' destinations, by their places among the outputs. own: outputs whose own vector no relation brings in, bool
    `[num_outputs]`; None where that is every one. edges: what features of edges do to messages is worked out from
    these; none where they take no part. rows: of a sample, the row of each node among all of its type, int64 on the
    CPU; None for a whole graph. outputs: None where a layer gives vectors of all nodes. layers: of a sample, what each
    layer takes, the outputs of the one before it; none where each takes all.
    """

    num_nodes: tuple[int, ...]
    features: tuple[tuple[Block, ...], ...]
    matrix: SparseMatrix
    sizes: tuple[int, ...]
    row_node: Tensor
    own: Tensor | None
    edges: tuple[EdgeBlock, ...] = ()
    rows: tuple[Tensor, ...] | None = None
    outputs: Outputs | None = None
    layers: tuple["GraphTensors", ...] = ()

    def of_layer(self, number: int) -> "GraphTensors":
        """The nodes that a layer takes, and the messages to those that it gives."""
        return self.layers[number] if self.layers else self

    def of_outputs(self, vectors: Tensor, dim: int = 0) -> Tensor:
        """Those of the nodes that a layer gives, out of the vectors of all that it takes; nodes along `dim`."""
        return vectors if self.outputs is None else vectors.index_select(dim, self.outputs.places)

    @property
    def outputs_of_types(self) -> tuple[int, ...]:
        """How many nodes of each type a layer gives."""
        return self.num_nodes if self.outputs is None else self.outputs.num_nodes

    @property
    def num_outputs(self) -> int:
        """How many nodes a layer gives."""
        return sum(self.outputs_of_types)

    @property
    def one_row_a_node(self) -> bool:
        """Whether the stacked rows are exactly the outputs in their order: one relation that reaches all of them."""
        return self.sizes == (self.num_outputs,)


def graph_tensors(graph: Graph, adjacency: Adjacency, device: torch.device | str = "cpu") -> GraphTensors:
    """Puts a graph's features and adjacency on a device; rows of sparse features are scaled to length 1 (L2).

    Word counts and the like are sparse; their direction says what a node is about, their length how much was said.
    """
    device = torch.device(device)
    size = (len(adjacency.row_node), adjacency.num_nodes)
    return GraphTensors(
        num_nodes=tuple(node_type.num_nodes for node_type in graph.node_types),
        features=tuple(
            feature_blocks(node_type, graph.features(number), device)
            for number, node_type in enumerate(graph.node_types)
        ),
        matrix=SparseMatrix.from_entries(adjacency.row, adjacency.col, adjacency.value, size, device),
        sizes=tuple(np.diff(adjacency.row_ptr).tolist()),
        row_node=torch.from_numpy(adjacency.row_node).to(device),
        own=None if adjacency.own.all() else torch.from_numpy(adjacency.own).to(device),
    )


def feature_blocks(
    node_type: NodeType, arrays: Mapping[str, np.ndarray], device: torch.device, rows: np.ndarray | None = None
) -> tuple[Block, ...]:
    """A node type's features, of all nodes or of some `rows`, from the arrays that `Graph.features` gives."""
    blocks: list[Block] = []
    for place, feature in enumerate(node_type.features):
        if feature.sparse:
            size = (node_type.num_nodes if rows is None else len(rows), feature.dim)
            indptr, indices, values = (arrays[f"{place}.{part}"] for part in ("indptr", "indices", "values"))
            entries = _sparse_rows(indptr, indices, values, rows)
            blocks.append(SparseMatrix.from_entries(*entries, size, device))
        else:
            dense = arrays[str(place)] if rows is None else arrays[str(place)][rows]
            blocks.append(torch.from_numpy(dense).to(device))
    return tuple(blocks)


def _sparse_rows(
    indptr: np.ndarray, indices: np.ndarray, values: np.ndarray, rows: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of each entry, each row scaled to length 1."""
    count = np.diff(indptr) if rows is None else indptr[rows + 1] - indptr[rows]
    row = np.repeat(np.arange(len(count)), count)
    if rows is not None:
        places = np.repeat(indptr[rows] - (np.cumsum(count) - count), count) + np.arange(len(row))
        indices, values = indices[places], values[places]
    length = np.sqrt(np.bincount(row, values.astype(np.float64) ** 2, len(count)))
    return row, indices, values / np.maximum(length, np.finfo(np.float32).tiny)[row]


def moments(blocks: Sequence[Block]) -> list[tuple[Tensor, Tensor]]:
    """By how much to shift and divide each column of each block, `[dim]` each, so that all have a like scale.

    That is the mean and the standard deviation, but: nothing for sparse blocks and for columns of zeros and ones, whose
    rare ones would become huge; at least a tenth of the column's range, for the same reason; 1 for a constant column.
    """
    found = []
    for block in blocks:
        if isinstance(block, SparseMatrix):
            dim = block.pattern.sparse_size(1)
            found.append((torch.zeros(dim), torch.ones(dim)))
            continue
        deviation, mean = torch.std_mean(block.double(), dim=0, correction=0)
        deviation = torch.maximum(deviation, (block.amax(0) - block.amin(0)).double() / 10)
        constant = deviation <= 1e-6 * mean.abs().clamp(min=1e-12)
        binary = ((block == 0) | (block == 1)).all(0)
        shift, scale = torch.where(binary, 0.0, mean), torch.where(binary | constant, 1.0, deviation)
        found.append((shift.float(), scale.float()))
    return found
