"""What a study would do and cost, before anything starts: arms with their exact differences, hours, power.

Pure: a frozen study and the records that exist go in, a value comes out. Hours are stated only where they
follow from the budget or from trials already run, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ablate.analysis import power
from ablate.budget import Budget
from ablate.knobs import show
from ablate.records import FrozenStudy, Record

# Weights and two Adam moments, float32, twice (the last two checkpoints are kept); a finished one: weights.
BYTES_RUNNING, BYTES_DONE = 4 * 3 * 2, 4


@dataclass(frozen=True)
class PlannedArm:
    """One arm: what differs from the baseline and nothing else."""

    name: str
    changes: dict[str, list[Any]]
    budget: str
    parameters: int | None


@dataclass(frozen=True)
class Resolution:
    """What this many blocks can tell, in the outcome's unit or in units of the spread between blocks."""

    effect: float | None  # detected with 80 % power in the family's hardest step, for a spread of 1
    largest_spread: float | None  # the spread up to which a difference of one margin is detected
    equivalence_spread: float | None  # … and up to which equal arms are shown equivalent
    observed_spread: float | None = None  # from records of finished blocks
    observed_blocks: int | None = None  # blocks that would settle every arm at that spread


@dataclass(frozen=True)
class Plan:
    """Everything `ablate plan` tells."""

    name: str
    question: str
    outcome: dict[str, Any]
    design: str
    arms: list[PlannedArm]
    blocks: int
    trials: int
    done: int
    training_hours: float | None  # of all trials together: budgets, start-up and evaluation aside
    hours: float | None  # of all trials, as measured on finished ones
    wall_hours: float | None  # with `workers` at once
    workers: int
    cost: float | None
    disk_bytes: int | None
    resolution: Resolution
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_plan(
    study: FrozenStudy,
    records: Sequence[Record],
    *,
    workers: int,
    rate_per_hour: float | None = None,
    cautions: Sequence[str] = (),
) -> Plan:
    """The plan of a study, its finished trials taken as a pilot; `cautions` are those of its arms."""
    ours = [r for r in records if r.trial in study.trials and r.state == "complete"]
    budgets = [Budget(**arm.budget) for arm in study.arms]
    seconds = [b.amount if b.unit == "seconds" else 0.0 if b.amount == 0 else math.nan for b in budgets]
    training = _none_if_nan(sum(seconds) * len(study.blocks) / 3600)
    took = [r.spent.get("occupied", 0.0) + r.spent.get("evaluation", 0.0) for r in ours]
    hours = sum(took) / len(took) * len(study.trials) / 3600 if took else None
    known = hours if hours is not None else training
    return Plan(
        name=study.name,
        question=study.question,
        outcome=study.outcome,
        design=study.design,
        arms=[PlannedArm(a.name, a.changes, str(Budget(**a.budget)), a.parameters) for a in study.arms],
        blocks=len(study.blocks),
        trials=len(study.trials),
        done=len(ours),
        training_hours=training,
        hours=hours,
        wall_hours=_wall(known, len(study.trials), workers),
        workers=workers,
        cost=None if rate_per_hour is None or known is None else known * rate_per_hour,
        disk_bytes=_disk(study, workers),
        resolution=_resolution(study, ours),
        warnings=[
            *power.warnings(len(study.blocks), len(study.family), alpha=study.alpha),
            *cautions,
        ],
    )


def _wall(hours: float | None, trials: int, workers: int) -> float | None:
    return None if hours is None else hours / trials * math.ceil(trials / workers)


def _disk(study: FrozenStudy, workers: int) -> int | None:
    """Bytes of checkpoints, the largest part of what a study writes."""
    sizes = [arm.parameters for arm in study.arms if arm.parameters]
    if len(sizes) < len(study.arms):
        return None
    return sum(sizes) * len(study.blocks) * BYTES_DONE + workers * max(sizes) * BYTES_RUNNING


def _resolution(study: FrozenStudy, records: Sequence[Record]) -> Resolution:
    n, margin, family = len(study.blocks), float(study.outcome["margin"]), max(1, len(study.family))
    unit = power.resolvable(n, 1.0, alpha=study.alpha, comparisons=family)
    equal = power.equivalence_margin(n, 1.0, alpha=study.alpha, comparisons=family)
    spread = _spread(study, records)
    needed = None
    if spread is not None:
        needed = power.blocks_needed(margin, spread, alpha=study.alpha, comparisons=family)
    return Resolution(
        unit, margin / unit if unit else None, margin / equal if equal else None, spread, needed
    )


def _spread(study: FrozenStudy, records: Sequence[Record]) -> float | None:
    """Standard deviation of within-block differences, pooled over arms; None below 4 degrees of freedom."""
    metric, value = study.outcome["metric"], {}
    for record in records:
        value[record.arm, record.block] = record.metrics.get(metric)
    squares, degrees = 0.0, 0
    for arm in study.arms:
        if arm.reference is None:
            continue
        pairs = [(value.get((arm.name, b)), value.get((arm.reference, b))) for b in range(len(study.blocks))]
        found = [a - b for a, b in pairs if a is not None and b is not None]
        if len(found) >= 2:
            mean = sum(found) / len(found)
            squares += sum((d - mean) ** 2 for d in found)
            degrees += len(found) - 1
    return math.sqrt(squares / degrees) if degrees >= 4 else None


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


# --- text --------------------------------------------------------------------------------------------


def text(plan: Plan) -> str:
    """The plan for people."""
    parts = [
        f"{plan.name}: {plan.question}",
        "",
        *(_arm(arm) for arm in plan.arms),
        "",
        f"{len(plan.arms)} arms × {plan.blocks} blocks = {plan.trials} trials"
        + (f", {plan.done} of them done" if plan.done else ""),
        f"outcome {plan.outcome['metric']}, margin {show(plan.outcome['margin'])}",
        *_costs(plan),
        "",
        *_power(plan),
        *(f"warning: {warning}" for warning in plan.warnings),
    ]
    return "\n".join(parts)


def _arm(arm: PlannedArm) -> str:
    size = f"  [{arm.parameters:,} parameters, {arm.budget}]" if arm.parameters else f"  [{arm.budget}]"
    lines = [f"  {arm.name}{size}"]
    lines += [f"      {path}: {_level(a)} → {_level(b)}" for path, (a, b) in arm.changes.items()]
    return "\n".join(lines)


def _level(value: Any) -> str:
    return show(value)


def _costs(plan: Plan) -> list[str]:
    found = []
    if plan.training_hours is not None:
        found.append(f"training: {_hours(plan.training_hours)} (start-up and evaluation come on top)")
    if plan.hours is not None:
        found.append(f"all trials: {_hours(plan.hours)}, as measured on {plan.done} finished ones")
    if plan.wall_hours is not None:
        of = "" if plan.hours is not None else " of training"
        found.append(f"wall clock with {plan.workers} at once: {_hours(plan.wall_hours)}{of}")
    if plan.training_hours is None and plan.hours is None:
        found.append("hours: unknown until a trial has run (the budget is not a time)")
    if plan.cost is not None:
        found.append(f"cost: {plan.cost:,.2f} at the stated rate")
    if plan.disk_bytes is not None:
        found.append(f"disk: {plan.disk_bytes / 2**30:.2f} GiB of checkpoints")
    return found


def _hours(hours: float) -> str:
    return f"{hours:.2f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _power(plan: Plan) -> list[str]:
    r, margin = plan.resolution, show(plan.outcome["margin"])
    if r.effect is None or r.largest_spread is None or r.equivalence_spread is None:
        return []
    found = [
        "smallest effect resolved (80 % power, Holm over the family): "
        f"{r.effect:.3g} × the spread of block differences",
        f"the margin of {margin} is resolved if that spread is at most {r.largest_spread:.3g}, "
        f"equivalence shown if at most {r.equivalence_spread:.3g}",
    ]
    if r.observed_spread is not None:
        blocks = f"{r.observed_blocks}" if r.observed_blocks else "more than 1,000"
        found.append(
            f"spread seen so far: {r.observed_spread:.3g}; settling every arm would take {blocks} blocks"
        )
    return found
