"""Effects per task from saved predictions: seeds and examples crossed, fine-tuning seeds nested."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from ablate.analysis.evidence import Evidence, Predictions, stacked
from ablate.analysis.findings import Nested, TaskEffect
from ablate.analysis.items import DRAWS, crossed, item_draws, multi_bootstrap
from ablate.analysis.nested import nested
from ablate.analysis.observed import Observed
from ablate.analysis.scores import SCORES

Tasks = Mapping[str, Mapping[str, Mapping[int, Predictions]]]  # arm → metric → block


def by_arm(observed: Observed, evidence: Evidence) -> Tasks:
    """The predictions of every usable trial, by arm, metric and block."""
    found: dict[str, dict[str, dict[int, Predictions]]] = {}
    for record in observed.used:
        for metric, own in evidence.predictions.get(record.trial, {}).items():
            found.setdefault(record.arm, {}).setdefault(metric, {})[record.block] = own
    return found


def task_effects(
    tasks: Tasks, arm: str, reference: str, *, alpha: float, seed: int = 0
) -> tuple[dict[str, TaskEffect], dict[str, Nested]]:
    """Per metric that both arms were scored on: the effect for new seeds and examples, and its components."""
    effects: dict[str, TaskEffect] = {}
    components: dict[str, Nested] = {}
    for metric, own in tasks.get(arm, {}).items():
        other = tasks.get(reference, {}).get(metric)
        score = next(iter(own.values())).score
        if not other or score not in SCORES:
            continue
        pair = stacked(own, other)
        if isinstance(pair, str):
            effects[metric] = TaskEffect(metric, score, "none", 0, 0, 0, level=1 - alpha, note=pair)
            continue
        effects[metric] = _effect(metric, score, *pair, alpha=alpha, seed=seed)
        a, b, labels = pair
        found = nested(metric, SCORES[score].all(a, labels) - SCORES[score].all(b, labels))
        if found is not None:
            components[metric] = found
    return effects, components


def _effect(
    metric: str, score: str, arm: np.ndarray, reference: np.ndarray, labels: np.ndarray,
    *, alpha: float, seed: int,
) -> TaskEffect:  # fmt: skip
    if score == "accuracy":
        right = (arm == labels).mean(axis=1) - (reference == labels).mean(axis=1)
        return crossed(metric, 100.0 * right, alpha=alpha, finetuning_seeds=arm.shape[1])
    # The same draws for every arm of a study: its intervals differ by their data alone.
    rng, weights = np.random.default_rng(seed), _weights(len(labels), seed)
    return multi_bootstrap(metric, score, arm, reference, labels, rng=rng, alpha=alpha, weights=weights)


@functools.lru_cache(maxsize=8)  # a set of 1,000 examples: 4 MB, and 40 ms that 200 arms would pay again
def _weights(items: int, seed: int) -> np.ndarray:
    return item_draws(items, DRAWS, np.random.default_rng([seed, items]))
