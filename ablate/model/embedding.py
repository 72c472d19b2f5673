"""From token ids to the residual stream.

Shapes: B batch, T position, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ablate.model.linear import Table

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig


class Embedding(nn.Module):
    """Word vectors, positions, norm, dropout. There are no segments: the crammed BERT has none."""

    def __init__(self, model: ModelConfig, vocabulary: int, length: int, dropout: float) -> None:
        super().__init__()
        self.word = Table(vocabulary, model.width)
        self.position = model.position.embedding(model.width, length)
        self.norm = model.norm.build(model.width) if model.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.dropout(self.norm(self.position(self.word(ids_BT))))
