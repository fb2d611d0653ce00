from pathlib import Path
from typing import Any

import pytest
import torch
from tests.workloads.graph.one_type import copied, one_type, same_gradients
from torch_geometric.nn import GATConv

from modelyard.runner.context import InputError
from modelyard.workloads.graph.models.gat import GAT, GATLayer
from modelyard.workloads.graph.models.gnn import Dimensions
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters


@pytest.mark.parametrize("concat", [True, False])
def test_layer_equals_that_of_pyg(made: type[Any], tmp_path: Path, concat: bool) -> None:
    given = one_type(made, tmp_path, GAT)
    ours, theirs = GATLayer(8, 3, 4, concat), GATConv(8, 3, 4, concat)
    torch.nn.init.normal_(ours.bias)
    assert ours.weight is not None
    copied(
        [
            (theirs.lin.weight, ours.weight.t()),
            (theirs.att_src, ours.source[None]),
            (theirs.att_dst, ours.dest[None]),
            (theirs.bias, ours.bias),
        ]
    )
    x = torch.randn(given.num_nodes, 8)
    same_gradients(lambda x: ours(x, given.tensors), lambda x: theirs(x, given.edge_index), x)
    torch.testing.assert_close(ours.weight.grad, theirs.lin.weight.grad.t(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.source.grad, theirs.att_src.grad[0], rtol=1e-4, atol=1e-5)


def test_scores_far_apart_neither_overflow_nor_vanish(made: type[Any], tmp_path: Path) -> None:
    given = one_type(made, tmp_path, GAT)
    layer = GATLayer(8, 3, 4)
    x = torch.randn(given.num_nodes, 8)
    x[:20] *= 1e4
    assert layer(x, given.tensors).isfinite().all()


def test_heads_that_cannot_share_the_channels_are_refused() -> None:
    with pytest.raises(InputError, match="num-hidden 30 cannot be shared out among num-heads 8"):
        GAT(Dimensions((4,), ((2,),), 1, 2), Hyperparameters(num_hidden=30, num_heads=8))
