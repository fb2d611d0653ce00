"""The loss of a language model's head, computed piece by piece, so that its logits are never all in memory.

Gradients are computed on the way forward, from the same logits: Hsu et al., "Liger Kernel" (2024), here for any device.
`torch.nn.functional.linear_cross_entropy` does so too, but gives the loss of bfloat16 products in bfloat16, two digits.
"""

from typing import Any

import torch
from torch import Tensor

PIECE = 512
"""Places whose logits are in memory at once."""


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The summed cross entropy, in nats, of `hidden @ weight.T` with `targets`.

    hidden [places, channels], weight [vocabulary, channels], targets int64 [places]. Products are in the precision of
    autocast, sums in float32. A second backward pass through the same loss is not possible.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    loss: Tensor = _HeadLoss.apply(hidden, weight, targets, dtype)
    return loss


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        learns = ctx.needs_input_grad
        cast = weight.to(dtype)
        loss = torch.zeros((), device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if learns[0] else None
        grad_weight = torch.zeros(weight.shape, device=weight.device) if learns[1] else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(targets), PIECE):
                here = slice(start, start + PIECE)
                piece, wanted = hidden[here].to(dtype), targets[here, None]
                scores = (piece @ cast.T).float()
                scores -= scores.amax(1, keepdim=True)
                loss -= scores.gather(1, wanted).sum()
                scores.exp_()
                sums = scores.sum(1, keepdim=True)
                loss += sums.log().sum()
                scores /= sums
                scores.scatter_add_(1, wanted, -torch.ones_like(sums))
                errors = scores.to(dtype)
                if grad_hidden is not None:
                    grad_hidden[here] = errors @ cast
                if grad_weight is not None:
                    grad_weight += errors.T @ piece
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.dtype = weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_hidden is not None:
            grad_hidden.mul_(grads[0])
        if grad_weight is not None:
            grad_weight = grad_weight.mul_(grads[0]).to(ctx.dtype)
        return grad_hidden, grad_weight, None, None
