from pathlib import Path
from typing import Any

import pytest
import torch
from tests.workloads.graph.one_type import copied, one_type, same_gradients
from torch_geometric.nn import SAGEConv

from modelyard.workloads.graph.models.sage import SAGE, SAGELayer


@pytest.mark.parametrize("out_channels", [5, 9])
def test_layer_equals_that_of_pyg(made: type[Any], tmp_path: Path, out_channels: int) -> None:
    given = one_type(made, tmp_path, SAGE)
    ours, theirs = SAGELayer(8, out_channels), SAGEConv(8, out_channels)
    torch.nn.init.normal_(ours.bias)
    assert ours.neighbour_weight is not None
    assert ours.self_weight is not None
    copied(
        [
            (theirs.lin_l.weight, ours.neighbour_weight.t()),
            (theirs.lin_l.bias, ours.bias),
            (theirs.lin_r.weight, ours.self_weight.t()),
        ]
    )
    x = torch.randn(given.num_nodes, 8)
    same_gradients(lambda x: ours(x, given.tensors), lambda x: theirs(x, given.edge_index), x)
    torch.testing.assert_close(ours.neighbour_weight.grad, theirs.lin_l.weight.grad.t(), rtol=1e-4, atol=1e-5)
