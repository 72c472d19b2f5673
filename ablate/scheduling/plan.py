"""What a study would do and cost, before anything starts: arms with their exact differences, hours, power.

Pure: a frozen study and the records that exist go in, a value comes out. Hours and tokens are stated only
where they follow from the budget, from trials already run, or from speeds that were measured on this machine;
the last are marked as predicted, and where none of them knows an arm, nothing is guessed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ablate.analysis import power
from ablate.analysis.spared import Spared, spared
from ablate.budget import Budget
from ablate.records import FrozenArm, FrozenStudy, Record
from ablate.scheduling.foresight import Foresight, Pace, observed

# Weights and two Adam moments, float32, twice (the last two checkpoints are kept); a finished one: weights.
BYTES_RUNNING, BYTES_DONE = 4 * 3 * 2, 4
LEAST_DEGREES = 4  # of freedom, below which a spread seen in records is no guide
LEAST_OWN = 9  # … and below which an arm's own spread says less than the one pooled over all arms


@dataclass(frozen=True)
class PlannedArm:
    """One arm: what differs from the baseline and nothing else."""

    name: str
    changes: dict[str, list[Any]]
    budget: str
    parameters: int | None
    tokens: float | None = None  # that one trial sees
    training_hours: float | None = None  # of one trial
    pace: str = ""  # whence these two are known, or why they are not; empty: nobody has measured
    observed: bool = False  # on finished trials


@dataclass(frozen=True)
class Part:
    """Trials of one purpose: how many at least and at most, and the training hours of the most."""

    what: str
    least: int
    most: int
    hours: float | None


@dataclass(frozen=True)
class SpreadOf:
    """Standard deviation of within-block differences, and where it comes from."""

    value: float
    source: str
    degrees: int | None = None


@dataclass(frozen=True)
class PlannedContrast:
    """What a contrast can tell with its blocks; numbers are None where no spread is known."""

    arm: str
    reference: str
    blocks: int
    spread: float | None
    source: str
    smallest_effect: float | None  # detected with 80 % power in the family's hardest step
    smallest_margin: float | None  # within which equal arms are shown equivalent with 80 % power
    blocks_needed: int | None  # to settle it either way against the margin; None: over 1,000, or unknown


@dataclass(frozen=True)
class Resolution:
    """What this many blocks can tell, in the outcome's unit or in units of the spread between blocks."""

    effect: float | None  # detected with 80 % power in the family's hardest step, for a spread of 1
    largest_spread: float | None  # the spread up to which a difference of one margin is detected
    equivalence_spread: float | None  # … and up to which equal arms are shown equivalent
    observed_spread: float | None = None
    spread_source: str = ""
    observed_blocks: int | None = None  # the fewest that would settle every arm at that spread
    hours_at_observed_blocks: float | None = None  # device-hours of the comparison with so many


@dataclass(frozen=True)
class Plan:
    """Everything `ablate plan` tells."""

    name: str
    question: str
    outcome: dict[str, Any]
    design: str
    arms: list[PlannedArm]
    blocks: int
    parts: list[Part]
    trials: int  # at most
    done: int
    training_hours: float | None  # of all trials together: budgets, start-up and evaluation aside
    hours: float | None  # of all trials, as measured on finished ones
    wall_hours: float | None  # with `workers` at once
    workers: int
    cost: float | None
    energy_kwh: float | None
    disk_bytes: int | None
    resolution: Resolution
    contrasts: list[PlannedContrast]
    fraction: dict[str, Any]  # resolution and aliases of a fractional design
    spared: Spared | None
    warnings: list[str]
    predicted: list[str] = field(default_factory=list)  # arms whose hours or tokens are predictions
    predicted_within: float | None = None  # the relative error to expect of predictions
    notes: list[str] = field(
        default_factory=list
    )  # on predictions: why there is none, what could not be read

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_plan(
    study: FrozenStudy,
    records: Sequence[Record],
    *,
    workers: int,
    rate_per_hour: float | None = None,
    watts: float | None = None,
    pilot: SpreadOf | None = None,
    foresight: Foresight | None = None,
) -> Plan:
    """The plan of a study. The spread comes from its own finished blocks, else from `pilot`; what a trial of
    an arm takes and sees from its own finished trials, else from `foresight`.
    """
    ours = [r for r in records if r.trial in study.trials and r.state == "complete"]
    ahead = foresight or Foresight()
    seen = observed(study, ours)
    paces = {**ahead.paces, **seen}
    predicted = [name for name, pace in paces.items() if name not in seen and pace.known]
    parts = _parts(study, paces)
    trials = sum(part.most for part in parts)
    hours = _total(part.hours for part in parts)
    took = [r.spent.get("occupied", 0.0) + r.spent.get("evaluation", 0.0) for r in ours]
    measured = sum(took) / len(took) * trials / 3600 if took else None
    known = measured if measured is not None else hours
    blocks = _compared_blocks(study)
    differences = _differences(study, ours)
    spread = _spread(differences.values()) or pilot
    return Plan(
        name=study.name,
        question=study.question,
        outcome=study.outcome,
        design=study.design,
        arms=[_arm(arm, paces.get(arm.name), arm.name in seen) for arm in study.arms if arm.search is None],
        blocks=blocks,
        parts=parts,
        trials=trials,
        done=len(ours),
        training_hours=hours,
        hours=measured,
        wall_hours=None if known is None else _wall(known, trials, workers),
        workers=workers,
        cost=None if rate_per_hour is None or known is None else known * rate_per_hour,
        energy_kwh=_energy(ours, trials, known, watts),
        disk_bytes=_disk(study, trials, workers),
        resolution=_resolution(study, blocks, spread, known, trials),
        contrasts=_contrasts(study, differences, blocks, spread),
        fraction={"resolution": study.resolution, "aliases": study.aliases} if study.aliases else {},
        spared=spared(study, ours) if study.elastic and ours else None,
        warnings=[*_warnings(study, blocks), *study.cautions],
        predicted=predicted,
        predicted_within=ahead.within if predicted else None,
        notes=ahead.notes,
    )


def _arm(arm: FrozenArm, pace: Pace | None, observed: bool) -> PlannedArm:
    known = () if pace is None else (pace.tokens, pace.hours, pace.source, observed)
    return PlannedArm(arm.name, arm.changes, str(Budget(**arm.budget)), arm.parameters, *known)


# --- trials and hours --------------------------------------------------------------------------------


def _parts(study: FrozenStudy, paces: Mapping[str, Pace]) -> list[Part]:
    """What the trials are for: screening or tuning first, then the comparison."""
    found = []
    for phase, what in (("screen", "search"), ("tune", "tuning")):
        drawn = [s for s in study.searches if s.phase == phase]
        if drawn:
            counts = [s.trials * len(s.blocks) for s in drawn]
            hours = _total(_hours(s.budget, n) for s, n in zip(drawn, counts, strict=True))
            # An arm may be ended early, and one block of it run instead of all.
            least = sum(s.trials if s.pruner else n for s, n in zip(drawn, counts, strict=True))
            found.append(Part(what, least, sum(counts), hours))
    if study.confirm:
        n = study.confirm["top"] * study.confirm["blocks"]
        found.append(Part("best of the search again", n, n, _hours(study.budget, n)))
    listed = _listed(study)
    hours = _total(_hours_of(arm, most, paces) for arm, _, most in listed)
    least, most = sum(n for _, n, _ in listed), sum(n for _, _, n in listed)
    return [*found, Part("comparison" if not study.searches else "listed arms", least, most, hours)]


def _listed(study: FrozenStudy) -> list[tuple[FrozenArm, int, int]]:
    """Each arm that is known beforehand, with its least and most trials."""
    arms = [arm for arm in study.arms if arm.search is None and not arm.name.startswith("best ")]
    tuned = any(s.phase == "tune" for s in study.searches)
    planned: dict[str, int] = {}
    for name, _ in study.trials.values():
        planned[name] = planned.get(name, 0) + 1
    if tuned:
        blocks = len(study.blocks) - len(study.searches[0].blocks)
        return [(arm, blocks, blocks) for arm in arms]
    if study.elastic:
        low, high = int(study.elastic["min"]), int(study.elastic["max"])
        return [
            (arm, planned[arm.name], planned[arm.name]) if arm.phase == "screen" else (arm, low, high)
            for arm in arms
        ]
    return [(arm, planned.get(arm.name, 0), planned.get(arm.name, 0)) for arm in arms]


def _hours(budget: Mapping[str, Any], trials: int) -> float | None:
    amount = float(budget["amount"])
    return amount * trials / 3600 if budget["unit"] == "seconds" or amount == 0 else None


def _hours_of(arm: FrozenArm, trials: int, paces: Mapping[str, Pace]) -> float | None:
    """By the budget where that is a time, else as known of the arm."""
    by_budget, pace = _hours(arm.budget, trials), paces.get(arm.name)
    if by_budget is not None or pace is None or pace.hours is None:
        return by_budget
    return pace.hours * trials


def _total(hours: Any) -> float | None:
    found = list(hours)
    return None if any(h is None for h in found) else float(sum(found))


def _wall(hours: float, trials: int, workers: int) -> float:
    return hours / trials * math.ceil(trials / workers) if trials else 0.0


def _energy(records: Sequence[Record], trials: int, hours: float | None, watts: float | None) -> float | None:
    """As measured on finished trials, else from the stated power."""
    measured = [r.metrics["cost/energy_kwh"] for r in records if "cost/energy_kwh" in r.metrics]
    if measured:
        return sum(measured) / len(measured) * trials
    return None if watts is None or hours is None else watts * hours / 1000


def _disk(study: FrozenStudy, trials: int, workers: int) -> int | None:
    """Bytes of checkpoints, the largest part of what a study writes."""
    sizes = [arm.parameters for arm in study.arms if arm.search is None]
    known = [size for size in sizes if size]
    if len(known) < len(sizes):
        return None
    return int(sum(known) / len(known) * trials * BYTES_DONE) + workers * max(known) * BYTES_RUNNING


# --- power -------------------------------------------------------------------------------------------


def _compared_blocks(study: FrozenStudy) -> int:
    """The most blocks that a contrast of the family may have."""
    screened = len(study.searches[0].blocks) if study.searches else 0
    return (len(study.blocks) - screened) or screened


def _differences(study: FrozenStudy, records: Sequence[Record]) -> dict[str, list[float]]:
    """Arm → arm − reference on every block that has both."""
    metric, value = study.outcome["metric"], {}
    for record in records:
        value[tuple(study.trials[record.trial])] = record.metrics.get(metric)
    found = {}
    for arm in study.arms:
        if arm.reference is not None and arm.search is None:
            pairs = [
                (value.get((arm.name, b)), value.get((arm.reference, b))) for b in range(len(study.blocks))
            ]
            found[arm.name] = [a - b for a, b in pairs if a is not None and b is not None]
    return found


def _spread(differences: Iterable[Sequence[float]], least: int = LEAST_DEGREES) -> SpreadOf | None:
    """Spread of within-block differences, pooled over arms; None where too few are known."""
    squares, degrees = 0.0, 0
    for found in differences:
        if len(found) >= 2:
            mean = sum(found) / len(found)
            squares += sum((d - mean) ** 2 for d in found)
            degrees += len(found) - 1
    return SpreadOf(math.sqrt(squares / degrees), "finished blocks", degrees) if degrees >= least else None


def pilot_spread(study: FrozenStudy, records: Sequence[Record]) -> SpreadOf | None:
    """The spread of an A/A run: the baseline against itself with other weights, on the same blocks."""
    ours = [r for r in records if r.trial in study.trials and r.state == "complete"]
    again = next((arm.name for arm in study.arms if arm.replicate), None)
    found = _spread([_differences(study, ours)[again]]) if again else None
    return None if found is None else SpreadOf(found.value, "an A/A pilot", found.degrees)


def _resolution(
    study: FrozenStudy, n: int, spread: SpreadOf | None, hours: float | None, trials: int
) -> Resolution:
    margin, family = float(study.outcome["margin"]), max(1, len(study.family))
    unit = power.resolvable(n, 1.0, alpha=study.alpha, comparisons=family)
    equal = power.equivalence_margin(n, 1.0, alpha=study.alpha, comparisons=family)
    if spread is None:
        return Resolution(unit, margin / unit if unit else None, margin / equal if equal else None)
    needed = power.blocks_needed(margin, spread.value, alpha=study.alpha, comparisons=family)
    arms = len([arm for arm in study.arms if arm.search is None and arm.phase == "confirm"])
    there = None if needed is None or hours is None or not trials else hours / trials * arms * needed
    return Resolution(
        unit,
        margin / unit if unit else None,
        margin / equal if equal else None,
        spread.value,
        spread.source,
        needed,
        there,
    )


def _contrasts(
    study: FrozenStudy, differences: Mapping[str, Sequence[float]], n: int, pooled: SpreadOf | None
) -> list[PlannedContrast]:
    """One per arm of the family, by the pooled spread unless its own blocks tell it well enough."""
    margin, names = float(study.outcome["margin"]), set(study.family)
    level: dict[str, Any] = {"alpha": study.alpha, "comparisons": max(1, len(study.family))}
    effect = power.resolvable(n, 1.0, **level)
    equal = power.equivalence_margin(n, 1.0, **level)
    needed = functools.cache(lambda spread: power.blocks_needed(margin, spread, **level))
    found = []
    for arm in study.arms:
        if arm.name not in names or arm.reference is None:
            continue
        spread = _spread([differences.get(arm.name, ())], LEAST_OWN) or pooled
        known = spread.value if spread else None
        found.append(
            PlannedContrast(
                arm.name, arm.reference, n, known, spread.source if spread else "",
                None if known is None or effect is None else known * effect,
                None if known is None or equal is None else known * equal,
                None if known is None else needed(known),
            )
        )  # fmt: skip
    return found


def _warnings(study: FrozenStudy, blocks: int) -> list[str]:
    found = []
    if study.design == "search" and not study.confirm:
        found.append(
            "the best of a search looks better than it is (of ten equal arms the best one seems 1.55 SD "
            "above, on one block); add `confirm: {top: 1, blocks: 5}`"
        )
    elif blocks:
        found += power.warnings(blocks, len(study.family), alpha=study.alpha)
    if study.resolution == 3:
        found.append(
            "resolution III: main effects cannot be told from two-factor interactions (see the aliases)"
        )
    if study.elastic:
        found.append(
            f"{study.elastic['max'] - study.elastic['min'] + 1} looks share alpha {study.alpha:g}; "
            "p-values and intervals are those of the stopping rule"
        )
    return found
