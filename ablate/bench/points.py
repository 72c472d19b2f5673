"""Which recipes `ablate bench scaling` measures: one factor at a time around a recipe, its variants, and
others off these axes that no fit may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from ablate.bench.subjects import size_of
from ablate.knobs import replace
from ablate.model.feedforward import GATED
from ablate.recipe import Recipe

HALF, FULL, TWICE = Fraction(1, 2), Fraction(1), Fraction(2)
# Multiples of the recipe's own size. Tables and figure show these axes.
AXES: dict[str, tuple[Fraction, ...]] = {
    "micro-batch": (Fraction(1, 4), HALF, FULL, TWICE),
    "length": (Fraction(1, 4), HALF, FULL, TWICE),
    "layers": (HALF, FULL, TWICE),
    "width": (HALF, FULL, TWICE),
    "vocabulary": (Fraction(1, 16), Fraction(1, 4), FULL, TWICE),
}
# What tells the columns of the cost model apart, on half a micro-batch.
VARIANTS: dict[str, dict[str, Any]] = {
    "gelu": {"model.activation": "gelu"},
    "relu": {"model.activation": "relu"},
    "geglu": {"model.activation": "geglu"},
    "swiglu": {"model.activation": "swiglu"},
    "rope": {"model.position": "rope"},
    "alibi": {"model.position": "alibi"},
    "t5": {"model.position": "t5"},
    "layernorm": {"model.norm": "layernorm"},
    "rmsnorm": {"model.norm": "rmsnorm"},
    "sandwich": {"model.norm_placement": "sandwich"},
    "biases": {"model.linear_bias": True, "model.attention.qkv_bias": True, "model.decoder_bias": True},
    "bert head": {"model.head": "bert"},
}


@dataclass(frozen=True)
class Point:
    """A recipe to measure."""

    axis: str
    level: str  # on the axis, or the name of what is changed
    recipe: Recipe
    fitted: bool = True  # false: held out

    @property
    def name(self) -> str:
        return f"{self.axis} {self.level}" if self.axis in AXES else self.level


@dataclass(frozen=True)
class Size:
    """The sizes of a recipe that axes multiply; width takes heads and the feed-forward with it."""

    rows: int
    length: int
    layers: int
    width: int
    heads: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, recipe: Recipe) -> Size:
        model = recipe.model
        rows, vocabulary = size_of(recipe)
        return cls(
            rows, recipe.data.length, model.layers, model.width, model.heads, model.intermediate, vocabulary
        )

    def changes(self, **by: Fraction) -> dict[str, Any] | None:
        """Knobs for a multiple of the sizes; None where one of them would not be whole."""
        wide = by.get("width", FULL)
        found = {
            "train.micro_batch": self.rows * by.get("rows", FULL),
            "data.length": self.length * by.get("length", FULL),
            "model.layers": self.layers * by.get("layers", FULL),
            "model.width": self.width * wide,
            "model.heads": self.heads * wide * by.get("heads", FULL),
            "model.intermediate": self.intermediate * wide * by.get("intermediate", FULL),
            "data.tokenizer.vocabulary": self._words(by.get("vocabulary", FULL)),
        }
        if any(value.denominator != 1 or value < 1 for value in found.values()):
            return None
        return {path: int(value) for path, value in found.items()}

    def _words(self, multiple: Fraction) -> Fraction:
        """As the embedding is built: a multiple of 64; and no fewer than a tokenizer may have."""
        if multiple == FULL:
            return Fraction(self.vocabulary)
        return Fraction(max(256, 64 * round(self.vocabulary * multiple / 64)))


def points(recipe: Recipe) -> list[Point]:
    """Everything to measure around a recipe; what it cannot have (half of one head) is left out."""
    size = Size.of(recipe)
    found: list[Point | None] = []
    keys = {"micro-batch": "rows"}
    knob = {
        "micro-batch": "train.micro_batch", "length": "data.length", "layers": "model.layers",
        "width": "model.width", "vocabulary": "data.tokenizer.vocabulary",
    }  # fmt: skip
    for axis, multiples in AXES.items():
        for multiple in multiples:
            changes = size.changes(**{keys.get(axis, axis): multiple})
            level = str(changes[knob[axis]]) if changes else ""
            found.append(_point(recipe, axis, level, changes))
    rate = recipe.train.mask_rate
    for level, more, by in (
        ("half the heads", {}, {"heads": HALF}),
        ("twice the heads", {}, {"heads": TWICE}),
        ("half the feed-forward", {}, {"intermediate": HALF}),
        ("three times the width", {}, {"width": Fraction(3), "rows": Fraction(1, 4)}),
        # What a step costs whatever its size.
        ("a small step", {}, {"layers": HALF, "width": HALF, "length": Fraction(1, 4), "rows": HALF}),
        ("fewer masks", {"train.mask_rate": round(0.6 * rate, 4)}, {"rows": HALF}),
    ):  # fmt: skip
        found.append(_point(recipe, "other", level, size.changes(**by), more))
    for level, more in VARIANTS.items():
        # Twice, because one point of a few percent is lost in the noise; narrow, where it weighs more.
        found.append(_point(recipe, "variant", level, size.changes(rows=HALF), more))
        narrow = size.changes(rows=HALF, width=HALF)
        found.append(_point(recipe, "variant", f"{level}, half the width", narrow, more))
    return [*_unequal(found), *held_out(recipe)]


def held_out(recipe: Recipe) -> list[Point]:
    """Recipes off the axes, never fitted: what the model's error is measured on."""
    size, rate = Size.of(recipe), recipe.train.mask_rate
    F = Fraction
    gate = {"model.activation": "gelu" if recipe.model.activation in GATED else "geglu"}
    wanted: list[tuple[str, dict[str, Fraction], dict[str, Any]]] = [
        ("deeper, wider, shorter", {"layers": F(3, 2), "width": F(3, 2), "length": F(3, 4), "rows": HALF},
         {}),
        ("narrower, longer", {"layers": F(3, 4), "width": F(3, 4), "length": F(3, 2), "rows": HALF}, {}),
        ("other gate, more masks", {"layers": F(3, 2), "rows": HALF},
         {**gate, "train.mask_rate": 1.4 * rate}),
        ("rotary, post-norm", {"width": F(5, 4), "layers": HALF}, {"model.position": "rope",
                                                                  "model.norm_placement": "post"}),
        ("deep and narrow", {"layers": F(2), "width": HALF, "length": F(3, 2)}, {"model.activation": "relu",
                                                                              "model.norm": "rmsnorm"}),
        ("three times as deep and wide", {"layers": F(3), "width": F(3), "rows": F(1, 16)}, {}),
        ("twice as wide, larger vocabulary", {"width": F(2), "layers": HALF, "rows": F(1, 4),
                                              "vocabulary": F(3, 2)}, {"model.linear_bias": True}),
        ("small and short", {"layers": F(5, 4), "width": HALF, "length": F(3, 8), "rows": F(1, 4),
                             "vocabulary": F(1, 8)}, {**gate, "model.position": "alibi"}),
    ]  # fmt: skip
    found = [_point(recipe, "held out", level, size.changes(**by), more, False) for level, by, more in wanted]
    return _unequal(found)


def _point(
    recipe: Recipe,
    axis: str,
    level: str,
    changes: Mapping[str, Any] | None,
    more: Mapping[str, Any] | None = None,
    fitted: bool = True,
) -> Point | None:
    if changes is None:
        return None
    rows = changes["train.micro_batch"]
    try:
        made = replace(recipe, {**changes, "train.batch": rows, **(more or {})})
    except ValidationError:  # beyond a knob's bounds
        return None
    return None if made.problems() else Point(axis, level, made, fitted)


def _unequal(found: list[Point | None]) -> list[Point]:
    """Without what cannot be, and each recipe once but for the recipe itself, which stands on every axis."""
    kept: list[Point] = []
    for point in found:
        if point is not None and not (
            point.axis not in AXES and any(point.recipe == other.recipe for other in kept)
        ):
            kept.append(point)
    return kept
