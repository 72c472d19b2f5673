"""Rival explanations of a verdict that the program can check, each with what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized

from ablate.analysis import metrics as names
from ablate.analysis.findings import NOT_RECORDED, Answer, ArmFindings, Check, Contrast, Outcome
from ablate.records import FrozenArm, FrozenStudy

LR = "train.lr"
STEADY = 1.1  # fastest over slowest trial of one arm up to which a machine counts as even
EDGE = 0.05  # share of a range (logarithmic for a rate) that counts as its edge


def checks(
    study: FrozenStudy, frozen: FrozenArm, arm: ArmFindings, c: Contrast, outcome: Outcome, machines: int,
    swing: float,
) -> tuple[Check, ...]:  # fmt: skip
    """Divergence, learning rate, a switch that does not bite, too few tokens, the metric, the machine.

    `machines`: different ones; `swing`: the fastest over the slowest trial of one arm, in tokens per second.
    """
    return (
        _divergence(study, arm, c),
        _learning_rate(study, frozen),
        _switch(study, frozen, arm, c),
        _tokens(arm),
        _metric(c, outcome),
        _machine(machines, swing if frozen.budget.get("unit") == "seconds" else 1.0),
    )


def _divergence(study: FrozenStudy, arm: ArmFindings, c: Contrast) -> Check:
    name = "divergence"
    if not arm.lost and study.rules == NOT_RECORDED:  # imported: a table often holds what went well alone
        return Check(
            name, "not checked", "no imported run of the arm diverged; what was left out is not known"
        )
    if not arm.lost:
        return Check(name, "ruled out", "no trial of the arm diverged or was lost")
    lost = ", ".join(
        f"{n} {'without an outcome' if state == 'no outcome' else state}"
        for state, n in arm.failures.items() if n
    )  # fmt: skip
    itt, e = c.intention_to_treat, c.effect
    if not c.imputed:
        return Check(name, "not ruled out", f"{lost} of {arm.planned} trials: missing for other reasons")
    same = itt is not None and itt.estimate is not None and e.estimate is not None and (
        (itt.estimate > 0) == (e.estimate > 0)
    )  # fmt: skip
    answer: Answer = "not ruled out" if same else "applies"
    return Check(name, answer, f"{lost} of {arm.planned} trials; see the intention-to-treat line")


def _learning_rate(study: FrozenStudy, frozen: FrozenArm) -> Check:
    """Tuned inside its range, tuned to an edge, or not tuned."""
    name, tuned = "learning rate", frozen.tuned
    if not frozen.recipe:
        return Check(name, "not checked", "the arm's recipe was not recorded")
    if LR in tuned:
        bounds = _range(study, frozen.name)
        if bounds is None:
            return Check(name, "not ruled out", f"tuned to {tuned[LR]:g}; its range was not recorded")
        place = _place(float(tuned[LR]), *bounds)
        said = f"tuned to {tuned[LR]:g} within {bounds[0]:g} to {bounds[1]:g}"
        if min(place, 1 - place) <= EDGE:
            return Check(name, "applies", f"{said}: at the edge, a better rate may lie outside")
        return Check(name, "ruled out", f"{said}, away from the edges")
    if LR in frozen.changes:
        return Check(name, "not ruled out", "the arm changes the learning rate itself")
    return Check(name, "not ruled out", "the arm ran at its reference's rate; none was tuned for it")


def _range(study: FrozenStudy, arm: str) -> tuple[float, float] | None:
    for search in study.searches:
        found = search.space.get(LR) if search.base == arm else None
        if isinstance(found, Mapping) and "low" in found and "high" in found:
            return float(found["low"]), float(found["high"])
        levels = found.get("levels") if isinstance(found, Mapping) else None
        if levels:
            return float(min(levels)), float(max(levels))
    return None


def _place(value: float, low: float, high: float) -> float:
    """Where in a range a rate lies, 0 to 1, on a logarithmic scale."""
    if not 0 < low < high:
        return 0.0
    return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))


def _switch(study: FrozenStudy, frozen: FrozenArm, arm: ArmFindings, c: Contrast) -> Check:
    """Did the change reach the model? Where two runs of one recipe differ too, a difference shows nothing."""
    name, e = "switch without effect", c.effect
    if e.estimate is None:
        return Check(name, "not checked", "no block has both the arm and its reference")
    if study.paired and not any(e.differences.values()):
        moved = [m for m, other in c.secondary.items() if _measured(m) and any(other.differences.values())]
        if not moved:
            return Check(
                name, "applies", "outcome and every other score and loss are identical in every block"
            )
        shown = ", ".join(names.label(m) for m in moved[:3])
        return Check(name, "ruled out", f"the outcome is identical in every block, but {shown} differ")
    if study.paired and study.rules != NOT_RECORDED and frozen.budget.get("unit") != "seconds":
        return Check(name, "ruled out", "the outcome differs from the reference's at the same seeds")
    told = _told_apart(study, arm, c)
    if told:
        return Check(name, "ruled out", told)
    why = (
        "under a budget of time two runs of one recipe differ as well"
        if frozen.budget.get("unit") == "seconds"
        else "two runs of one recipe may differ as much"
    )
    return Check(name, "not ruled out", f"nothing tells the arm from its reference: {why}")


def _measured(metric: str) -> bool:
    """What a model scored; speed, memory and time differ between any two runs."""
    return metric.split("/")[0] not in ("throughput", "cost", "spent")


def _told_apart(study: FrozenStudy, arm: ArmFindings, c: Contrast) -> str:
    """What shows that the arm is another model or trains otherwise; empty where nothing does."""
    reference = next((a.parameters for a in study.arms if a.name == c.reference), None)
    if arm.parameters and reference and arm.parameters != reference:
        return f"the arm has {arm.parameters:,} parameters, its reference {reference:,}"
    equal = c.mechanism.equal_tokens if c.mechanism else None
    if equal and equal.low is not None and equal.high is not None and not equal.low <= 0 <= equal.high:
        return "the training loss differs at equal tokens"
    if c.adjusted_p is not None and c.adjusted_p <= study.alpha:
        return "the outcome differs from the reference's by more than chance"
    return ""


def _tokens(arm: ArmFindings) -> Check:
    name, found = "too few tokens", arm.curvature
    if found is None or found.last_doubling is None:
        return Check(name, "not checked", "no loss curve was recorded")
    said = f"in the last doubling of its tokens the training loss fell by {found.last_doubling:.3g} nats"
    if found.falling:
        return Check(name, "not ruled out", f"{said}: it was still falling, a longer run may differ")
    if found.falling is None:
        return Check(name, "not ruled out", f"{said}, by a different amount in every block")
    return Check(name, "ruled out", f"{said}: the curve was flat")


def _metric(c: Contrast, outcome: Outcome) -> Check:
    """Do the other measures point the same way, and does the effect hold for new examples?"""
    name = "metric"
    others = {
        m: e for m, e in c.secondary.items()
        if e.testable and names.quality(m) is not None
    }  # fmt: skip
    if not others or c.effect.estimate is None:
        return Check(name, "not checked", "no other score or loss was measured")
    # By the interval and not by p, which knows nothing of the looks of a stopping rule.
    moved = [m for m, e in others.items() if e.low is not None and e.high is not None and e.low * e.high > 0]
    shown, level = ", ".join(names.label(m) for m in moved), f"(p ≤ {1 - c.effect.level:.3g}, uncorrected)"
    if c.verdict == "equivalent":
        if moved:
            return Check(name, "not ruled out", f"other measures move: {shown} {level}")
        return Check(name, "not ruled out", f"{_none(others, level)}, which shows no equivalence there")
    better = (c.effect.estimate > 0) == outcome.higher_is_better
    against = [m for m in moved if (((others[m].estimate or 0) > 0) == names.quality(m)) != better]
    if against:
        shown = ", ".join(names.label(m) for m in against)
        return Check(name, "not ruled out", f"{shown} point(s) the other way {level}")
    if not moved:
        return Check(name, "not ruled out", f"{_none(others, level)}, for or against it")
    return Check(name, "ruled out", f"{shown} point(s) the same way, none of {len(others)} the other way")


def _none(others: Sized, level: str) -> str:
    one = "the one other measure does not move" if len(others) == 1 else ""
    return one or f"none of {len(others)} other measures moves {level}"


def _machine(machines: int, swing: float) -> Check:
    if not machines:
        return Check("hardware", "not checked", "the machines were not recorded")
    if machines > 1:
        return Check("hardware", "not ruled out", f"trials ran on {machines} different machines")
    if swing > STEADY:
        return Check("hardware", "not ruled out", f"one kind of machine, but busy: {busy(swing)}")
    return Check("hardware", "ruled out", "every trial ran on one kind of machine, at an even speed")


def busy(swing: float) -> str:
    """What a machine with other work does to a budget of time."""
    return (
        f"tokens per second of one and the same arm differ between blocks by up to {swing:.2g} times, which "
        "a wall-clock budget turns into more or fewer tokens"
    )
