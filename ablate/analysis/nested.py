"""Fine-tuning seeds inside pretraining seeds: averaged, never pooled; and where the noise comes from."""

from __future__ import annotations

import math

import numpy as np

from ablate.analysis.findings import Nested


def nested(metric: str, differences: np.ndarray) -> Nested | None:
    """Variance components of [block, fine-tuning seed] differences (one-way random effects, ANOVA estimates).

    The effect itself is the t interval over the block means: pooling n blocks × m fine-tunings as n·m
    observations would claim certainty that the blocks do not have. None below two of either.
    """
    blocks, repeats = differences.shape
    if blocks < 2 or repeats < 2:
        return None
    within = float(differences.var(axis=1, ddof=1).mean())
    between = float(differences.mean(axis=1).var(ddof=1))  # holds within / repeats of fine-tuning noise
    pretraining = max(0.0, between - within / repeats)
    noise = within / repeats
    return Nested(
        metric, blocks, repeats, math.sqrt(pretraining), math.sqrt(within),
        noise / (pretraining + noise) if noise > 0 else 0.0,
    )  # fmt: skip
