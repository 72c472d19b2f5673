"""What the figures show, as plain numbers; `figures` only draws it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate.analysis import metrics as names
from ablate.analysis.findings import Findings
from ablate.analysis.paired import Effect
from ablate.records import StudyPaths

POINTS = 200  # per curve: more than a screen shows, and 60 curves stay below 1 MB of page


@dataclass(frozen=True)
class Bar:
    """One row of a forest plot."""

    arm: str
    estimate: float
    low: float | None
    high: float | None
    verdict: str
    points: tuple[float, ...]  # one per block


@dataclass(frozen=True)
class Curve:
    """Training loss of one trial, averaged in bins."""

    arm: str
    block: int
    seconds: tuple[float, ...]  # charged
    tokens: tuple[float, ...]
    loss: tuple[float, ...]


def forest(found: Findings) -> list[Bar]:
    """Effects on the outcome in the table's order, arms without an estimate left out."""
    return [
        _bar(name, c.effect, c.verdict)
        for name, c in found.contrasts.items()
        if c.effect.estimate is not None
    ]


def task_forests(found: Findings) -> dict[str, list[Bar]]:
    """task → effects of every arm on it, for the tasks that are not the outcome itself."""
    forests = {}
    for task in names.tasks(found.metrics):
        bars = [
            _bar(name, c.secondary[task], "")
            for name, c in found.contrasts.items()
            if task in c.secondary and c.secondary[task].estimate is not None
        ]
        if bars:
            forests[task] = bars
    return forests


def _bar(arm: str, e: Effect, verdict: str) -> Bar:
    assert e.estimate is not None
    return Bar(arm, e.estimate, e.low, e.high, verdict, tuple(e.differences.values()))


def curves(root: Path, found: Findings) -> tuple[list[Curve], list[str]]:
    """Curves of every trial that has one, and what could not be read."""
    read, problems = [], []
    for arm in found.arms:
        for trial in arm.trials:
            path = StudyPaths(root).trial(trial.id).curve
            if not path.exists():
                continue
            try:
                curve = _curve(path, arm.name, trial.block)
            except Exception as error:  # a torn parquet raises many types; the page says so and goes on
                problems.append(f"curve of {arm.name}, block {trial.block} cannot be read: {error}")
                continue
            if curve.loss:
                read.append(curve)
    return read, problems


def _curve(path: Path, arm: str, block: int) -> Curve:
    import pyarrow.parquet as pq

    columns = pq.read_table(path, columns=["seconds", "tokens", "loss"]).to_pydict()
    seconds, tokens, loss = (np.array(columns[c], dtype=float) for c in ("seconds", "tokens", "loss"))
    usable = np.isfinite(loss)
    return Curve(arm, block, *(_binned(x[usable]) for x in (seconds, tokens, loss)))


def _binned(values: np.ndarray) -> tuple[float, ...]:
    """Means of consecutive steps, at most 200 of them."""
    if len(values) == 0:
        return ()
    parts = np.array_split(values, min(POINTS, len(values)))
    return tuple(float(f"{part.mean():.6g}") for part in parts)


def mean_curve(found: Iterable[Curve], axis: str) -> tuple[list[float], list[float]]:
    """Mean loss over blocks where all of them have data; x is `seconds` or `tokens`."""
    found = list(found)
    xs: list[Any] = [np.array(getattr(c, axis)) for c in found]
    low, high = max(x[0] for x in xs), min(x[-1] for x in xs)
    if not low < high:
        return [], []
    grid = np.linspace(low, high, POINTS)
    mean = np.mean([np.interp(grid, x, c.loss) for x, c in zip(xs, found, strict=True)], axis=0)
    return [float(f"{x:.6g}") for x in grid], [float(f"{y:.6g}") for y in mean]
