"""From a frozen study and its records to findings: the only way in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ablate.analysis import metrics as names
from ablate.analysis import power
from ablate.analysis.compared import compared
from ablate.analysis.contrasts import by_block, contrasts, references
from ablate.analysis.evidence import Curve, Evidence
from ablate.analysis.factorial import interactions, is_factorial
from ablate.analysis.findings import (
    NOT_RECORDED,
    ArmFindings,
    BestOfK,
    Findings,
    Importance,
    Interactions,
    Outcome,
)
from ablate.analysis.mechanism import curvature
from ablate.analysis.observed import UNREADABLE, Observed, observe, value
from ablate.analysis.pairing import pairing
from ablate.analysis.pareto import between
from ablate.analysis.provenance import cost, device, mixtures, provenance
from ablate.analysis.rivals import STEADY, busy, checks
from ablate.analysis.search import best_of_k
from ablate.analysis.spared import spared
from ablate.analysis.standing import standings
from ablate.analysis.summary import answer
from ablate.analysis.tasks import ONE_LOOK
from ablate.budget import Budget
from ablate.knobs import show
from ablate.records import Damage, FrozenArm, FrozenStudy, Record


def analyze(
    study: FrozenStudy,
    records: Sequence[Record],
    damage: Sequence[Damage] = (),
    evidence: Evidence | None = None,
) -> Findings:
    """Findings of a study at any stage of completion, by the rules fixed in `study.json`.

    Without `evidence` (predictions, curves) what is drawn from it stays empty; other numbers are the same.
    """
    evidence = evidence or Evidence()
    outcome = read_outcome(study)
    drawn = _drawn_scores(study, records, outcome)
    study, kept = compared(study, records)
    observed = observe(study, kept, damage)
    baseline = study.arms[0]
    found_contrasts = contrasts(study, observed, outcome, evidence)
    curves = by_block(observed, evidence)
    scores = {arm.name: observed.metric(arm.name, outcome.metric) for arm in study.arms}
    unfit = [arm for arm, blocks in observed.diverged.items() if blocks]
    looks = int(study.elastic["max"]) - int(study.elastic["min"]) + 1 if study.elastic else 1  # all pay
    planned = Counter(arm for arm, _ in study.trials.values())
    best = (
        standings(scores, outcome, study.alpha / looks, unfit) if study.paired else dict.fromkeys(scores, "")
    )
    arms = tuple(
        _checked(
            study, arm, outcome, observed,
            replace(
                _arm(study, arm, observed, curves, planned), contrast=found_contrasts.get(arm.name),
                standing=best[arm.name],  # type: ignore[arg-type]
            ),
        )
        for arm in study.arms
    )  # fmt: skip
    arms, everywhere = _said_once(arms)
    claims = study.claims
    found = Findings(
        name=study.name, title=study.title, question=study.question, answer="", design=study.design,
        created=study.created, source=study.source, outcome=outcome, alpha=study.alpha,
        family=tuple(study.family), blocks=len(study.blocks), seeds=tuple(study.blocks),
        budget=show_budget(study.budget), charge=study.charge, baseline=baseline.name, arms=arms,
        metrics=tuple(names.ordered(observed.metrics)), scale=study.scale,
        cost=cost(records, study.run.get("rate_per_hour")), provenance=provenance(observed.used),
        warnings=(*_warnings(study, observed, arms, damage),
                  *evidence.problems,
                  *(f"every trial: {remark}" for remark in everywhere)),
        notes=(*study.notes, *_additions(study, observed)), post_hoc=tuple(study.post_hoc), claims=claims,
        rules=study.rules, breaches=_breaches(study),
        paired=study.paired, elastic=dict(study.elastic),
        pairing=pairing({a: (scores[a], scores[b]) for a, b in references(study).items()})
        if study.paired else None,
        interactions=_interactions(study, scores), importance=_importance(drawn, outcome),
        best_of_k=_best_of_k(drawn, outcome),
        front=between(study, observed, outcome, _read(study.tradeoff) if study.tradeoff else None),
        command=study.command,
    )  # fmt: skip
    return replace(found, answer=answer(found))


def _within(damage: Damage) -> str:
    """Why a file is not used, by its place in the run folder: where that lies is nobody's business."""
    return damage.reason.replace(str(damage.path), "/".join(damage.path.parts[-3:]))


def _additions(study: FrozenStudy, observed: Observed) -> list[str]:
    """What a study that adds trials to itself came to: tuned values, spared blocks."""
    tuned = [f"{arm.name} ({show(arm.tuned)})" for arm in study.arms if arm.tuned]
    found = [f"tuned beforehand, on other blocks: {'; '.join(tuned)}"] if tuned else []
    spared_blocks = spared(study, observed.used)
    return found if spared_blocks is None else [*found, str(spared_blocks)]


def _breaches(study: FrozenStudy) -> tuple[str, ...]:
    """What breaks the strict rules, each once with its arms."""
    named: dict[tuple[str, str], list[str]] = {}
    for arm in study.arms:
        for breach in arm.breaches.items():
            named.setdefault(breach, []).append(arm.name)
    everywhere = len(study.arms)
    return tuple(
        f"{path} in {'every arm' if len(arms) == everywhere else ', '.join(arms)}: {why}"
        for (path, why), arms in named.items()
    )


def _said_once(arms: tuple[ArmFindings, ...]) -> tuple[tuple[ArmFindings, ...], list[str]]:
    """Remarks that every trial of the study carries are told once, and make no trial odd."""
    trials = [trial for arm in arms for trial in arm.trials]
    if len(trials) < 2:
        return arms, []
    everywhere = [remark for remark in trials[0].odd if all(remark in trial.odd for trial in trials)]
    left = tuple(
        replace(
            arm,
            trials=tuple(
                replace(trial, odd=tuple(remark for remark in trial.odd if remark not in everywhere))
                for trial in arm.trials
            ),
        )
        for arm in arms
    )
    return left, everywhere


def read_outcome(study: FrozenStudy) -> Outcome:
    """The outcome as frozen; a direction that was not written follows from the metric's name."""
    return _read(study.outcome)


def _read(frozen: Mapping[str, Any]) -> Outcome:
    metric, margin, higher = str(frozen["metric"]), frozen.get("margin"), frozen.get("higher_is_better")
    return Outcome(
        metric=metric,
        margin=float(margin) if margin else None,
        higher_is_better=names.higher_is_better(metric) if higher is None else bool(higher),
        unit=names.unit(metric),
        label=names.label(metric),
    )


def show_budget(budget: Mapping[str, object]) -> str:
    """`{unit: seconds, amount: 86400}` as people write it: 24h."""
    try:
        return str(Budget(budget["unit"], float(budget["amount"])))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return str(dict(budget)) if budget else NOT_RECORDED


def _arm(
    study: FrozenStudy,
    arm: FrozenArm,
    observed: Observed,
    curves: Mapping[str, Mapping[int, Curve]],
    of_arms: Mapping[str, int],
) -> ArmFindings:
    trials = observed.trials[arm.name]
    planned = of_arms[arm.name] if study.trials else len(study.blocks)
    metric = str(study.outcome["metric"])
    return ArmFindings(
        name=arm.name, group=arm.group, changes=arm.changes, parameters=arm.parameters,
        planned=planned, completed=len(observed.metric(arm.name, metric)),
        failures=dict(observed.failures[arm.name]),
        pending=max(0, planned - len(trials) - observed.failures[arm.name][UNREADABLE]),
        values={m: value(blocks) for m, blocks in observed.values[arm.name].items() if blocks},
        trials=trials, levels=dict(arm.levels),
        phase=str(arm.phase), replicate=arm.replicate, curvature=curvature(curves.get(arm.name, {})),
        scores={} if study.paired else _scores_by_trial(observed.values[arm.name], metric),
    )  # fmt: skip


def _scores_by_trial(values: Mapping[str, Mapping[int, float]], outcome: str) -> Scores:
    """What pictures show trial by trial: the outcome and every task; of 1,000 trials on GLUE 0.2 MB."""
    return {m: values[m] for m in (outcome, *names.tasks(values)) if values.get(m)}


def _checked(
    study: FrozenStudy, frozen: FrozenArm, outcome: Outcome, observed: Observed, arm: ArmFindings
) -> ArmFindings:
    """The arm with the program's own checks of rival explanations."""
    if arm.contrast is None:
        return arm
    both = (arm.name, arm.contrast.reference)
    machines = len({device(r.hardware) for name in both for r in observed.of_arm.get(name, ()) if r.hardware})
    swing = max(_swing(observed, name) for name in both)
    found = checks(study, frozen, arm, arm.contrast, outcome, machines, swing)
    return replace(arm, contrast=replace(arm.contrast, checks=found))


def _swing(observed: Observed, arm: str) -> float:
    """The fastest over the slowest trial of an arm, in tokens per second; 1 of what was not recorded."""
    speeds = [v for v in observed.metric(arm, names.SPEED).values() if v > 0]
    return max(speeds) / min(speeds) if speeds else 1.0


Scores = Mapping[str, Mapping[int, float]]


def _interactions(study: FrozenStudy, scores: Scores) -> Interactions | None:
    """Of factorial data alone, a probe's among them: arms of a search or a tuning are no design."""
    levels = {
        arm.name: dict(arm.levels) for arm in study.arms
        if not (arm.search or arm.replicate or arm.phase == "tune")
    }  # fmt: skip
    reference = levels.get(study.arms[0].name) or {}
    if len(reference) < 2 or not is_factorial(levels, reference):
        return None
    found = interactions(levels, scores, reference, alpha=study.alpha)
    if found is None or not study.elastic:
        return found
    return replace(found, notes=(*found.notes, f"intervals and p-values are {ONE_LOOK}"))


Drawn = Mapping[str, list[tuple[FrozenArm, float]]]


def _drawn_scores(study: FrozenStudy, records: Sequence[Record], outcome: Outcome) -> Drawn:
    """search → the arms that it drew, with their mean outcome; tuning counts here too."""
    arms = [arm for arm in study.arms if arm.search]
    if not arms:
        return {}
    observed = observe(study, records)
    found: dict[str, list[tuple[FrozenArm, float]]] = {}
    for arm in arms:
        scores = observed.metric(arm.name, outcome.metric)
        if scores:
            mean = math.fsum(scores.values()) / len(scores)
            found.setdefault(str(arm.search), []).append((arm, mean))
    return found


def _best_of_k(drawn: Drawn, outcome: Outcome) -> tuple[BestOfK, ...]:
    curves = (
        best_of_k(name, [score for _, score in arms], higher_is_better=outcome.higher_is_better)
        for name, arms in drawn.items()
    )
    return tuple(c for c in curves if c is not None)


def _importance(drawn: Drawn, outcome: Outcome) -> tuple[Importance, ...]:
    """Shares per knob, of searches only; one-factor data would give them all to whatever interacts."""
    found = []
    for arms in drawn.values():
        if not any(arm.params for arm, _ in arms):
            continue
        from ablate.scheduling.importance import METHOD, importance

        shares = importance(
            [arm.params for arm, _ in arms], [arm.distributions for arm, _ in arms],
            [score for _, score in arms], higher_is_better=outcome.higher_is_better,
        )  # fmt: skip
        found += [Importance(knob, share, METHOD) for knob, share in shares.items()]
    return tuple(found)


def _warnings(
    study: FrozenStudy, observed: Observed, arms: Sequence[ArmFindings], damage: Sequence[Damage]
) -> list[str]:
    found = [f"post hoc: {change}" for change in study.post_hoc]
    found += [f"not used: {_within(d)}" for d in damage]
    found += list(observed.warnings)
    if study.arms and not arms[0].completed:
        found.append(f"the baseline '{arms[0].name}' has no usable trial: no effect can be computed")
    timed = [arm.name for arm in study.arms if arm.budget.get("unit") == "seconds"]
    swing = max((_swing(observed, name) for name in timed), default=1.0)
    if swing > STEADY:
        found.append(f"the machine was busy or uneven: {busy(swing)}")
    pending = sum(arm.pending for arm in arms)
    if pending:
        found.append(
            f"{pending} of {sum(a.planned for a in arms)} trials have no record yet: "
            "these findings are preliminary"
        )
    missing = [name for name in study.family if name not in {a.name for a in study.arms[1:]}]
    if missing:
        found.append(f"the family names arms that are not in the study: {', '.join(missing)}")
    # A screen runs on few blocks on purpose; what is decided on them is what gets confirmed.
    deciding = [a for a in arms if a.phase == "confirm"] or arms
    counts = sorted(a.completed for a in deciding if a.completed)
    if not study.paired and counts[:1] == [1]:
        found.append("an arm with one trial has no spread: its verdict stays inconclusive; use 3 or more")
    if study.paired and counts:
        pairs = sorted(a.contrast.effect.n for a in deciding if a.contrast and a.contrast.effect.n)
        if pairs and pairs[0] < 2 <= pairs[-1]:
            found.append(
                "an arm with one block has no interval: its verdict stays inconclusive; use 3 or more"
            )
            counts = [n for n in pairs if n >= 2]
        found += power.warnings(counts[0], len(study.family), alpha=study.alpha)
    return found + mixtures(observed.used)
