"""The head of a fine-tuning task: pool the hidden vectors, one dense layer, one linear layer.

Shapes: B batch, T position, D width, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ablate.model.autocast import wide
from ablate.model.init import Normal, initialize
from ablate.model.linear import Linear

Pooler = Literal["cls", "mean", "max", "lse"]


def _first(hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
    return hidden_BTD[:, 0]


def _mean(hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
    if mask_BT is None:
        return hidden_BTD.mean(1)
    weight_BT1 = mask_BT[..., None].to(hidden_BTD.dtype)
    return (hidden_BTD * weight_BT1).sum(1) / weight_BT1.sum(1).clamp(min=1)


def _max(hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
    if mask_BT is None:
        return hidden_BTD.amax(1)
    return hidden_BTD.masked_fill(~mask_BT[..., None], torch.finfo(hidden_BTD.dtype).min).amax(1)


def _lse(hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
    wide_BTD = wide(hidden_BTD)
    if mask_BT is not None:
        wide_BTD = wide_BTD.masked_fill(~mask_BT[..., None], torch.finfo(wide_BTD.dtype).min)
    return wide_BTD.logsumexp(1).to(hidden_BTD.dtype)


POOLERS: dict[Pooler, Callable[[Tensor, Tensor | None], Tensor]] = {
    "cls": _first,
    "mean": _mean,
    "max": _max,
    "lse": _lse,
}
assert set(POOLERS) == set(get_args(Pooler))


class ClassificationHead(nn.Module):
    """Pool, dense + tanh, dropout, linear (Cramming's GLUE protocol: first token, head width 1024)."""

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        pooler: Pooler = "cls",
        dropout: float = 0.1,
        head_width: int = 1024,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.pool = POOLERS[pooler]
        self.dense = Linear(width, head_width, True)
        self.dropout = nn.Dropout(dropout)
        self.out = Linear(head_width, outputs, True)
        initialize(self, Normal(), width=width, layers=1, generator=generator)

    def forward(self, hidden_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """[B, O]; `mask_BT` is true at real tokens."""
        pooled_BD = self.pool(hidden_BTD, mask_BT)
        return self.out(self.dropout(torch.tanh(self.dense(pooled_BD))))
