"""From hidden vectors to logits: the masked-language-modelling head and its decoder.

Shapes: N predicted positions, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.gelu import gelu
from ablate.model.linear import Linear, Product

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig

Head = Literal["none", "linear", "bert"]


class BertTransform(nn.Module):
    """Dense, GELU, norm: what BERT puts before its decoder."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.dense = Linear(model.width, model.width, model.linear_bias)
        self.norm = model.norm.build(model.width)

    def forward(self, hidden_ND: Tensor) -> Tensor:
        return self.norm(gelu(self.dense(hidden_ND)))


HEADS: dict[Head, Callable[[ModelConfig], nn.Module]] = {
    "none": lambda model: nn.Identity(),
    "linear": lambda model: Linear(model.width, model.width, model.linear_bias),
    "bert": BertTransform,
}
assert set(HEADS) == set(get_args(Head))


class TiedDecoder(nn.Module):
    """Logits from the word embedding's own weight, which stays registered in one place only.

    A factorised embedding is narrower than the model: the hidden vectors are narrowed to it first, by a
    product of its own, as in ALBERT (Lan et al. 2020, arXiv:1909.11942).
    """

    def __init__(self, model: ModelConfig, vocabulary: int) -> None:
        super().__init__()
        inner, bias = model.embedding_width, model.decoder_bias
        self.vocabulary, self.width = vocabulary, inner or model.width
        self.narrow = Linear(model.width, inner, False) if inner else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(vocabulary)) if bias else None
        self.product: Product = F.linear

    def forward(self, hidden_ND: Tensor, word_VD: Tensor) -> Tensor:
        return self.product(self.narrow(hidden_ND), word_VD, self.bias)

    def macs_per_token(self, length: int) -> float:
        return self.vocabulary * self.width


class UntiedDecoder(TiedDecoder):
    """Logits from a weight of its own."""

    def __init__(self, model: ModelConfig, vocabulary: int) -> None:
        super().__init__(model, vocabulary)
        self.weight = nn.Parameter(torch.zeros(vocabulary, self.width))

    def forward(self, hidden_ND: Tensor, word_VD: Tensor) -> Tensor:
        return self.product(self.narrow(hidden_ND), self.weight, self.bias)


def decoder(model: ModelConfig, vocabulary: int) -> nn.Module:
    """The decoder that `model.tied` asks for."""
    return (TiedDecoder if model.tied else UntiedDecoder)(model, vocabulary)
