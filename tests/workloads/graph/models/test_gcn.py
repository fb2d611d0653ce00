from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.workloads.graph.one_type import copied, one_type, same_gradients
from torch_geometric.nn import GCNConv

from modelyard.workloads.graph.models.gcn import GCN, GCNLayer


@pytest.mark.parametrize("out_channels", [5, 9])
def test_layer_equals_that_of_pyg(made: type[Any], tmp_path: Path, out_channels: int) -> None:
    given = one_type(made, tmp_path, GCN)
    ours, theirs = GCNLayer(8, out_channels), GCNConv(8, out_channels)
    torch.nn.init.normal_(ours.bias)
    assert ours.weight is not None
    copied([(theirs.lin.weight, ours.weight.t()), (theirs.bias, ours.bias)])
    x = torch.randn(given.num_nodes, 8)
    same_gradients(lambda x: ours(x, given.tensors), lambda x: theirs(x, given.edge_index), x)
    torch.testing.assert_close(ours.weight.grad, theirs.lin.weight.grad.t(), rtol=1e-4, atol=1e-5)


def test_a_graph_of_several_types_is_refused(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    reason = GCN.fits(two_communities().write(tmp_path))
    assert reason == "takes graphs of one node type and one edge type, and this one has 2 and 2"
