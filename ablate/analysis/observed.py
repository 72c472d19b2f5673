"""From records to the values that count: one per arm, block and metric; the rest is named and counted."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ablate.analysis.findings import TrialSummary, Value
from ablate.records import Damage, FrozenStudy, Record

UNREADABLE = "unreadable"
SPENT = ("tokens", "steps", "flops")


@dataclass(frozen=True)
class Observed:
    """The usable part of a study's records."""

    values: dict[str, dict[str, dict[int, float]]]  # arm → metric → block → number
    trials: dict[str, tuple[TrialSummary, ...]]  # arm → its trials by block
    used: tuple[Record, ...]  # one record per arm and block
    diverged: dict[str, frozenset[int]]  # arm → blocks
    failures: dict[str, Counter[str]]
    warnings: tuple[str, ...]

    def metric(self, arm: str, metric: str) -> dict[int, float]:
        """block → number."""
        return self.values.get(arm, {}).get(metric, {})

    @functools.cached_property
    def of_arm(self) -> dict[str, list[Record]]:
        """The records used, by arm."""
        found: dict[str, list[Record]] = {}
        for record in self.used:
            found.setdefault(record.arm, []).append(record)
        return found

    @functools.cached_property
    def metrics(self) -> set[str]:
        return {m for arm in self.values.values() for m, blocks in arm.items() if blocks}


def observe(study: FrozenStudy, records: Iterable[Record], damage: Iterable[Damage] = ()) -> Observed:
    """Sort records by arm and block; a complete trial counts with every finite metric it has. A record that
    cannot be read is a trial lost, not one to come.
    """
    metric = str(study.outcome["metric"])
    used, warnings = _one_per_cell(study, records)
    values: dict[str, dict[str, dict[int, float]]] = {arm.name: {} for arm in study.arms}
    trials: dict[str, list[TrialSummary]] = {arm.name: [] for arm in study.arms}
    failures: dict[str, Counter[str]] = {arm.name: Counter() for arm in study.arms}
    diverged: dict[str, set[int]] = {arm.name: set() for arm in study.arms}
    for damaged in damage:
        arm, _ = study.trials.get(damaged.path.parent.name, ("", 0))
        if arm in failures:
            failures[arm][UNREADABLE] += 1
    for record in used:
        numbers = _numbers(record)
        finite = {m: v for m, v in numbers.items() if math.isfinite(v)}
        trials[record.arm].append(_summary(record, numbers, finite, metric))
        if record.state == "diverged":
            diverged[record.arm].add(record.block)
        if record.state != "complete":
            if record.state != "pruned":  # a search ended it because others did better: no failure
                failures[record.arm][record.state] += 1
            continue
        if metric not in finite:
            failures[record.arm]["no outcome"] += 1
        for name, value in finite.items():
            values[record.arm].setdefault(name, {})[record.block] = value
    return Observed(
        values,
        {arm: tuple(sorted(rows, key=lambda t: t.block)) for arm, rows in trials.items()},
        tuple(used),
        {arm: frozenset(blocks) for arm, blocks in diverged.items()},
        failures,
        tuple(warnings),
    )


def _one_per_cell(study: FrozenStudy, records: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """At most one record per arm and block, and what was set aside."""
    arms = {arm.name for arm in study.arms}
    cells: dict[tuple[str, int], Record] = {}
    foreign, doubled = [], []
    for record in records:
        # The study's own map decides: a record keeps the name its arm had when it ran.
        here = (record.arm, record.block)
        arm, block = study.trials.get(record.trial, (None, -1)) if study.trials else here
        if arm not in arms or not 0 <= block < len(study.blocks):
            foreign.append(record.trial)
            continue
        record = record.model_copy(update={"arm": arm, "block": block})
        if (arm, block) in cells:
            doubled.append(f"{arm}, block {block}")
        rivals = [record, cells.get((arm, block), record)]
        cells[arm, block] = max(rivals, key=lambda r: (r.state == "complete", r.finished))
    warnings = []
    if foreign:
        shown = ", ".join(sorted(foreign)[:5]) + (", …" if len(foreign) > 5 else "")
        warnings.append(f"{len(foreign)} record(s) of trials that are not in study.json set aside: {shown}")
    if doubled:
        warnings.append(
            f"several records for one arm and block, the last complete one used: {'; '.join(doubled)}"
        )
    return [cells[cell] for cell in sorted(cells)], warnings


def _numbers(record: Record) -> dict[str, float]:
    """The record's metrics, and the tokens, steps and FLOPs that it spent."""
    spent = {f"spent/{what}": float(record.spent[what]) for what in SPENT if what in record.spent}
    return {**record.metrics, **spent}


def _summary(
    record: Record, numbers: dict[str, float], finite: dict[str, float], metric: str
) -> TrialSummary:
    odd = list(record.warnings)
    if record.state != "complete":
        odd.insert(0, f"{record.state}: {record.reason}" if record.reason else record.state)
    elif metric not in finite:
        what = f"{metric} is {numbers[metric]}" if metric in numbers else f"no {metric}"
        odd.insert(0, f"excluded: {what}")
    others = sorted(m for m, v in numbers.items() if not math.isfinite(v) and m != metric)
    if others and record.state == "complete":
        odd.append(f"not finite: {', '.join(others)}")
    if len(record.attempts) > 1:
        odd.append(f"took {len(record.attempts)} attempts")
    return TrialSummary(
        id=record.trial, arm=record.arm, block=record.block, seed=record.seed, state=record.state,
        outcome=finite.get(metric) if record.state == "complete" else None, odd=tuple(odd),
        attempts=max(1, len(record.attempts)), seconds=record.spent.get("seconds", 0.0),
        occupied=record.spent.get("occupied", 0.0), tokens=record.spent.get("tokens", 0.0),
    )  # fmt: skip


def value(blocks: dict[int, float]) -> Value:
    """Mean and spread over blocks; at least one."""
    numbers = list(blocks.values())
    n = len(numbers)
    mean = math.fsum(numbers) / n
    if n < 2:
        return Value(mean, n)
    sd = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / (n - 1))
    return Value(mean, n, sd, sd / math.sqrt(n))
