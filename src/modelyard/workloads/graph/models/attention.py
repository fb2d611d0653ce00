"""Attention over a graph's edges: scores, their softmax, and weighted sums.

What a layer would do edge by edge (gather the vectors of both ends, multiply, add up) stores a vector for each edge.
A score of every edge is a product of two dense matrices sampled at the entries of a sparse one, a weighted sum is a
sparse product; each is the other's gradient. Sums over a row's entries are bags of embeddings, the fastest form that
PyTorch (2.13) has for them on a CPU: with 500,000 edges and 4 heads of 16 channels a third of a sparse product's time.

Of vectors the heads come first, so that each head's matrix is contiguous; of what an entry has they come last.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from modelyard.runner.context import InputError
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import SparseMatrix

_FAR_APART = 30.0
_LANES = 8


def channels_of_heads(hyperparameters: Hyperparameters) -> int:
    """The channels of each head of a hidden layer; InputError where they cannot be shared out evenly."""
    hidden, heads = hyperparameters.num_hidden, hyperparameters.num_heads
    if hidden % heads:
        raise InputError(f"num-hidden {hidden} cannot be shared out among num-heads {heads}: make it a multiple")
    return hidden // heads


def edge_scores(matrix: SparseMatrix, query: Tensor, key: Tensor) -> Tensor:
    """The product of both ends' vectors for each entry of `matrix`.

    query: `[heads, num_rows, channels]`. key: `[heads, num_columns, channels]`. Returns `[num_entries, heads]`.
    """
    scores: Tensor = _EdgeScores.apply(matrix, query.contiguous(), key.contiguous())
    return scores


def end_sums(matrix: SparseMatrix, of_row: Tensor, of_column: Tensor) -> Tensor:
    """What the row and the column of each entry have, added.

    of_row: `[num_rows, heads]`. of_column: `[num_columns, heads]`. Returns `[num_entries, heads]`.
    """
    sums: Tensor = _EndSums.apply(matrix, of_row, of_column)
    return sums


def edge_softmax(matrix: SparseMatrix, score: Tensor, row_node: Tensor, num_nodes: int) -> Tensor:
    """The softmax over all entries whose rows belong to the same node, `[num_entries, heads]`.

    score: `[num_entries, heads]`. row_node: `[num_rows]`.
    """
    softmax: Tensor = _EdgeSoftmax.apply(matrix, score, row_node, num_nodes)
    return softmax


def edge_sums(matrix: SparseMatrix, weight: Tensor, value: Tensor) -> Tensor:
    """Each row's sum of its entries' vectors, weighted.

    weight: `[num_entries, heads]`. value: `[heads, num_columns, channels]`. Returns `[heads, num_rows, channels]`.
    """
    sums: Tensor = _EdgeSums.apply(matrix, weight, value.contiguous())
    return sums


class _EdgeScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, query: Tensor, key: Tensor) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(query, key)
        return _sampled(matrix, query, key)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        query, key = ctx.saved_tensors
        (gradient,) = gradients
        return None, _product(ctx.matrix, gradient, key), _transposed_product(ctx.matrix, gradient, query)


class _EdgeSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, weight: Tensor, value: Tensor) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(weight, value)
        return _product(matrix, weight, value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        weight, value = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        return None, _sampled(ctx.matrix, gradient, value), _transposed_product(ctx.matrix, weight, gradient)


class _EndSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, of_row: Tensor, of_column: Tensor) -> Tensor:
        ctx.matrix = matrix
        row, column = matrix.pattern
        return of_row.index_select(0, row) + of_column.index_select(0, column)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        gradient = gradients[0].contiguous()
        return None, _row_sums(ctx.matrix, gradient), _column_sums(ctx.matrix, gradient)


class _EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, score: Tensor, row_node: Tensor, num_nodes: int) -> Tensor:
        row, _ = matrix.pattern
        ctx.matrix, ctx.row_node, ctx.node, ctx.num_nodes = matrix, row_node, row_node[row], num_nodes
        numerator = (score - _shift(matrix, score, row_node, ctx.node, num_nodes)).exp_()
        softmax = numerator.div_(_node_sums(ctx, numerator))
        ctx.save_for_backward(softmax)
        return softmax

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None, None]:
        (softmax,) = ctx.saved_tensors
        weighted = softmax * gradients[0]
        return None, weighted - softmax * _node_sums(ctx, weighted), None, None


def _node_sums(ctx: Any, entries: Tensor) -> Tensor:
    """For each entry the sum over all of its node, `[num_entries, heads]`."""
    rows = _row_sums(ctx.matrix, entries)
    nodes = rows.new_zeros(ctx.num_nodes, rows.size(1)).index_add_(0, ctx.row_node, rows)
    return nodes.index_select(0, ctx.node)


def _shift(matrix: SparseMatrix, score: Tensor, row_node: Tensor, node: Tensor, num_nodes: int) -> Tensor:
    """What is taken from scores so that no exponential overflows, and of no node all vanish.

    That is the highest score of all; where the lowest lies far below, which is rare, the highest of each node and head.
    """
    if not len(score):
        return score
    low, high = score.aminmax()
    if bool(high - low <= _FAR_APART):
        return high
    (offsets, _), _ = matrix.pattern.get_csr()
    of_rows = torch.segment_reduce(score.contiguous(), "max", offsets=offsets, axis=0, initial=-torch.inf)
    highest = score.new_full((num_nodes, score.size(1)), -torch.inf)
    highest.scatter_reduce_(0, row_node[:, None].expand_as(of_rows), of_rows, "amax")
    return highest.index_select(0, node)


def _row_sums(matrix: SparseMatrix, entries: Tensor) -> Tensor:
    """`[num_entries, heads]` -> `[num_rows, heads]`."""
    (offsets, column), _ = matrix.pattern.get_csr()
    return _bags(torch.arange(column.numel(), device=column.device), entries, offsets)


def _column_sums(matrix: SparseMatrix, entries: Tensor) -> Tensor:
    """`[num_entries, heads]` -> `[num_columns, heads]`."""
    (offsets, _), order = matrix.pattern.get_csc()
    return _bags(order, entries, offsets)


def _sampled(matrix: SparseMatrix, query: Tensor, key: Tensor) -> Tensor:
    """`[num_entries, heads]`.

    Channels are filled up to whole vectors of the processor: with fewer a product takes several times as long.
    """
    (offsets, column), _ = matrix.pattern.get_csr()
    query, key = (functional.pad(one, (0, -one.size(2) % _LANES)) for one in (query, key))
    size = (query.size(1), key.size(1))
    entries = torch.sparse_csr_tensor(offsets, column, query.new_zeros(column.numel()), size)
    heads = zip(query, key, strict=True)
    scores = [torch.sparse.sampled_addmm(entries, one, other.t(), beta=0).values() for one, other in heads]
    return torch.stack(scores, dim=1)


def _product(matrix: SparseMatrix, weight: Tensor, value: Tensor) -> Tensor:
    (offsets, column), _ = matrix.pattern.get_csr()
    return _by_head(column, offsets, weight, value)


def _transposed_product(matrix: SparseMatrix, weight: Tensor, value: Tensor) -> Tensor:
    (offsets, row), order = matrix.pattern.get_csc()
    return _by_head(row, offsets, weight.index_select(0, order), value)


def _by_head(index: Tensor, offsets: Tensor, weight: Tensor, value: Tensor) -> Tensor:
    heads = zip(weight.t().contiguous(), value, strict=True)
    return torch.stack([_bags(index, vectors, offsets, one) for one, vectors in heads])


def _bags(index: Tensor, vectors: Tensor, offsets: Tensor, weight: Tensor | None = None) -> Tensor:
    """For each pair of offsets the sum of the vectors at the index between them."""
    return functional.embedding_bag(
        index, vectors.detach(), offsets, mode="sum", per_sample_weights=weight, include_last_offset=True
    )
