"""Placements of the norm around a sublayer: how a block adds to the residual stream.

Shapes: B batch, T position, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor, nn

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig

Placement = Literal["pre", "post", "sandwich", "output"]


class PreNorm(nn.Module):
    """x + f(norm(x)): the stream itself is never normalised (Xiong et al. 2020, arXiv:2002.04745)."""

    def __init__(self, sublayer: nn.Module, model: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.norm = model.norm.build(model.width)
        self.sublayer = sublayer
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, *args: Any) -> Tensor:
        return x_BTD + self.dropout(self.sublayer(self.norm(x_BTD), *args))


class PostNorm(nn.Module):
    """norm(alpha · x + f(x)): the original transformer's and BERT's with alpha 1 (Vaswani et al. 2017)."""

    def __init__(self, sublayer: nn.Module, model: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.sublayer = sublayer
        self.norm = model.norm.build(model.width)
        self.dropout = nn.Dropout(dropout)
        self.alpha = (2 * model.layers) ** 0.25 if model.deepnorm else 1.0

    def forward(self, x_BTD: Tensor, *args: Any) -> Tensor:
        return self.norm(self.alpha * x_BTD + self.dropout(self.sublayer(x_BTD, *args)))


class Sandwich(PreNorm):
    """x + norm(f(norm(x))): what enters the stream is normalised too (Ding et al. 2021, arXiv:2105.13290).

    With `model.embedding_norm` and `model.final_norm` this is Peri-LN (Kim et al. 2025, arXiv:2502.02732).
    """

    def __init__(self, sublayer: nn.Module, model: ModelConfig, dropout: float) -> None:
        super().__init__(sublayer, model, dropout)
        self.norm_out = model.norm.build(model.width)

    def forward(self, x_BTD: Tensor, *args: Any) -> Tensor:
        return x_BTD + self.dropout(self.norm_out(self.sublayer(self.norm(x_BTD), *args)))


class OutputNorm(nn.Module):
    """x + norm(f(x)): only what enters the stream is normalised (Liu et al. 2022, arXiv:2111.09883)."""

    def __init__(self, sublayer: nn.Module, model: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.sublayer = sublayer
        self.norm = model.norm.build(model.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, *args: Any) -> Tensor:
        return x_BTD + self.dropout(self.norm(self.sublayer(x_BTD, *args)))


Residual = Callable[[nn.Module, "ModelConfig", float], nn.Module]
RESIDUALS: dict[Placement, Residual] = {
    "pre": PreNorm,
    "post": PostNorm,
    "sandwich": Sandwich,
    "output": OutputNorm,
}
assert set(RESIDUALS) == set(get_args(Placement))
