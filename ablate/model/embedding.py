"""From token ids to the residual stream.

Shapes: B batch, T position, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ablate.model.autocast import uncast, wide
from ablate.model.dropout import EmbeddingDropout
from ablate.model.linear import Linear, Table

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig


class Embedding(nn.Module):
    """Word vectors, positions, norm, dropout. There are no segments: the crammed BERT has none."""

    def __init__(self, model: ModelConfig, vocabulary: int, length: int, dropout: float) -> None:
        super().__init__()
        inner = model.embedding_width
        self.word = Table(vocabulary, inner or model.width)
        self.widen = Linear(inner, model.width, False) if inner else nn.Identity()
        self.position = model.position.embedding(model.width, length)
        self.norm = model.norm.build(model.width) if model.embedding_norm else nn.Identity()
        self.dropout = EmbeddingDropout(dropout)
        self.normed: Normed = in_fp32 if model.embedding_fp32 else as_it_is

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.dropout(self.normed(self.norm, self.position(self.widen(self.word(ids_BT)))))


Normed = Callable[[nn.Module, Tensor], Tensor]


def as_it_is(norm: nn.Module, x_BTD: Tensor) -> Tensor:
    """norm(x)."""
    return norm(x_BTD)


def in_fp32(norm: nn.Module, x_BTD: Tensor) -> Tensor:
    """norm(x), with its weights, too, in fp32; rounded again afterwards."""
    exact = {name: wide(weight) for name, weight in norm.named_parameters()}
    with uncast(x_BTD):
        return torch.func.functional_call(norm, exact, (wide(x_BTD),)).to(x_BTD.dtype)
