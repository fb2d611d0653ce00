"""Muon: momentum whose every matrix is made orthogonal before it is added.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). `torch.optim.Muon` computes in
bfloat16, which costs a machine without instructions for it three times the model's own step (measured), and takes the
matrices one by one; here those of one shape go together, in the precision that is given.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` with Nesterov's momentum and the original adjustment of the rate.

    parameters: matrices. dtype: what the iteration computes in.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure
        """Moves every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for matrices in alike.values():
                self._move(matrices, group)

    def _move(self, matrices: list[Tensor], group: dict[str, float]) -> None:
        updates = []
        for matrix in matrices:
            assert matrix.grad is not None
            average = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
            average.lerp_(matrix.grad, 1 - group["momentum"])
            updates.append(matrix.grad.lerp(average, group["momentum"]))
        rows, columns = matrices[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        for matrix, direction in zip(matrices, orthogonal(torch.stack(updates).to(self._dtype)), strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction.to(matrix.dtype), alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly the nearest orthogonal matrices, [count, rows, columns]: Newton and Schulz's iteration of fifth order."""
    a, b, c = COEFFICIENTS
    if matrices.size(1) > matrices.size(2):
        return orthogonal(matrices.mT).mT
    x: Tensor = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
