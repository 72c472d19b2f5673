"""Every variant of the model, found through its types: a new one is covered unasked."""

from __future__ import annotations

from typing import Any

import torch

from ablate.model import Bert, ModelConfig
from tests.conformance.levels import every_level, tiny

VOCABULARY, LENGTH = 50, 16
TINY = tiny().model


def every_arm() -> dict[str, tuple[ModelConfig, ModelConfig]]:
    """Name → (sibling, arm): every level of every knob against the same config without that change."""
    return {
        name.removeprefix("model."): (pair.sibling.model, pair.arm.model)
        for name, pair in every_level().items()
        if name.startswith("model.")
    }


ARMS = every_arm()
SPEED_ONLY = {
    name.removeprefix("model.") for name, pair in every_level().items() if pair.knob.knob.speed_only
}


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
