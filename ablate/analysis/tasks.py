"""Effects per task from saved predictions: seeds and examples crossed, fine-tuning seeds nested."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from ablate.analysis.evidence import Evidence, Predictions, sharing
from ablate.analysis.findings import Nested, TaskEffect
from ablate.analysis.items import DRAWS, Drawn, Right, crossed, draw, item_draws, multi_bootstrap, right
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


class Scored:
    """Predictions of every arm with their scores; drawn once, however many contrasts an arm is in.

    The draws are the same for every arm of a study: its intervals differ by their data alone.
    """

    def __init__(self, tasks: Tasks, *, seed: int = 0) -> None:
        self.tasks, self.seed = tasks, seed
        # Every contrast asks for its reference again, and the next one at most for its arm.
        self._runs = functools.lru_cache(maxsize=64)(self._score)
        self._weights = functools.lru_cache(maxsize=8)(self._draw)  # 1,000 examples: 4 MB and 40 ms

    def effects(
        self, arm: str, reference: str, *, alpha: float
    ) -> tuple[dict[str, TaskEffect], dict[str, Nested]]:
        """Per metric that both were scored on: the effect for new seeds and examples, and its components."""
        effects: dict[str, TaskEffect] = {}
        components: dict[str, Nested] = {}
        for metric, own in self.tasks.get(arm, {}).items():
            other = self.tasks.get(reference, {}).get(metric)
            score = next(iter(own.values())).score
            if not other or score not in SCORES:
                continue
            shared = sharing(own, other)
            if isinstance(shared, str):
                effects[metric] = TaskEffect(metric, score, "none", 0, 0, 0, level=1 - alpha, note=shared)
                continue
            a, b = (self._runs(side, metric, score, *shared) for side in (arm, reference))
            effects[metric] = _effect(metric, score, a, b, np.random.default_rng(self.seed), alpha)
            found = nested(metric, a.each - b.each)
            if found is not None:
                components[metric] = found
        return effects, components

    def _score(
        self, arm: str, metric: str, score: str, blocks: tuple[int, ...], repeats: int
    ) -> Right | Drawn:
        own = self.tasks[arm][metric]
        predictions = np.stack([own[block].predictions[:repeats] for block in blocks])
        labels = own[blocks[0]].labels
        if score == "accuracy":
            return right(predictions, labels)
        return draw(score, predictions, labels, self._weights(len(labels)))

    def _draw(self, items: int) -> np.ndarray:
        return item_draws(items, DRAWS, np.random.default_rng([self.seed, items]))


def _effect(
    metric: str,
    score: str,
    arm: Right | Drawn,
    reference: Right | Drawn,
    rng: np.random.Generator,
    alpha: float,
) -> TaskEffect:
    if isinstance(arm, Right) and isinstance(reference, Right):
        differences = 100.0 * (arm.right - reference.right)
        return crossed(metric, differences, alpha=alpha, finetuning_seeds=arm.each.shape[1])
    assert isinstance(arm, Drawn)
    assert isinstance(reference, Drawn)
    return multi_bootstrap(metric, score, arm, reference, rng=rng, alpha=alpha)
