"""From token ids to the residual stream.

Shapes: B batch, T position, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

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
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.dropout(self.norm(self.position(self.widen(self.word(ids_BT)))))
