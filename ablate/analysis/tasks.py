"""Effects per task from saved predictions: seeds and examples crossed, fine-tuning seeds nested."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ablate.analysis.compared import compared
from ablate.analysis.evidence import Evidence, Predictions, sharing
from ablate.analysis.findings import Findings, Nested, TaskEffect
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
    seed_draws,
)
from ablate.analysis.nested import nested
from ablate.analysis.observed import Observed, observe
from ablate.analysis.scores import SCORES
from ablate.records import FrozenStudy, Record

Tasks = Mapping[str, Mapping[str, Mapping[int, Predictions]]]  # arm → metric → block


def by_arm(observed: Observed, evidence: Evidence) -> Tasks:
    """The predictions of every usable trial, by arm, metric and block."""
    found: dict[str, dict[str, dict[int, Predictions]]] = {}
    for record in observed.used:
        for metric, own in evidence.predictions.get(record.trial, {}).items():
            found.setdefault(record.arm, {}).setdefault(metric, {})[record.block] = own
    return found


ONE_LOOK = "as of a fixed number of blocks: no allowance for the looks of the stopping rule"
TaskFindings = Mapping[str, tuple[dict[str, TaskEffect], dict[str, Nested]]]  # by arm


def task_findings(
    study: FrozenStudy, observed: Observed, pairs: Mapping[str, str], evidence: Evidence
) -> TaskFindings:
    """Every arm against its reference in `pairs`, on every task that both have predictions of. Without shared
    blocks there is nothing to pair.
    """
    if not study.paired:
        return {}
    tasks = Scored(by_arm(observed, evidence))
    found = {arm: tasks.effects(arm, other, alpha=study.alpha) for arm, other in pairs.items()}
    if study.elastic:
        for effects, _ in found.values():
            effects |= {m: replace(e, note=ONE_LOOK) for m, e in effects.items() if e.low is not None}
    return found


def scored(study: FrozenStudy, records: Sequence[Record]) -> Callable[[Evidence], TaskFindings]:
    """What `analyze` finds on tasks alone: of the predictions of one task, its part of it."""
    from ablate.analysis.contrasts import references

    study, kept = compared(study, records)
    return functools.partial(task_findings, study, observe(study, kept), references(study))


def with_tasks(found: Findings, scored: Iterable[TaskFindings]) -> Findings:
    """Findings that were made without predictions, and what `score` made of those, task by task."""
    scored = list(scored)
    arms = []
    for arm in found.arms:
        contrast = arm.contrast
        if contrast is not None:
            parts = [part[arm.name] for part in scored if arm.name in part]
            effects = {m: e for of_arm, _ in parts for m, e in of_arm.items()}
            components = {m: n for _, of_arm in parts for m, n in of_arm.items()}
            contrast = replace(contrast, tasks=effects, nested=components)
        arms.append(replace(arm, contrast=contrast))
    return replace(found, arms=tuple(arms))


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
        self._drawn = functools.lru_cache(maxsize=64)(self._drawn_of)
        self._weights = functools.lru_cache(maxsize=8)(self._draw_items)  # 1,000 examples: 4 MB and 40 ms
        self._chosen = functools.cache(self._draw_seeds)

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
            effects[metric] = self._effect(metric, score, a, b, alpha)
            found = nested(metric, a.each - b.each)
            if found is not None:
                components[metric] = found
        return effects, components

    def _parts_of(self, arm: str, metric: str, blocks: tuple[int, ...], repeats: int) -> Parts:
        own = self.tasks[arm][metric]
        predictions = np.stack([own[block].predictions[:repeats] for block in blocks])
        return parts(own[blocks[0]].score, predictions, own[blocks[0]].labels)

    def _drawn_of(self, arm: str, metric: str, blocks: tuple[int, ...], repeats: int) -> Drawn:
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

    def _draw_seeds(self, seeds: int) -> np.ndarray:
        return seed_draws(seeds, DRAWS, np.random.default_rng(self.seed))

    def _effect(
        self, metric: str, score: str, arm: Parts | Drawn, reference: Parts | Drawn, alpha: float
    ) -> TaskEffect:
        if isinstance(arm, Parts) and isinstance(reference, Parts):
            repeats = arm.each.shape[1]
            return crossed(
                metric, arm.items - reference.items, score=score, alpha=alpha, finetuning_seeds=repeats
            )
        assert isinstance(arm, Drawn)
        assert isinstance(reference, Drawn)
        chosen = self._chosen(len(arm.each))
        return multi_bootstrap(metric, score, arm, reference, chosen=chosen, alpha=alpha)


def _runs(sizes: list[int], most: int) -> list[slice]:
    """Consecutive trials, together of about so many runs."""
    turns = np.cumsum(sizes) // most  # a slice ends with the trial that reaches the next multiple
    ends = sorted({*(np.flatnonzero(np.diff(turns, prepend=0)) + 1).tolist(), len(sizes)})
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
