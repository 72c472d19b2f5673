"""The matrix product that every part of the model is built from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # x [..., K], weight [N, K], bias [N] → [..., N]


class Linear(nn.Linear):
    """`nn.Linear` that leaves its weight to `initialize`, so that construction draws no random numbers.

    `into_residual` marks the products whose result is added to the residual stream, which depth-scaled
    initialisations treat apart; `parts` matrices are stacked along the outputs. `product` multiplies; a low
    precision puts its own there.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool, *, into_residual: bool = False, parts: int = 1
    ) -> None:
        self.into_residual, self.parts = into_residual, parts
        super().__init__(inputs, outputs, bias=bias)
        self.product: Product = F.linear

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.weight, self.bias)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def macs_per_token(self, length: int) -> float:
        """Multiply-accumulates that one position costs."""
        return self.weight.numel()


class Table(nn.Module):
    """Rows of learned numbers, looked up by index; the weight is left to `initialize`."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, width))

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(indices, self.weight)
