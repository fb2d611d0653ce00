import numpy as np
import pytest
import torch
from torch import Tensor

from modelyard.workloads.graph.models.attention import edge_scores, edge_softmax, edge_sums, end_sums
from modelyard.workloads.graph.training.tensors import SparseMatrix

HEADS, ROWS, COLUMNS, NODES = 3, 5, 6, 4
ROW, COLUMN = np.array([0, 0, 1, 1, 1, 3, 4]), np.array([1, 5, 0, 2, 5, 5, 2])
ROW_NODE = torch.tensor([0, 1, 2, 0, 3])
"""Rows 0 and 3 are of one node, row 2 has no entry, and columns 3 and 4 have none."""


@pytest.fixture
def matrix() -> SparseMatrix:
    return SparseMatrix.from_entries(ROW, COLUMN, np.ones(len(ROW)), (ROWS, COLUMNS), torch.device("cpu"))


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


def same(given: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    """Holds that two results are equal, and their gradients of all inputs."""
    torch.testing.assert_close(given, expected)
    weight = torch.randn_like(given)
    found = torch.autograd.grad((given * weight).sum(), inputs, retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad((expected * weight).sum(), inputs))


@pytest.mark.parametrize("apart", [1, 1000])
def test_softmax_is_over_all_entries_of_a_node(matrix: SparseMatrix, apart: float) -> None:
    score = random(len(ROW), HEADS)
    node = ROW_NODE[torch.from_numpy(ROW)]
    expected = torch.zeros_like(score)
    for one in range(NODES):
        expected = expected.index_put((node == one,), (score[node == one] * apart).softmax(0))
    same(edge_softmax(matrix, score * apart, ROW_NODE, NODES), expected, score)


@pytest.mark.parametrize("channels", [3, 8])
def test_scores_and_sums_are_those_of_dense_matrices(matrix: SparseMatrix, channels: int) -> None:
    query, key = random(HEADS, ROWS, channels), random(HEADS, COLUMNS, channels)
    same(edge_scores(matrix, query, key), (query @ key.transpose(1, 2))[:, ROW, COLUMN].t(), query, key)
    weight = random(len(ROW), HEADS)
    dense = torch.zeros(HEADS, ROWS, COLUMNS).index_put(
        (torch.arange(HEADS)[:, None], torch.from_numpy(ROW), torch.from_numpy(COLUMN)), weight.t()
    )
    same(edge_sums(matrix, weight, key), dense @ key, weight, key)


def test_both_ends_are_added(matrix: SparseMatrix) -> None:
    of_row, of_column = random(ROWS, HEADS), random(COLUMNS, HEADS)
    same(end_sums(matrix, of_row, of_column), of_row[ROW] + of_column[COLUMN], of_row, of_column)


def test_a_graph_without_edges_has_nothing_to_attend_to() -> None:
    none = np.zeros(0, np.int64)
    matrix = SparseMatrix.from_entries(none, none, np.zeros(0), (ROWS, COLUMNS), torch.device("cpu"))
    score, value = torch.zeros(0, HEADS, requires_grad=True), random(HEADS, COLUMNS, 8)
    sums = edge_sums(matrix, edge_softmax(matrix, score, ROW_NODE, NODES), value)
    sums.sum().backward()
    assert torch.equal(sums, torch.zeros(HEADS, ROWS, 8))
