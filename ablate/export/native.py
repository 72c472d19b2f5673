"""Arms whose architecture is one that `transformers` has itself: the original BERT and ModernBERT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ablate.data.tokenizer import CLS, PAD, SEP
from ablate.knobs import get, replace
from ablate.model.config import ModelConfig
from ablate.model.feedforward import gated_width
from ablate.model.position import Rope
from ablate.recipe import Recipe, bert_original

if TYPE_CHECKING:
    from transformers import BertConfig, ModernBertConfig, PreTrainedModel

    from ablate.model.bert import Bert

Weights = dict[str, Tensor]

# What may differ between two models of either family: sizes, and what a trained model does not show.
SIZES = (
    "layers", "width", "heads", "intermediate", "init", "norm.eps", "layer_drop", "checkpointing",
    "attention.fp32",
)  # fmt: skip
BERT = bert_original().model
MODERN = replace(
    ModelConfig(),
    {"first_norm": False, "position": "rope", "head": "bert", "norm.bias": False, "decoder_bias": True},
)
# ModernBERT's gates under the names that `transformers` gives to their functions.
GATES = {
    "geglu": "gelu",
    "swiglu": "silu",
    "reglu": "relu",
    "glu": "sigmoid",
    "gelu-tanh-glu": "gelu_pytorch_tanh",
    "relu2-glu": "relu2",
    "mish-glu": "mish",
    "tanh-glu": "tanh",
}


@dataclass(frozen=True)
class Family:
    """An architecture of `transformers`: its name there, and how one of our models becomes one of its."""

    name: str
    convert: Callable[[Bert, Recipe], PreTrainedModel]


def family(recipe: Recipe) -> Family | None:
    """The family that the recipe's model belongs to, if it is one of theirs."""
    if is_bert(recipe.model):
        return Family("BERT", bert)
    if is_modernbert(recipe.model):
        return Family("ModernBERT", modernbert)
    return None


def is_bert(model: ModelConfig) -> bool:
    """Whether the architecture is the original BERT's, sizes aside."""
    return _same(model, BERT, ("first_norm", "glu_width"))


def is_modernbert(model: ModelConfig) -> bool:
    """Whether the architecture is ModernBERT's with every layer global, sizes and biases aside.

    Biases of attention are one setting there: those of queries, keys and values, and of the output.
    """
    free = ("linear_bias", "norm.bias", "decoder_bias", "tied", "glu_width", "activation", "position.theta")
    return (
        model.position.kind == "rope"
        and model.activation in GATES
        and model.attention.kind == "softmax"
        and model.attention.qkv_bias == model.linear_bias
        and _same(model, MODERN, (*free, "attention.qkv_bias"))
    )


def _same(model: ModelConfig, theirs: ModelConfig, free: tuple[str, ...]) -> bool:
    if model.norm.kind != "layernorm" or model.attention.kind != "softmax":
        return False
    return replace(model, {path: get(theirs, path) for path in (*SIZES, *free)}) == theirs


def _filled(theirs: PreTrainedModel, given: Weights) -> PreTrainedModel:
    """Their model with our weights; what is tied or follows from the config is theirs to fill."""
    lacking, unknown = theirs.load_state_dict(given, strict=False)
    assert not unknown, unknown
    assert set(lacking) <= {"bert.embeddings.position_ids", "cls.predictions.decoder.bias"} | {
        "cls.predictions.decoder.weight", "decoder.weight",
    }, lacking  # fmt: skip
    theirs.tie_weights()
    return theirs


# --- BERT ----------------------------------------------------------------------------------------------


def bert(model: Bert, recipe: Recipe) -> PreTrainedModel:
    """The same model as BERT; segment embeddings are zero."""
    from transformers import BertForMaskedLM

    theirs = BertForMaskedLM(_bert_config(model, recipe))
    return _filled(theirs, translated(dict(model.state_dict()), model.config.layers))


def _bert_config(model: Bert, recipe: Recipe) -> BertConfig:
    from transformers import BertConfig

    config = model.config
    hidden, _, attention = recipe.finetune.dropouts  # BERT has one rate for embedding and sublayers
    return BertConfig(
        vocab_size=model.encoder.vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.intermediate,
        hidden_act="gelu",
        hidden_dropout_prob=hidden,
        attention_probs_dropout_prob=hidden if attention is None else attention,
        classifier_dropout=recipe.finetune.head_dropout,
        max_position_embeddings=recipe.data.length,
        type_vocab_size=1,
        layer_norm_eps=get(config, "norm.eps"),
        pad_token_id=PAD,
    )


def translated(ours: Weights, layers: int) -> Weights:
    """Our weights under BERT's names."""
    word = ours["encoder.embedding.word.weight"]
    found: Weights = {
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


# --- ModernBERT ------------------------------------------------------------------------------------------


def modernbert(model: Bert, recipe: Recipe) -> PreTrainedModel:
    """The same model as ModernBERT, whose every layer attends to all positions."""
    from transformers import ModernBertForMaskedLM

    theirs = ModernBertForMaskedLM(_modern_config(model, recipe))
    return _filled(theirs, modernized(dict(model.state_dict())))


def _modern_config(model: Bert, recipe: Recipe) -> ModernBertConfig:
    from transformers import ModernBertConfig

    config = model.config
    hidden, embedding, attention = recipe.finetune.dropouts
    assert isinstance(config.position, Rope)
    rope = {"rope_type": "default", "rope_theta": config.position.theta}
    pooler = recipe.finetune.pooler
    return ModernBertConfig(
        vocab_size=model.encoder.vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=gated_width(config) // 2,
        hidden_activation=GATES[config.activation],
        max_position_embeddings=recipe.data.length,
        norm_eps=get(config, "norm.eps"),
        norm_bias=get(config, "norm.bias"),
        attention_bias=config.linear_bias,
        mlp_bias=config.linear_bias,
        classifier_bias=config.linear_bias,
        decoder_bias=config.decoder_bias,
        tie_word_embeddings=config.tied,
        layer_types=["full_attention"] * config.layers,
        rope_parameters={"full_attention": rope, "sliding_attention": rope},
        embedding_dropout=hidden if embedding is None else embedding,
        attention_dropout=hidden if attention is None else attention,
        mlp_dropout=hidden,
        classifier_dropout=recipe.finetune.head_dropout,
        classifier_pooling=pooler if pooler in ("cls", "mean") else "cls",
        pad_token_id=PAD,
        cls_token_id=CLS,
        bos_token_id=CLS,
        sep_token_id=SEP,
        eos_token_id=SEP,
    )


# Ours → theirs: parts of the model, and of a block.
_PARTS = {
    "encoder.embedding.word": "model.embeddings.tok_embeddings",
    "encoder.embedding.norm": "model.embeddings.norm",
    "encoder.final_norm": "model.final_norm",
    "transform.dense": "head.dense",
    "transform.norm": "head.norm",
    "decoder": "decoder",
}
_BLOCK = {
    "attention.norm": "attn_norm",
    "attention.sublayer.qkv": "attn.Wqkv",
    "attention.sublayer.out": "attn.Wo",
    "feedforward.norm": "mlp_norm",
    "feedforward.sublayer.up": "mlp.Wi",
    "feedforward.sublayer.down": "mlp.Wo",
}


def modernized(ours: Weights) -> Weights:
    """Our weights under ModernBERT's names. There the first half of the widened vector is the gate."""
    found: Weights = {}
    for name, tensor in ours.items():
        part, _, kind = name.rpartition(".")
        if part.startswith("encoder.blocks."):
            index, inner = part.removeprefix("encoder.blocks.").split(".", 1)
            if inner == "feedforward.sublayer.up":
                tensor = torch.cat(tensor.chunk(2)[::-1])
            found[f"model.layers.{index}.{_BLOCK[inner]}.{kind}"] = tensor
        else:
            found[f"{_PARTS[part]}.{kind}"] = tensor
    return found
