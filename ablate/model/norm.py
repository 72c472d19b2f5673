"""Norms: what keeps the residual stream at a steady scale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from torch import Tensor, nn

from ablate.knobs import Config, Knob, one_of

if TYPE_CHECKING:
    from ablate.recipe import Recipe


class LayerNorm(Config):
    """Centre and scale each vector, then a learned scale and shift (Ba et al. 2016, arXiv:1607.06450)."""

    kind: Literal["layernorm"] = "layernorm"
    eps: Annotated[
        float,
        Knob(
            "added to the variance",
            1e-15,
            1e-3,
            log=True,
            paper="Appendix B: 1e-6 was scripted; its result is not in the paper",
        ),
    ] = 1e-12
    bias: Annotated[
        bool,
        Knob(
            "a learned shift after the scale",
            cost="2 x layers + 2 vectors of model.width",
            paper="kept in the reference: all biases but these are dropped",
        ),
    ] = True

    def build(self, width: int) -> nn.Module:
        return nn.LayerNorm(width, eps=self.eps, bias=self.bias)


class RMSNorm(Config):
    """Scale without centring or shift (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    kind: Literal["rmsnorm"] = "rmsnorm"
    eps: Annotated[float, Knob("added to the mean square", 1e-15, 1e-3, log=True)] = 1e-6

    def build(self, width: int) -> nn.Module:
        return nn.RMSNorm(width, eps=self.eps)


class ScaleNorm(Config):
    """Each vector at one learned length, sqrt(D) at first (Nguyen & Salazar 2019, arXiv:1910.05895)."""

    kind: Literal["scalenorm"] = "scalenorm"
    eps: Annotated[float, Knob("added to the squared length", 1e-15, 1e-3, log=True)] = 1e-6

    def build(self, width: int) -> nn.Module:
        return ScaledLength(width, self.eps)


class ScaledLength(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.tensor([math.sqrt(width)]))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.weight * x_BTD * (x_BTD.square().sum(-1, keepdim=True) + self.eps).rsqrt()


class DynamicTanh(Config):
    """w · tanh(alpha · x) + b without any statistics (Zhu et al. 2025, arXiv:2503.10622)."""

    kind: Literal["dyt"] = "dyt"
    alpha: Annotated[
        float, Knob("what the learned alpha starts from; the authors take 0.5", 0.05, 5.0, log=True)
    ] = 0.5

    def build(self, width: int) -> nn.Module:
        return Squash(width, self.alpha)


class Squash(nn.Module):
    def __init__(self, width: int, alpha: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([alpha]))
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.weight * torch.tanh(self.alpha * x_BTD) + self.bias


class NoNorm(Config):
    """No normalisation anywhere."""

    kind: Literal["none"] = "none"

    def build(self, width: int) -> nn.Module:
        return nn.Identity()

    def inert(self, recipe: Recipe) -> Iterable[str]:
        yield from (
            "model.first_norm", "model.final_norm", "model.embedding_norm", "model.embedding_fp32",
            "train.decay_norms",
        )  # fmt: skip
        if not recipe.model.deepnorm:
            yield "model.norm_placement"


NormConfig = Annotated[LayerNorm | RMSNorm | ScaleNorm | DynamicTanh | NoNorm, one_of]
