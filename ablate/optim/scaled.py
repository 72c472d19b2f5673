"""AdamW whose steps are proportional to the weights they change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

LEAST = 1e-3  # of a tensor's root mean square, below which steps shrink no further


class AdamWScaled(torch.optim.Optimizer):
    """AdamW times the root mean square of each tensor, as Adafactor scales its steps (Shazeer & Stern 2018,
    section 8; nanoT5, Nawrot 2023, arXiv:2309.02373). Decay is in proportion to the weights already.
    """

    def __init__(
        self, groups: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)

    def _update(self, p: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        steps = float(state["step"])
        corrected = math.sqrt(1 - beta2**steps) / (1 - beta1**steps)
        scale = p.square().mean().sqrt().clamp(min=LEAST) * (group["lr"] * corrected)
        p.sub_(scale * state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["eps"]))
        p.mul_(1 - group["lr"] * group["weight_decay"])
