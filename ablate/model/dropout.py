"""Dropout, whose rate may differ between the embedding, the weights of attention, and what sublayers say."""

from __future__ import annotations

from torch import nn


class EmbeddingDropout(nn.Dropout):
    """Of the embedded tokens."""


class WeightDropout(nn.Dropout):
    """Of the weights with which positions attend to each other."""


def set_dropout(
    module: nn.Module, p: float, embedding: float | None = None, attention: float | None = None
) -> None:
    """Set the rate of every dropout below `module`: pretraining goes without, fine-tuning has 0.1.

    `embedding` and `attention` are those of the embedding and of attention weights; None: `p` as elsewhere.
    """
    rates = {EmbeddingDropout: embedding, WeightDropout: attention}
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            own = rates.get(type(part))
            part.p = p if own is None else own
