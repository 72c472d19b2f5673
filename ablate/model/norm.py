"""Norms: what keeps the residual stream at a steady scale."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from ablate.knobs import Config, Knob, one_of


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


class NoNorm(Config):
    """No normalisation anywhere."""

    kind: Literal["none"] = "none"

    def build(self, width: int) -> nn.Module:
        return nn.Identity()


NormConfig = Annotated[LayerNorm | RMSNorm | NoNorm, one_of]
