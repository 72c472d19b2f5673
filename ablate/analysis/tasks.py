"""Effects per task from saved predictions: seeds and examples crossed, fine-tuning seeds nested."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ablate.analysis.evidence import Evidence, Predictions, sharing
from ablate.analysis.findings import Nested, TaskEffect
from ablate.analysis.items import (
    DRAWS,
    MANY,
    Drawn,
    Parts,
    crossed,
    draw,
    item_draws,
    multi_bootstrap,
    parts,
)
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


Trial = tuple[str, int]  # arm, block
RUNS = 200  # scored by one product: 80 MB of single precision for 100,000 examples


class Scored:
    """Predictions of every arm with their scores; drawn once, however many contrasts an arm is in.

    The draws are the same for every arm of a study: its intervals differ by their data alone.
    """

    def __init__(self, tasks: Tasks, *, seed: int = 0) -> None:
        self.tasks, self.seed = tasks, seed
        self._draws = functools.cache(self._draw_all)
        self._parts = functools.lru_cache(maxsize=64)(self._parts_of)  # the reference's, above all
        self._weights = functools.lru_cache(maxsize=8)(self._draw_items)  # 1,000 examples: 4 MB and 40 ms

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
            many = len(next(iter(own.values())).labels) >= MANY
            one = self._parts if score == "accuracy" or many else self._drawn
            a, b = (one(side, metric, *shared) for side in (arm, reference))
            effects[metric] = _effect(metric, score, a, b, np.random.default_rng(self.seed), alpha)
            found = nested(metric, a.each - b.each)
            if found is not None:
                components[metric] = found
        return effects, components

    def _parts_of(self, arm: str, metric: str, blocks: tuple[int, ...], repeats: int) -> Parts:
        own = self.tasks[arm][metric]
        predictions = np.stack([own[block].predictions[:repeats] for block in blocks])
        return parts(own[blocks[0]].score, predictions, own[blocks[0]].labels)

    def _drawn(self, arm: str, metric: str, blocks: tuple[int, ...], repeats: int) -> Drawn:
        trials = [self._draws(metric)[arm, block] for block in blocks]
        return Drawn(
            np.stack([t.each[:repeats] for t in trials]),
            np.stack([t.drawn[:, :repeats] for t in trials], axis=1),
            trials[0].items,
        )

    def _draw_all(self, metric: str) -> dict[Trial, Drawn]:
        """Every trial's scores: each [fine-tuning seed], drawn [draw, fine-tuning seed].

        Many trials in one product: of one at a time, reading the draws of 40,000 examples takes longer than
        the product itself.
        """
        found: dict[Trial, Drawn] = {}
        for trials in self._alike(metric):
            of = [self.tasks[arm][metric][block] for arm, block in trials]
            ends = np.cumsum([len(p.predictions) for p in of])[:-1]
            each, drawn = self._draw_alike(of)
            parts = zip(trials, np.split(each, ends), np.split(drawn, ends, axis=1), strict=True)
            found |= {trial: Drawn(one, many, len(of[0].labels)) for trial, one, many in parts}
        return found

    def _draw_alike(self, of: list[Predictions]) -> tuple[np.ndarray, np.ndarray]:
        """The scores of all their runs: as they are [run] and drawn [draw, run]."""
        # Sorted by label, the examples of a label are a slice: choosing them out of the draws of 40,000
        # examples, 160 MB, took as long as the products. Draws know no order.
        order = np.argsort(of[0].labels, kind="stable")
        labels, weights = of[0].labels[order], self._weights(len(order))

        def score(few: slice) -> Drawn:
            runs = np.concatenate([p.predictions for p in of[few]])
            return draw(of[0].score, runs[:, order], labels, weights)

        with ThreadPoolExecutor(max_workers=4) as pool:  # products release the interpreter
            parts = list(pool.map(score, _runs([len(p.predictions) for p in of], RUNS)))
        return np.concatenate([p.each for p in parts]), np.concatenate([p.drawn for p in parts], axis=1)

    def _alike(self, metric: str) -> list[list[Trial]]:
        """Trials that were scored in the same way on the same examples."""
        groups: list[tuple[Predictions, list[Trial]]] = []
        for arm, by_metric in self.tasks.items():
            for block, own in by_metric.get(metric, {}).items():
                for first, trials in groups:
                    if first.score == own.score and np.array_equal(first.labels, own.labels):
                        trials.append((arm, block))
                        break
                else:
                    groups.append((own, [(arm, block)]))
        return [trials for _, trials in groups]

    def _draw_items(self, items: int) -> np.ndarray:
        return item_draws(items, DRAWS, np.random.default_rng([self.seed, items]))


def _runs(sizes: list[int], most: int) -> list[slice]:
    """Consecutive trials, together of about so many runs."""
    turns = np.cumsum(sizes) // most  # a slice ends with the trial that reaches the next multiple
    ends = sorted({*(np.flatnonzero(np.diff(turns, prepend=0)) + 1).tolist(), len(sizes)})
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _effect(
    metric: str,
    score: str,
    arm: Parts | Drawn,
    reference: Parts | Drawn,
    rng: np.random.Generator,
    alpha: float,
) -> TaskEffect:
    if isinstance(arm, Parts) and isinstance(reference, Parts):
        repeats = arm.each.shape[1]
        return crossed(
            metric, arm.items - reference.items, score=score, alpha=alpha, finetuning_seeds=repeats
        )
    assert isinstance(arm, Drawn)
    assert isinstance(reference, Drawn)
    return multi_bootstrap(metric, score, arm, reference, rng=rng, alpha=alpha)
