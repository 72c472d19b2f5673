"""How much a training step of a recipe has to compute, from the plain data of the recipe alone.

A frozen study holds each arm's recipe as plain data, so this needs neither the recipe types nor torch. Only
knobs whose work is known here may vary; any other must be as it was when the machine was measured
(`differing`). Amounts are columns of a linear model: multiply-accumulates, elements, parameters.

Shapes: B rows, T length, D width, L layers, H heads, U outputs of the feed-forward's first product, F inputs
of its second, V vocabulary, N predicted positions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CPU_TOKENS = 8192  # of a micro-batch that the recipe leaves to a CPU, as training/filling.py fills it

# Knobs, or all below them, that change nothing that a step computes: which text, which rate, which weights.
FREE = (
    "data.source", "data.tokenizer", "data.cleaning", "data.separator", "data.cls", "data.order",
    "data.reverse", "data.sorted_passes", "data.token_ratio", "data.tokens", "finetune", "model.init",
    "train.schedule", "train.lr", "train.weight_decay", "train.decay_norms", "train.decay_biases",
    "train.decay_embeddings", "train.clip", "train.mask_rule", "train.masking", "train.optimizer.beta1",
    "train.optimizer.beta2", "train.optimizer.eps",
)  # fmt: skip
# Knobs whose work is counted below.
COUNTED = (
    "data.length", "model.layers", "model.width", "model.heads", "model.intermediate", "model.glu_width",
    "model.feedforward_every", "model.activation", "model.norm", "model.norm_placement", "model.first_norm",
    "model.final_norm", "model.embedding_norm", "model.position", "model.linear_bias", "model.decoder_bias",
    "model.attention.qkv_bias", "model.head", "model.tied", "train.micro_batch", "train.batch", "train.ramp",
    "train.mask_rate",
)  # fmt: skip
_GATED = ("glu", "geglu", "reglu", "swiglu")
_ON_EMBEDDING = ("learned", "sinusoidal", "scaled-sinusoidal", "none")


class UnknownWorkError(ValueError):
    """What a recipe computes cannot be told from its data; the message names the knob and the reason."""


@dataclass(frozen=True)
class Work:
    """Of one step: columns of one micro-batch, forward and backward, and of one update."""

    micro: Mapping[str, float]
    update: Mapping[str, float]
    rows: int  # of a micro-batch
    length: int
    macs: float  # of a micro-batch's forward pass: products and scores

    @property
    def tokens(self) -> int:
        """Of a micro-batch."""
        return self.rows * self.length

    @property
    def flops_per_token(self) -> float:
        """Forward and backward: 2 per multiply-accumulate, backward twice the forward."""
        return 6 * self.macs / self.tokens


def work(recipe: Mapping[str, Any], parameters: int | None) -> Work:
    """The work of a recipe's step. Raises UnknownWorkError."""
    model, train, T = recipe["model"], recipe["train"], int(recipe["data"]["length"])
    V = recipe["data"]["tokenizer"].get("vocabulary")
    if V is None or parameters is None:
        raise UnknownWorkError("the size of the vocabulary is known only once its file is read")
    V = -(-int(V) // 64) * 64  # as the embedding is built
    B = rows_of(recipe)
    L, D, H, U = (int(model[key]) for key in ("layers", "width", "heads", "intermediate"))
    gated = is_gated(model["activation"])
    if gated and model["glu_width"] == "matched":
        U = 2 * round(2 * U / 3)
    F = U // 2 if gated else U
    widening = L // int(model["feedforward_every"])
    N = B * max(1, round(float(train["mask_rate"]) * T))
    products = B * T * (4 * L * D * D + widening * (D * U + F * D))
    scores, head = 2 * L * B * T * T * D, 0 if model["head"] == "none" else N * D * D
    decoder = N * V * D
    rows = B * T * D
    biases = L * 3 * rows if model["attention"].get("qkv_bias") else 0
    if model["linear_bias"]:
        biases += L * rows + widening * (rows + B * T * U) + (N * D if head else 0)
    micro: dict[str, float] = {
        "products": products,
        "score products": scores,
        "scores": L * B * H * T * T,
        "stream": L * rows,
        f"activation {model['activation']}": widening * B * T * F,
        **_norm(model, widening, rows, N * D),
        **_position(model["position"], L * rows, L * B * H * T * T),
        "biases": biases + (N * V if model["decoder_bias"] else 0),
        "decoder products": decoder + head,
        "logits": N * V,
        "parameters": parameters,
        "layers": L,
        "step": 1,
    }
    update: dict[str, float] = {"parameters": parameters, "layers": L, "step": 1}
    return Work(micro, update, B, T, products + scores + decoder + head)


def rows_of(recipe: Mapping[str, Any]) -> int:
    """Rows of a micro-batch; what is left to the device is known of a CPU."""
    train = recipe["train"]
    if train["micro_batch"] is not None:
        return int(train["micro_batch"])
    size = int(train["batch"])
    while size % 2 == 0 and size * int(recipe["data"]["length"]) > CPU_TOKENS:
        size //= 2
    return size


def is_gated(activation: str) -> bool:
    """Whether half of the first product's outputs gate the other half."""
    return activation in _GATED or activation.endswith("-glu")


def norms(model: Mapping[str, Any], widening: int) -> int:
    """How many norms a row passes, the head's aside."""
    placement, sublayers = model["norm_placement"], int(model["layers"]) + widening
    inside = sublayers * (2 if placement == "sandwich" else 1)
    unused = 0 if model["first_norm"] or placement not in ("pre", "sandwich") else 1
    return inside - unused + int(model["embedding_norm"]) + int(model["final_norm"])


def _norm(model: Mapping[str, Any], widening: int, rows: float, predicted: float) -> dict[str, float]:
    kind = model["norm"]["kind"]
    inside = norms(model, widening) * rows + (predicted if model["head"] == "bert" else 0)
    return {} if kind == "none" else {f"norm {kind}": inside}


def _position(position: Mapping[str, Any], stream: float, scores: float) -> dict[str, float]:
    kind = position["kind"]
    if kind in _ON_EMBEDDING:  # an addition once per row, lost in everything else
        return {}
    if kind == "rope":
        return {"position rope": stream * float(position.get("fraction", 1.0))}
    return {f"position {kind}": scores}


def differing(recipe: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """Knobs that this module does not count and in which two recipes differ."""
    here, there = dict(_leaves(recipe)), dict(_leaves(measured))
    missing = object()
    return sorted(
        path
        for path in here.keys() | there.keys()
        if here.get(path, missing) != there.get(path, missing) and not _known(path)
    )


@functools.cache  # a plan of 2,000 arms asks 200,000 times
def _known(path: str) -> bool:
    return any(path == place or path.startswith(place + ".") for place in FREE + COUNTED)


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        if isinstance(item, dict):
            yield from _leaves(item, here)
        else:
            yield here, item
