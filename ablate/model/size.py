"""How large a model is and what a token costs, from its config alone.

The model is built on the meta device, which allocates nothing and draws nothing, so a new variant is
counted without a second edit; parts that multiply matrices say how often in `macs_per_token`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import nn

from ablate.model.bert import Bert
from ablate.model.config import ModelConfig


@lru_cache(maxsize=256)
def outline(config: ModelConfig, vocabulary: int, length: int) -> Bert:
    """The model without memory behind it."""
    with torch.device("meta"):
        return Bert(config, vocabulary=vocabulary, length=length)


def parameters(config: ModelConfig, *, vocabulary: int, length: int) -> int:
    """Exact number of trained numbers; a tied decoder's weight counts once."""
    return sum(p.numel() for p in outline(config, vocabulary, length).parameters())


def flops_per_token(config: ModelConfig, *, vocabulary: int, length: int, predicted: float) -> float:
    """Floating-point operations of forward and backward per token of a full row.

    2 per multiply-accumulate, backward twice the forward; attention scores and values are counted, head
    and decoder for the `predicted` share of positions only; element-wise work and lookups are not counted.
    """
    model = outline(config, vocabulary, length)
    head = _macs(model.transform, length) + _macs(model.decoder, length)
    return 3 * 2 * (_macs(model.encoder, length) + predicted * head)


def _macs(module: nn.Module, length: int) -> float:
    """Per token of the module's input. Parts may say that they run several times, or only some of the times
    (`runs`), or on means of `pooling` positions.
    """
    inner = math.ceil(length / getattr(module, "pooling", 1))
    count = getattr(module, "macs_per_token", None)
    inside = (count(inner) if count else 0.0) + sum(_macs(child, inner) for child in module.children())
    return float(getattr(module, "runs", 1) * inner / length * inside)
