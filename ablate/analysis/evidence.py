"""What lies beside the records: predictions and curves of every trial. The only reader of files here."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ablate.records import Record, StudyPaths
from ablate.records.gathered import gathered
from ablate.records.paths import LABELS, SEEDS_IN_ORDER


@dataclass(frozen=True)
class Predictions:
    """One task of one trial: predictions [fine-tuning seed, item], labels [item]."""

    score: str  # the metric that the task is scored by
    predictions: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Curve:
    """Training loss of one trial over charged seconds and tokens, finite rows only."""

    seconds: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Everything that was found, by trial id; what could not be read is said."""

    predictions: Mapping[str, Mapping[str, Predictions]] = field(default_factory=dict)  # trial → metric
    curves: Mapping[str, Curve] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_evidence(root: Path, records: Iterable[Record]) -> Evidence:
    """Curves of every trial of a run folder and predictions of the complete ones; a torn file is named, never
    guessed.
    """
    records = list(records)
    curves, problems = read_curves(root, ((r.trial, r.arm, r.block) for r in records))
    predictions, unread = read_predictions(root, records)
    return Evidence(predictions, curves, (*problems, *unread))


def read_predictions(
    root: Path, records: Iterable[Record], metrics: Container[str] | None = None
) -> tuple[dict[str, dict[str, Predictions]], list[str]]:
    """Predictions of the complete trials by trial and metric, of some metrics or all; what was not read."""
    predictions: dict[str, dict[str, Predictions]] = {}
    problems: list[str] = []
    labels: Labels = {}
    for record in (r for r in records if r.state == "complete"):
        folder = StudyPaths(root).trial(record.trial).predictions
        for metric, task, score in scored(record):
            if metrics is not None and metric not in metrics:
                continue
            path = folder / f"{task}.parquet"
            own = _tried(path, score, labels)
            if isinstance(own, Predictions):
                predictions.setdefault(record.trial, {})[metric] = own
            elif own is not None:
                problems.append(_within(root, f"{path} cannot be read: {own}"))
    return predictions, problems


def _within(root: Path, text: str) -> str:
    """Paths below the study's folder without it: a report is read on other machines."""
    return text.replace(f"{root}/", "")


Labels = dict[bytes, np.ndarray]  # by the digest that files tell of them: all trials are scored on the same


def _tried(path: Path, score: str, labels: Labels) -> Predictions | Exception | None:
    """What a file holds, or why it cannot be read; None without a file."""
    if not path.exists():
        return None
    try:
        return _predictions(path, score, labels)
    except _unreadable() as error:
        return error


def read_curves(root: Path, trials: Iterable[tuple[str, str, int]]) -> tuple[dict[str, Curve], list[str]]:
    """The curves of those trials (id, arm, block) that have one, by id, and what could not be read."""
    curves: dict[str, Curve] = {}
    problems: list[str] = []
    for trial, arm, block in trials:
        path = StudyPaths(root).trial(trial).curve
        if not path.exists():
            continue
        try:
            curves[trial] = _curve(path)
        except _unreadable() as error:
            problems.append(_within(root, f"curve of {arm}, block {block} cannot be read: {error}"))
    return curves, problems


def scored(record: Record) -> list[tuple[str, str, str]]:
    """(metric, task, score) per task of a record; its first score is the one that its metric shows."""
    named = {metric.partition("/")[2]: metric for metric in record.metrics}
    return [
        (named[task], task, next(iter(scores)))
        for task, scores in record.scores.items()
        if scores and task in named
    ]


def _unreadable() -> tuple[type[Exception], ...]:
    import pyarrow

    return (OSError, ValueError, KeyError, pyarrow.ArrowException)


def _columns(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    # `read_table` looks for a partitioned data set first: 0.8 ms a file, not 0.3; there are thousands.
    with pq.ParquetFile(path) as file:
        return _read(file, names)


def _read(file: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    table = file.read(columns=list(names), use_threads=False)
    return {name: _values(table.column(name)) for name in names}


def _values(column: Any) -> np.ndarray:
    """Without `to_numpy`, which imports pandas: 0.4 s of CPU time in every process of a report."""
    if column.null_count or not len(column):
        return np.asarray(column.to_numpy())  # of what is missing, NaN
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks])


def _curve(path: Path) -> Curve:
    read = _columns(path, ("seconds", "tokens", "loss"))
    usable = np.isfinite(read["loss"].astype(float))
    return Curve(*(read[name].astype(float)[usable] for name in ("seconds", "tokens", "loss")))


def _predictions(path: Path, score: str, known: Labels) -> Predictions:
    import pyarrow.parquet as pq

    kept = gathered(path)
    if kept is not None and kept.labels in known:
        labels = known[kept.labels]
        return Predictions(score, _by_seed(_small(kept.predictions), kept.seeds, len(labels)), labels)
    with pq.ParquetFile(path) as file:
        told = file.metadata.metadata or {}
        seeds, digest = int(told.get(SEEDS_IN_ORDER, 0)), told.get(LABELS)
        if seeds and digest in known:
            labels = known[digest]
            (predictions,) = _read(file, ("prediction",)).values()
            return Predictions(score, _by_seed(_small(predictions), seeds, len(labels)), labels)
        columns = ("label", "prediction") if seeds else ("seed", "index", "label", "prediction")
        read = list(_read(file, columns).values())
    if not seeds:
        seeds, *read = _ordered(*read)
    items = len(read[0]) // seeds if seeds else 0
    by_seed, predictions = (_by_seed(values, seeds, items) for values in read)
    if not (by_seed == by_seed[0]).all():
        raise ValueError("its fine-tuning seeds have different labels")
    labels = _small(by_seed[0])
    if digest:
        labels = known.setdefault(digest, labels)
    return Predictions(score, _small(predictions), labels)


def _by_seed(values: np.ndarray, seeds: int, items: int) -> np.ndarray:
    if not items or len(values) != seeds * items:
        raise ValueError("its fine-tuning seeds have different numbers of rows")
    return values.reshape(seeds, items)


def _ordered(
    seed: np.ndarray, index: np.ndarray, labels: np.ndarray, predictions: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of seeds, and labels and predictions by seed, then row of the split."""
    if not _in_order(seed, index):
        order = np.lexsort((index, seed))
        seed, labels, predictions = seed[order], labels[order], predictions[order]
    return 1 + int(np.count_nonzero(np.diff(seed))) if len(seed) else 0, labels, predictions


def _small(values: np.ndarray) -> np.ndarray:
    """Classes in one byte each: a thousand trials on all of GLUE are 2 GB in eight."""
    if values.dtype.kind != "i" or values.dtype.itemsize == 1 or values.min() < -128 or values.max() > 127:
        return values
    return values.astype(np.int8)


def _in_order(seed: np.ndarray, index: np.ndarray) -> bool:
    """Whether rows come by seed, then item, as they are written; sorting takes a third of reading."""
    step = np.diff(seed)
    return bool(((step > 0) | ((step == 0) & (np.diff(index) > 0))).all())


def sharing(
    arm: Mapping[int, Predictions], reference: Mapping[int, Predictions]
) -> tuple[tuple[int, ...], int] | str:
    """The blocks that both have predictions of, and their number of fine-tuning seeds; or why not."""
    blocks = tuple(sorted(set(arm) & set(reference)))
    if not blocks:
        return "no block has predictions of both the arm and its reference"
    every = [side[block] for side in (arm, reference) for block in blocks]
    labels = every[0].labels
    if any(p.labels.shape != labels.shape or not np.array_equal(p.labels, labels) for p in every):
        return "the trials were scored on different examples"
    return blocks, min(len(p.predictions) for p in every)


def level_at(curve: Curve, axis: str, at: float, window: float = 0.05) -> float:
    """Mean loss over the last 5 % before a point on an axis (`seconds`, `tokens`); NaN without a row."""
    x = getattr(curve, axis)
    inside = (x <= at * (1 + 1e-9)) & (x >= at * (1 - window))
    return float(curve.loss[inside].mean()) if inside.any() else math.nan
