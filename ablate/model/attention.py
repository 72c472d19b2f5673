"""Self-attention over the whole row.

Shapes: B batch, T position, D width, H head, K head width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.knobs import Config, Knob
from ablate.model.linear import Linear

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig


class SoftmaxAttention(Config):
    """Scaled dot-product attention with several heads (Vaswani et al. 2017)."""

    kind: Literal["softmax"] = "softmax"
    qkv_bias: Annotated[
        bool,
        Knob(
            "biases of the query, key and value projections",
            paper="Architecture: dropped, for speed at about the same size",
            cost="3 vectors of model.width per layer",
        ),
    ] = False

    def build(self, model: ModelConfig, length: int, dropout: float) -> nn.Module:
        return SelfAttention(model, self, length, dropout)


class SelfAttention(nn.Module):
    """Queries, keys and values from one product; heads; output projection."""

    def __init__(self, model: ModelConfig, config: SoftmaxAttention, length: int, dropout: float) -> None:
        super().__init__()
        width = model.width
        self.heads, self.head_width = model.heads, model.head_width
        self.qkv = Linear(width, 3 * width, config.qkv_bias)
        self.rotate = model.position.rotation(self.head_width, length)
        self.dropout = nn.Dropout(dropout)
        self.out = Linear(width, width, model.linear_bias, into_residual=True)

    def forward(self, x_BTD: Tensor, bias: Tensor | None = None) -> Tensor:
        B, T, D = x_BTD.shape
        qkv = self.qkv(x_BTD).view(B, T, 3, self.heads, self.head_width)
        q_BHTK, k_BHTK, v_BHTK = qkv.permute(2, 0, 3, 1, 4).unbind()
        dropout = self.dropout.p if self.training else 0.0
        y_BHTK = attend(self.rotate(q_BHTK), self.rotate(k_BHTK), v_BHTK, bias, dropout)
        return self.out(y_BHTK.transpose(1, 2).reshape(B, T, D))

    def macs_per_token(self, length: int) -> float:
        """Scores and weighted values; the projections count themselves."""
        return 2 * length * self.heads * self.head_width


def attend(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """softmax(q kᵀ / √K + bias) v, by the backend that is fastest on the tensors' device.

    `bias` broadcasts to [B, H, T, T]. On CPUs the fused kernel loses in bf16: 133 ms against 28 ms for
    two products and a softmax, forward and backward, 16 rows of 128, 12 heads, one thread; fp32 is a tie.
    """
    if q_BHTK.device.type != "cpu":
        return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, attn_mask=bias, dropout_p=dropout)
    scores = torch.matmul(q_BHTK * q_BHTK.shape[-1] ** -0.5, k_BHTK.transpose(-1, -2))
    weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
    return torch.matmul(F.dropout(weights, dropout), v_BHTK)
