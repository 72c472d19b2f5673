"""A cost model with made-up rates around the small crammed recipe."""

from __future__ import annotations

from typing import Any

from ablate.knobs import replace
from ablate.model import parameters
from ablate.recipe import Recipe, preset
from ablate.speed.model import SpeedModel

FP32 = {"train.precision": "fp32"}
WIDE = {
    "model.layers": (2, 12), "model.width": (128, 768), "width of a head": (32, 128),
    "model.intermediate": (512, 3072), "data.length": (32, 256), "data.tokenizer.vocabulary": (512, 16384),
    "tokens of a micro-batch": (512, 8192), "logits of a micro-batch": (1e5, 1e8),
}  # fmt: skip


def small(changes: dict[str, Any] | None = None) -> Recipe:
    return replace(preset("crammed-small"), FP32 | (changes or {}))


def plain(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def count(recipe: Recipe) -> int:
    vocabulary = recipe.data.tokenizer.vocabulary  # type: ignore[union-attr]
    return parameters(recipe.model, vocabulary=vocabulary, length=recipe.data.length)


def made_up(**more: Any) -> SpeedModel:
    """4e-11 s per multiply-accumulate, 1e-9 s per parameter of an update, 1 ms a layer."""
    told: dict[str, Any] = {
        "device": "a CPU", "threads": 1, "precision": "fp32", "compiled": False, "clock": "cpu",
        "date": "2026-11-28T10:00:00+00:00", "recipe": plain(small()), "sizes": WIDE,
        "micro": {"products": 4e-11, "score products": 4e-11, "decoder products": 4e-11, "scores": 0.0,
                  "stream": 0.0, "logits": 0.0, "parameters": 0.0, "layers": 1e-3, "step": 0.0, "biases": 0.0,
                  "norm layernorm": 0.0, "activation geglu": 0.0, "activation gelu": 0.0, "position rope": 0.0},
        "update": {"parameters": 1e-9, "layers": 0.0, "step": 0.0},
    }  # fmt: skip
    return SpeedModel(**(told | more))
