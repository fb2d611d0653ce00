"""Attention over a graph's edges: scores, their softmax, and weighted sums, with one sparse product a head.

What a layer would do edge by edge (gather the vectors of both ends, multiply, add up) stores a vector for each edge.
A score of every edge is a product of two dense matrices sampled at the entries of a sparse one, a weighted sum is a
sparse product; each is the other's gradient. Measured on a CPU with 500,000 edges, 4 heads of 16 channels: three times
as fast as gathering for the sums, four times for the scores.

Heads come first everywhere, so that each head's matrix is contiguous.
"""

from typing import Any

import torch
from torch import Tensor

from modelyard.runner.context import InputError
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import SparseMatrix


def channels_of_heads(hyperparameters: Hyperparameters) -> int:
    """The channels of each head of a hidden layer; InputError where they cannot be shared out evenly."""
    hidden, heads = hyperparameters.num_hidden, hyperparameters.num_heads
    if hidden % heads:
        raise InputError(f"num-hidden {hidden} cannot be shared out among num-heads {heads}: make it a multiple")
    return hidden // heads


def edge_scores(matrix: SparseMatrix, query: Tensor, key: Tensor) -> Tensor:
    """The product of both ends' vectors for each entry of `matrix`.

    query: `[heads, num_rows, channels]`. key: `[heads, num_columns, channels]`. Returns `[heads, num_entries]`.
    """
    scores: Tensor = _EdgeScores.apply(matrix, query.contiguous(), key.contiguous())
    return scores


def edge_sums(matrix: SparseMatrix, weight: Tensor, value: Tensor) -> Tensor:
    """Each row's sum of its entries' vectors, weighted.

    weight: `[heads, num_entries]`. value: `[heads, num_columns, channels]`. Returns `[heads, num_rows, channels]`.
    """
    sums: Tensor = _EdgeSums.apply(matrix, weight.contiguous(), value.contiguous())
    return sums


def exponentials(matrix: SparseMatrix, score: Tensor, row_node: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """The numerators and denominators of a softmax over all entries whose rows belong to the same node.

    score: `[heads, num_entries]`. row_node: `[num_rows]`. Returns `[heads, num_entries]` and `[heads, num_nodes]`, the
    latter 1 where a node has no entry. To divide sums of a node by the latter is cheaper than to divide each entry.
    """
    row, _ = matrix.pattern
    node = row_node[row]
    with torch.no_grad():
        of_rows = _highest_of_rows(matrix, score)
        highest = score.new_full((num_nodes, score.size(0)), -torch.inf)
        highest.scatter_reduce_(0, row_node[:, None].expand_as(of_rows), of_rows, "amax")
    numerator = (score - highest.t()[:, node]).exp()
    denominator = numerator.new_zeros(num_nodes, score.size(0)).index_add(0, node, numerator.t()).t()
    return numerator, torch.where(denominator > 0, denominator, 1.0)


def _highest_of_rows(matrix: SparseMatrix, score: Tensor) -> Tensor:
    (offsets, _), _ = matrix.pattern.get_csr()
    return torch.segment_reduce(score.t().contiguous(), "max", offsets=offsets, axis=0, initial=-torch.inf)


class _EdgeScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, query: Tensor, key: Tensor) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(query, key)
        return _sampled(matrix, query, key)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        query, key = ctx.saved_tensors
        gradient = gradients[0].contiguous()
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


def _sampled(matrix: SparseMatrix, query: Tensor, key: Tensor) -> Tensor:
    (offsets, column), _ = matrix.pattern.get_csr()
    size = (query.size(1), key.size(1))
    entries = torch.sparse_csr_tensor(offsets, column, query.new_zeros(column.numel()), size)
    heads = zip(query, key, strict=True)
    return torch.stack([torch.sparse.sampled_addmm(entries, one, other.t(), beta=0).values() for one, other in heads])


def _product(matrix: SparseMatrix, weight: Tensor, value: Tensor) -> Tensor:
    (offsets, column), _ = matrix.pattern.get_csr()
    size = (offsets.numel() - 1, value.size(1))
    return _by_head(offsets, column, weight, size, value)


def _transposed_product(matrix: SparseMatrix, weight: Tensor, value: Tensor) -> Tensor:
    (offsets, row), order = matrix.pattern.get_csc()
    size = (offsets.numel() - 1, value.size(1))
    return _by_head(offsets, row, weight[:, order], size, value)


def _by_head(offsets: Tensor, index: Tensor, weight: Tensor, size: tuple[int, int], value: Tensor) -> Tensor:
    heads = zip(weight, value, strict=True)
    return torch.stack([torch.sparse_csr_tensor(offsets, index, one, size) @ vectors for one, vectors in heads])
