"""What the figures show, as plain numbers; what draws them is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate.analysis import evidence
from ablate.analysis import metrics as names
from ablate.analysis.findings import ArmFindings, Findings
from ablate.analysis.paired import Effect
from ablate.report.tables import SPEED, relative

POINTS = 200  # per curve: more than a screen shows
FEWEST = 40  # …and what a curve keeps when there are a thousand of them
ALL_POINTS = 40_000  # of all curves together: 1 MB of page


@dataclass(frozen=True)
class Bar:
    """One row of a forest plot."""

    arm: str
    estimate: float
    low: float | None
    high: float | None
    verdict: str
    points: tuple[float, ...]  # one per block; of arms without shared blocks one per trial


@dataclass(frozen=True)
class Curve:
    """Training loss of one trial, averaged in bins."""

    arm: str
    block: int
    seconds: tuple[float, ...]  # charged
    tokens: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True)
class Pace:
    """An arm's effect beside its change in tokens per second, in shares of the reference's mean."""

    bar: Bar
    share: float
    low: float | None = None  # the interval of the paired effect on tokens per second
    high: float | None = None


@dataclass(frozen=True)
class Tile:
    """One cell of the heat map: an effect and how strongly it is coloured."""

    effect: Effect | None
    good: bool = False  # in the direction that is better for this metric
    strength: float = 0.0  # in [0, 1], of the largest effect shown
    clear: bool = False  # its interval excludes zero

    @property
    def estimate(self) -> float | None:
        return self.effect.estimate if self.effect else None


@dataclass(frozen=True)
class Heat:
    """Effects per task: rows are arms, columns tasks and, last, the outcome where it is one of the scores."""

    metrics: tuple[str, ...]
    rows: tuple[tuple[ArmFindings, tuple[Tile, ...]], ...]
    strongest: float


def forest(found: Findings) -> list[Bar]:
    """Effects on the outcome in the table's order, arms without an estimate left out."""
    metric = found.outcome.metric
    return [
        Bar(arm.name, e.estimate, e.low, e.high, c.verdict, tuple(points(found, arm, metric).values()))
        for arm in found.arms
        if (c := arm.contrast) and (e := c.effect).estimate is not None
    ]


def points(found: Findings, arm: ArmFindings, metric: str) -> dict[int, float]:
    """block → difference from the reference; of arms without shared blocks trial → value less the mean of the
    reference's trials.
    """
    if not found.paired:
        return _beside_mean(arm, _reference(found, arm), metric)
    e = _effect(found, arm, metric)
    return dict(e.differences) if e else {}


def reference_points(found: Findings, arm: ArmFindings, metric: str) -> dict[int, float]:
    """The same of the reference's own trials; empty where blocks are shared: they are in the differences."""
    if found.paired:
        return {}
    reference = _reference(found, arm)
    return _beside_mean(reference, reference, metric)


def point_words(found: Findings) -> str:
    """What a point is, in words."""
    return "one block" if found.paired else "one trial, less the mean of the reference's trials"


def _reference(found: Findings, arm: ArmFindings) -> ArmFindings:
    assert arm.contrast is not None
    return found.arm(arm.contrast.reference)


def _beside_mean(arm: ArmFindings, reference: ArmFindings, metric: str) -> dict[int, float]:
    if metric not in reference.scores:
        return {}
    mean = reference.values[metric].mean
    return {trial: value - mean for trial, value in arm.scores.get(metric, {}).items()}


def absent(found: Findings) -> dict[str, str]:
    """arm → why failures left it no effect to draw: `diverged 3/3`, `failed 1/3, pending 2/3`."""

    def became(arm: ArmFindings) -> str:
        states = {**arm.failures, "pruned": arm.pruned, "pending": arm.pending}
        return ", ".join(f"{state} {n}/{arm.planned}" for state, n in states.items() if n)

    lost = (arm for arm in found.arms if arm.contrast and arm.contrast.effect.estimate is None and arm.lost)
    return {arm.name: became(arm) for arm in lost}


def heat(found: Findings) -> Heat | None:
    """Every arm's effect on every task; None where there are fewer than two tasks or no effect."""
    tasks = names.tasks(found.metrics)
    shown = [*tasks, *(m for m in found.metrics if names.is_score(m) and m not in tasks)]
    effects = {
        arm.name: [_effect(found, arm, metric) for metric in shown] for arm in found.arms if arm.contrast
    }
    sizes = sorted(abs(e.estimate) for row in effects.values() for e in row if e and e.estimate is not None)
    if len(tasks) < 2 or not sizes:
        return None
    # One broken arm must not bleach all others: full colour from the 95th percentile on.
    strongest = sizes[min(len(sizes) - 1, int(0.95 * len(sizes)))] or sizes[-1] or 1.0
    rows = tuple(
        (found.arm(name), tuple(_tile(found, m, e, strongest) for m, e in zip(shown, row, strict=True)))
        for name, row in effects.items()
    )
    return Heat(tuple(shown), rows, strongest)


def _effect(found: Findings, arm: ArmFindings, metric: str) -> Effect | None:
    assert arm.contrast is not None
    return arm.contrast.effect if metric == found.outcome.metric else arm.contrast.secondary.get(metric)


def _tile(found: Findings, metric: str, e: Effect | None, strongest: float) -> Tile:
    if e is None or e.estimate is None:
        return Tile(None)
    clear = e.low is not None and e.high is not None and not e.low <= 0 <= e.high
    own = metric == found.outcome.metric  # whose direction the study declares
    good = (e.estimate > 0) == (found.outcome.higher_is_better if own else names.higher_is_better(metric))
    return Tile(e, good, min(1.0, abs(e.estimate) / strongest), clear)


def curves(found: Findings, read: Mapping[str, evidence.Curve]) -> list[Curve]:
    """What the figures show of the curves that were read, by trial id, in the table's order."""
    shown = [
        (arm.name, trial.block, read[trial.id])
        for arm in found.arms
        for trial in arm.trials
        if trial.id in read
    ]
    points = max(FEWEST, min(POINTS, ALL_POINTS // max(1, len(shown))))
    return [
        Curve(arm, block, *(_binned(x, points) for x in (whole.seconds, whole.tokens, whole.loss)))
        for arm, block, whole in shown
        if len(whole.loss)
    ]


def _binned(values: np.ndarray, points: int) -> tuple[float, ...]:
    """Means of consecutive steps, at most `points` of them."""
    n = len(values)
    if n == 0:
        return ()
    edges = np.linspace(0, n, min(points, n) + 1).astype(int)
    return tuple(short(np.add.reduceat(values, edges[:-1]) / np.diff(edges)))


def short(values: np.ndarray) -> list[float]:
    """Five digits of each number: what a figure can show."""
    return [float(f"{value:.5g}") for value in values.tolist()]


def mean_curve(found: Iterable[Curve], axis: str) -> tuple[list[float], list[float]]:
    """Mean loss over blocks where all of them have data; x is `seconds` or `tokens`."""
    found = list(found)
    xs: list[Any] = [np.array(getattr(c, axis)) for c in found]
    low, high = max(x[0] for x in xs), min(x[-1] for x in xs)
    if not low < high:
        return [], []
    grid = np.linspace(low, high, max(len(c.loss) for c in found))
    mean = np.mean([np.interp(grid, x, c.loss) for x, c in zip(xs, found, strict=True)], axis=0)
    return short(grid), short(mean)


def by_size(found: Findings, arms: Sequence[str]) -> list[str]:
    """The baseline, then arms by the size of their effect: what to see first of two hundred."""
    sizes = {name: abs(c.effect.estimate or 0.0) for name, c in found.contrasts.items()}
    return sorted(arms, key=lambda arm: (arm != found.baseline, -sizes.get(arm, 0.0)))


def speeds(found: Findings) -> list[Pace]:
    """Every arm with an effect and its change in tokens per second."""
    paces = (_pace(found.arm(bar.arm), bar) for bar in forest(found))
    return [pace for pace in paces if pace is not None]


def _pace(arm: ArmFindings, bar: Bar) -> Pace | None:
    share = relative(arm, SPEED)
    if share is None or arm.contrast is None:
        return None
    e = arm.contrast.secondary[SPEED]
    assert e.estimate is not None
    reference = arm.values[SPEED].mean - e.estimate
    return Pace(bar, share, *(None if end is None else end / reference for end in (e.low, e.high)))


EARLY = 1 / 8  # Narang et al. 2021 read the early loss at 65,536 of 524,288 steps


def early(root: Path, found: Findings) -> dict[str, float]:
    """arm → training loss around an eighth of its steps, a mean over blocks; arms without curves left out."""
    trials = ((trial.id, arm.name, trial.block) for arm in found.arms for trial in arm.trials)
    read, _ = evidence.read_curves(root, trials)
    losses: dict[str, list[float]] = {}
    for curve in curves(found, read):
        at = round(EARLY * (len(curve.loss) - 1))
        losses.setdefault(curve.arm, []).append(curve.loss[at])
    return {arm: sum(values) / len(values) for arm, values in losses.items()}
