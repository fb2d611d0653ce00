from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from modelyard.workloads.language.head_loss import PIECE, head_loss


def tensors(places: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(places, 16, requires_grad=True)
    weight = torch.randn(50, 16, requires_grad=True)
    return hidden, weight, torch.randint(0, 50, (places,))


def gradients(loss: Tensor, hidden: Tensor, weight: Tensor) -> list[Tensor]:
    hidden.grad = weight.grad = None
    (loss / 7).backward()
    return [one.grad for one in (hidden, weight) if one.grad is not None]


@pytest.mark.parametrize("places", [0, 1, PIECE, 2 * PIECE + 3])
def test_loss_and_gradients_are_those_of_cross_entropy(places: int) -> None:
    hidden, weight, targets = tensors(places)
    ours = head_loss(hidden, weight, targets)
    plain = functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(ours, plain)
    for one, other in zip(gradients(ours, hidden, weight), gradients(plain, hidden, weight), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_under_autocast_products_are_in_bfloat16_and_the_loss_is_not() -> None:
    hidden, weight, targets = tensors(1000)
    with torch.autocast("cpu", torch.bfloat16):
        ours = head_loss(hidden, weight, targets)
        plain = functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain, atol=0, rtol=1e-5)
    for one, other in zip(gradients(ours, hidden, weight), gradients(plain, hidden, weight), strict=True):
        assert float((one - other).norm() / other.norm()) < 0.01


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight, targets = tensors(10)
    head_loss(hidden, weight.requires_grad_(False), targets).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_logits_are_never_all_in_memory() -> None:
    hidden, weight, targets = tensors(3 * PIECE)
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            largest = max(largest, result.numel() if isinstance(result, Tensor) else 0)
            return result

    with Sizes():
        head_loss(hidden, weight, targets)
    assert largest <= max(PIECE * 50, hidden.numel())
