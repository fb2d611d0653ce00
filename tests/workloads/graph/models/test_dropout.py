import pytest
import torch

from modelyard.workloads.graph.models.dropout import dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.85])
def test_the_share_and_the_mean_are_right(probability: float) -> None:
    torch.manual_seed(0)
    out = dropout(torch.ones(1001, 333), probability, training=True)
    assert float((out == 0).double().mean()) == pytest.approx(probability, abs=0.003)
    assert float(out.mean()) == pytest.approx(1, abs=0.02)
    assert out.unique().numel() == 2


def test_neighbours_drop_out_independently() -> None:
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(400_000), 0.5, training=True) == 0).double()
    for apart in range(1, 9):
        both = (dropped[apart:] * dropped[:-apart]).mean()
        assert float(both) == pytest.approx(0.25, abs=0.004)


def test_gradients_pass_where_values_do() -> None:
    x = torch.randn(50, requires_grad=True)
    out = dropout(x, 0.5, training=True)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, out == 0)


def test_nothing_drops_out_of_a_trained_model() -> None:
    x = torch.randn(5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
