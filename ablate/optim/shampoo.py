"""pytorch_optimizer's Shampoo from its first step on, and with tables of words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_optimizer
import torch
from torch import Tensor


class Shampoo(pytorch_optimizer.Shampoo):
    """Differs from the library's in three things.

    Its inverse roots are zero until they are first computed, so that the first steps would change nothing;
    here they are the identity, which makes those steps gradient descent's. And a side longer than `largest`
    keeps the diagonal of its preconditioner alone: that of a table of 8192 words would be a matrix of 268 MB,
    multiplied twice in every step and taken apart every few steps, in minutes; of 32768 words, 64 times that.
    And roots are finite (`inverse_root`).
    """

    def __init__(self, groups: Any, lr: float, *, largest: int, **settings: Any) -> None:
        self.largest = largest
        super().__init__(groups, lr, **settings)

    def init_group(self, group: dict[str, Any], **more: Any) -> None:
        group.setdefault("step", 0)
        for p in group["params"]:
            state = self.state[p]
            if p.grad is None or state:
                continue
            if group["momentum"] > 0:
                state["momentum_buffer"] = p.grad.clone()
            for dim, size in enumerate(p.shape):
                one = p.grad.new_ones(size)
                one = one if size > self.largest else one.diag()
                state[f"pre_cond_{dim}"], state[f"inv_pre_cond_{dim}"] = one * group["matrix_eps"], one

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            self.init_group(group)
            group["step"] += 1
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)

    def _update(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if group["momentum"] > 0:
            gradient.lerp_(state["momentum_buffer"], weight=group["momentum"])
        self.apply_weight_decay(
            p=p, grad=gradient, lr=group["lr"], weight_decay=group["weight_decay"],
            weight_decouple=group["weight_decouple"], fixed_decay=group["fixed_decay"],
        )  # fmt: skip
        due, move = group["step"] % self.preconditioning_compute_steps == 0, gradient
        for dim, size in enumerate(p.shape):
            statistics, root = state[f"pre_cond_{dim}"], state[f"inv_pre_cond_{dim}"]
            unfolded = gradient.movedim(dim, 0).reshape(size, -1)
            if size > self.largest:
                statistics.add_(unfolded.square().sum(1))
                if due:
                    root.copy_(statistics.pow(-1 / (2 * p.ndim)))
                move = move * root.view(-1, *[1] * (p.ndim - 1 - dim))
            else:
                statistics.addmm_(unfolded, unfolded.t())
                if due:
                    root.copy_(inverse_root(statistics, 2 * p.ndim, group["matrix_eps"]))
                # The root of nearly singular statistics is not quite symmetric; this is the library's side.
                near = 0 if dim == p.ndim - 1 else 1
                move = torch.tensordot(move, root, dims=([dim], [near])).movedim(-1, dim)
        state["momentum_buffer"] = move
        p.add_(move, alpha=-group["lr"])


def inverse_root(statistics: Tensor, order: int, least: float) -> Tensor:
    """statistics^(−1/order) of a positive semidefinite matrix that began as `least` times the identity.

    None of its eigenvalues is smaller, but beside large ones rounding leaves them anywhere below, at zero on
    some processors: a gradient of equal columns had an infinite root, and the parameters were NaN.
    """
    dtype = torch.float64 if statistics.dtype == torch.float64 else torch.float32
    u, values, vh = torch.linalg.svd(statistics.to(dtype), full_matrices=False)
    return ((u * values.clamp(min=least / 2).pow(-1.0 / order)) @ vh).to(statistics.dtype)
