"""Automatic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch


class AGD(torch.optim.Optimizer):
    """Steps whose size follows from the architecture and the gradient (Bernstein et al. 2023,
    arXiv:2304.05187).

    Each of L tensors moves by log((1 + sqrt(1 + 4 G)) / 2) / L along its normalised gradient, times
    sqrt(outputs / inputs); G is the mean of the gradients' norms times that. `lr` is the gain, 1 in the
    paper. Vectors, which the paper has not, move along their plain gradient, as in the reference.
    """

    def __init__(self, groups: Any, lr: float, weight_decay: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        given = [(p, p.grad, g) for g in self.param_groups for p in g["params"] if p.grad is not None]
        norms = [_size(p) * gradient.norm() for p, gradient, _ in given if p.ndim > 1]
        # Stays on the device: the host does not wait for it.
        total = torch.stack(norms).double().sum() / len(given)
        step = ((1 + (1 + 4 * total).sqrt()) / 2).log() / len(given)
        for p, gradient, group in given:
            p.mul_(1 - group["lr"] * group["weight_decay"])
            direction = _size(p) * gradient / gradient.norm().clamp(min=1e-30) if p.ndim > 1 else gradient
            p.sub_((group["lr"] * step).to(direction.dtype) * direction)


def _size(matrix: torch.Tensor) -> float:
    """What a well-scaled matrix's singular values are."""
    return math.sqrt(matrix.shape[0] / matrix.shape[1])
