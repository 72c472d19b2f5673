"""Placements of the norm around a sublayer: how a block adds to the residual stream.

Shapes: B batch, T position, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor, nn

Placement = Literal["pre", "post"]


class PreNorm(nn.Module):
    """x + f(norm(x)): the stream itself is never normalised (Xiong et al. 2020, arXiv:2002.04745)."""

    def __init__(self, sublayer: nn.Module, norm: Callable[[], nn.Module], dropout: float) -> None:
        super().__init__()
        self.norm = norm()
        self.sublayer = sublayer
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, *args: Any) -> Tensor:
        return x_BTD + self.dropout(self.sublayer(self.norm(x_BTD), *args))


class PostNorm(nn.Module):
    """norm(x + f(x)): the original transformer's and BERT's (Vaswani et al. 2017)."""

    def __init__(self, sublayer: nn.Module, norm: Callable[[], nn.Module], dropout: float) -> None:
        super().__init__()
        self.sublayer = sublayer
        self.norm = norm()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, *args: Any) -> Tensor:
        return self.norm(x_BTD + self.dropout(self.sublayer(x_BTD, *args)))


RESIDUALS: dict[Placement, type[nn.Module]] = {"pre": PreNorm, "post": PostNorm}
assert set(RESIDUALS) == set(get_args(Placement))
