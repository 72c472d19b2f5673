"""Every variant of the model, found through its types: a new one is covered unasked."""

from __future__ import annotations

import math
from typing import Any

import torch

from ablate.knobs import Choice, KnobInfo, Number, Variants, kind_of, knobs, label, replace
from ablate.model import Bert, ModelConfig

VOCABULARY, LENGTH = 50, 16
TINY = ModelConfig(layers=2, width=16, heads=2, intermediate=32)


def other_levels(info: KnobInfo, present: Any) -> list[Any]:
    """Levels of a knob besides the one that is present; for a number, one other value."""
    if isinstance(info.domain, Choice):
        return [level for level in info.domain.levels if level != present]
    if isinstance(info.domain, Variants):
        return [kind_of(cls) for cls in info.domain.classes if not isinstance(present, cls)]
    assert isinstance(info.domain, Number)
    low, high = info.domain.low, info.domain.high
    assert low is not None, f"{info.path} has no bounds"
    assert high is not None, f"{info.path} has no bounds"
    if info.domain.integer:
        return [2 * present]
    middle = math.sqrt(low * high) if info.domain.log else (low + high) / 2
    return [middle if middle != present else low]


def every_arm() -> dict[str, tuple[ModelConfig, ModelConfig]]:
    """Name → (sibling, arm): every level of every knob against the same config without that change."""
    arms: dict[str, tuple[ModelConfig, ModelConfig]] = {}
    for info in knobs(ModelConfig):
        base = TINY
        for part in _conditions(info):
            base = replace(base, part)
        present: Any = base
        for key in info.path.split("."):
            present = getattr(present, key)
        for level in other_levels(info, present):
            arms[f"{info.name}={label(level)}"] = (base, replace(base, {info.path: level}))
    return arms


def _conditions(info: KnobInfo) -> list[dict[str, Any]]:
    """What must be chosen for a conditional knob to exist: `position[rope].theta` needs position: rope."""
    found, path = [], []
    for part in info.name.split(".")[:-1]:
        key, _, kind = part.partition("[")
        path.append(key)
        if kind and ".".join(path) != "attention":
            found.append({".".join(path): kind.rstrip("]")})
    return found


ARMS = every_arm()


def build(config: ModelConfig, seed: int = 0, **more: Any) -> Bert:
    return Bert(
        config,
        vocabulary=VOCABULARY,
        length=LENGTH,
        generator=torch.Generator().manual_seed(seed),
        **more,
    )


def batch(rows: int = 3, length: int = LENGTH) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids [rows, length], flat positions, labels: always the same."""
    draw = torch.Generator().manual_seed(7)
    ids = torch.randint(5, VOCABULARY, (rows, length), generator=draw)
    positions = torch.cat(
        [torch.randperm(length, generator=draw)[:4].sort().values + i * length for i in range(rows)]
    )
    return ids, positions, torch.randint(5, VOCABULARY, positions.shape, generator=draw)
