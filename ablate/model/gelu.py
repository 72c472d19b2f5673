"""GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415), x Φ(x) with the normal distribution's Φ."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def gelu(x: Tensor) -> Tensor:
    """`F.gelu`.

    Its backward pass needs Φ and the density. Compiled on a CPU they are an `erf` and an `exp`, although the
    exponential within `erf` is the density's: sharing it takes 6.5 instead of 9.2 ms for 2 million of them.
    """
    if torch.compiler.is_compiling() and x.device.type == "cpu":
        y: Tensor = _Compiled.apply(x)
        return y
    return F.gelu(x)


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        wide = x.float()
        return (wide * _normal(wide)[0]).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        wide = x.float()
        below, density = _normal(wide)
        return (gradient * (below + wide * density)).to(x.dtype)


def _normal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Φ, to 1e-7, and its density (Abramowitz & Stegun 1964, formula 7.1.26)."""
    exponential = (-0.5 * x * x).exp()
    t = 1 / (1 + 0.3275911 * math.sqrt(0.5) * x.abs())
    series = 1.061405429 * t - 1.453152027
    for coefficient in (1.421413741, -0.284496736, 0.254829592):
        series = series * t + coefficient
    tail = 0.5 * series * t * exponential
    return torch.where(x > 0, 1 - tail, tail), exponential * (2 * math.pi) ** -0.5
