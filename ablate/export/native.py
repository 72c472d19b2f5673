"""Arms whose architecture is one that `transformers` has itself: the original BERT.

ModernBERT is not among them: its first block has no norm before attention, and no combination of knobs
leaves out just that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ablate.knobs import replace
from ablate.model.config import ModelConfig
from ablate.recipe import bert_original

if TYPE_CHECKING:
    from transformers import BertConfig, BertForMaskedLM

    from ablate.model.bert import Bert

# What may differ between two BERTs.
FREE = ("layers", "width", "heads", "intermediate", "init", "norm.eps")


def is_bert(model: ModelConfig) -> bool:
    """Whether the architecture is the original BERT's, sizes aside."""
    original = bert_original().model
    if model.norm.kind != "layernorm":
        return False
    own = {path: _at(original, path) for path in FREE}
    return replace(model, own) == original


def _at(model: ModelConfig, path: str) -> object:
    from ablate.knobs import get

    return get(model, path)


def bert(model: Bert, *, length: int, dropout: float) -> BertForMaskedLM:
    """The same model as `transformers` has it; segment embeddings are zero."""
    from transformers import BertForMaskedLM

    theirs = BertForMaskedLM(_config(model, length, dropout))
    own = theirs.state_dict()
    given = translated(dict(model.state_dict()), model.config.layers)
    odd = given.keys() ^ own.keys()
    assert odd <= {"bert.embeddings.position_ids", "cls.predictions.decoder.bias"} | {
        "cls.predictions.decoder.weight"
    }, odd
    theirs.load_state_dict(given, strict=False)
    theirs.tie_weights()
    return theirs


def _config(model: Bert, length: int, dropout: float) -> BertConfig:
    from transformers import BertConfig

    config = model.config
    eps = config.norm.eps if config.norm.kind == "layernorm" else 1e-12
    return BertConfig(
        vocab_size=model.encoder.vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.intermediate,
        hidden_act="gelu",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=length,
        type_vocab_size=1,
        layer_norm_eps=eps,
    )


def translated(ours: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Our weights under BERT's names."""
    word = ours["encoder.embedding.word.weight"]
    found: dict[str, Tensor] = {
        "bert.embeddings.word_embeddings.weight": word,
        "bert.embeddings.position_embeddings.weight": ours["encoder.embedding.position.weight"],
        "bert.embeddings.token_type_embeddings.weight": torch.zeros(1, word.shape[1]),
        "cls.predictions.bias": ours["decoder.bias"],
    }
    for kind in ("weight", "bias"):
        found[f"bert.embeddings.LayerNorm.{kind}"] = ours[f"encoder.embedding.norm.{kind}"]
        found[f"cls.predictions.transform.dense.{kind}"] = ours[f"transform.dense.{kind}"]
        found[f"cls.predictions.transform.LayerNorm.{kind}"] = ours[f"transform.norm.{kind}"]
        for i in range(layers):
            here, there = f"encoder.blocks.{i}", f"bert.encoder.layer.{i}"
            parts = ours[f"{here}.attention.sublayer.qkv.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                found[f"{there}.attention.self.{name}.{kind}"] = part.clone()
            found[f"{there}.attention.output.dense.{kind}"] = ours[f"{here}.attention.sublayer.out.{kind}"]
            found[f"{there}.attention.output.LayerNorm.{kind}"] = ours[f"{here}.attention.norm.{kind}"]
            found[f"{there}.intermediate.dense.{kind}"] = ours[f"{here}.feedforward.sublayer.up.{kind}"]
            found[f"{there}.output.dense.{kind}"] = ours[f"{here}.feedforward.sublayer.down.{kind}"]
            found[f"{there}.output.LayerNorm.{kind}"] = ours[f"{here}.feedforward.norm.{kind}"]
    return found
