"""From a frozen study and its records to findings: the only way in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ablate.analysis import metrics as names
from ablate.analysis import power
from ablate.analysis.compared import compared
from ablate.analysis.findings import ArmFindings, Contrast, Findings, Outcome
from ablate.analysis.multiplicity import holm
from ablate.analysis.observed import Observed, observe, value
from ablate.analysis.paired import Effect, Equivalence, effect, equivalence
from ablate.analysis.provenance import cost, mixtures, provenance
from ablate.analysis.standing import standings
from ablate.analysis.summary import answer
from ablate.analysis.verdicts import reason, verdict
from ablate.budget import Budget
from ablate.records import Damage, FrozenArm, FrozenStudy, Record


def analyze(study: FrozenStudy, records: Sequence[Record], damage: Sequence[Damage] = ()) -> Findings:
    """Findings of a study at any stage of completion, by the rules fixed in `study.json`."""
    outcome = read_outcome(study)
    study, kept = compared(study, records)
    observed = observe(study, kept)
    baseline = study.arms[0]
    contrasts = _contrasts(study, observed, outcome)
    scores = {arm.name: observed.metric(arm.name, outcome.metric) for arm in study.arms}
    unfit = [arm for arm, blocks in observed.diverged.items() if blocks]
    best = standings(scores, outcome, study.alpha, unfit)
    arms = tuple(
        replace(_arm(study, arm, observed), contrast=contrasts.get(arm.name), standing=best[arm.name])
        for arm in study.arms
    )
    arms, everywhere = _said_once(arms)
    claims = study.claims
    found = Findings(
        name=study.name, title=study.title, question=study.question, answer="", design=study.design,
        created=study.created, source=study.source, outcome=outcome, alpha=study.alpha,
        family=tuple(study.family), blocks=len(study.blocks), seeds=tuple(study.blocks),
        budget=show_budget(study.budget), charge=study.charge, baseline=baseline.name, arms=arms,
        metrics=tuple(names.ordered(observed.metrics)), scale=study.scale,
        cost=cost(records, study.run.get("rate_per_hour")), provenance=provenance(observed.used),
        warnings=(*_warnings(study, observed, arms), *(f"not used: {d.reason}" for d in damage),
                  *(f"every trial: {remark}" for remark in everywhere)),
        notes=tuple(study.notes), post_hoc=tuple(study.post_hoc), claims=claims,
        rules=study.rules, breaches=_breaches(study),
    )  # fmt: skip
    return replace(found, answer=answer(found))


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
    metric = str(study.outcome["metric"])
    margin = study.outcome.get("margin")
    higher = study.outcome.get("higher_is_better")
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
        return str(dict(budget)) if budget else "not recorded"


def _arm(study: FrozenStudy, arm: FrozenArm, observed: Observed) -> ArmFindings:
    trials = observed.trials[arm.name]
    planned = sum(a == arm.name for a, _ in study.trials.values()) if study.trials else len(study.blocks)
    return ArmFindings(
        name=arm.name, group=arm.group, changes=arm.changes, parameters=arm.parameters,
        planned=planned, completed=len(observed.metric(arm.name, str(study.outcome["metric"]))),
        failures=dict(observed.failures[arm.name]), pending=max(0, planned - len(trials)),
        values={m: value(blocks) for m, blocks in observed.values[arm.name].items() if blocks},
        trials=trials,
    )  # fmt: skip


def _references(study: FrozenStudy) -> dict[str, str]:
    """arm → the arm it is contrasted with: its own reference (cumulative designs), else the baseline."""
    first = study.arms[0].name
    return {arm.name: arm.reference or first for arm in study.arms[1:]}


def _contrasts(study: FrozenStudy, observed: Observed, outcome: Outcome) -> dict[str, Contrast]:
    references, alpha = _references(study), study.alpha
    effects = {
        arm: effect(
            outcome.metric,
            observed.metric(arm, outcome.metric),
            observed.metric(reference, outcome.metric),
            alpha=alpha,
        )
        for arm, reference in references.items()
    }
    tosts = {arm: equivalence(e, outcome.margin, alpha=alpha) for arm, e in effects.items()}
    family = [arm for arm in study.family if arm in effects]
    adjusted = holm({arm: effects[arm].p for arm in family})
    adjusted_tost = holm({arm: _tost_p(tosts[arm]) for arm in family})
    return {
        arm: _contrast(
            study, observed, outcome, arm, references[arm], effects[arm], tosts[arm],
            adjusted.get(arm, effects[arm].p), adjusted_tost.get(arm, _tost_p(tosts[arm])), len(family),
        )
        for arm in references
    }  # fmt: skip


def _tost_p(tost: Equivalence | None) -> float | None:
    return None if tost is None else tost.p


def _contrast(
    study: FrozenStudy, observed: Observed, outcome: Outcome, arm: str, reference: str,
    e: Effect, tost: Equivalence | None, p: float | None, tost_p: float | None, family: int,
) -> Contrast:  # fmt: skip
    alpha, in_family = study.alpha, arm in study.family
    comparisons = max(1, family) if in_family else 1
    resolvable = (
        power.resolvable(e.n, e.sd, alpha=alpha, comparisons=comparisons)
        if e.p is not None and e.sd
        else None
    )
    needed = (
        power.blocks_needed(outcome.margin, e.sd, alpha=alpha, comparisons=comparisons)
        if outcome.margin and e.p is not None and e.sd
        else None
    )
    found = verdict(e, outcome, p, tost_p, alpha)
    text = reason(
        found, e, outcome, p=p, equivalence_p=tost_p, resolvable=resolvable, needed=needed, alpha=alpha
    )
    if not in_family:
        text += "; outside the declared family: p-values are not corrected, take it as exploratory"
    itt, imputed = _intention_to_treat(observed, outcome, arm, reference, alpha)
    text += _if_failures_count(found, e, itt, imputed)
    secondary = {
        m: effect(m, observed.metric(arm, m), observed.metric(reference, m), alpha=alpha)
        for m in names.ordered(observed.metrics)
        if m != outcome.metric
    }
    return Contrast(
        reference=reference, effect=e, verdict=found, reason=text, in_family=in_family, adjusted_p=p,
        equivalence=tost, adjusted_equivalence_p=tost_p, resolvable=resolvable, blocks_needed=needed,
        intention_to_treat=itt, imputed=imputed,
        secondary={m: s for m, s in secondary.items() if s.n},
    )  # fmt: skip


def _intention_to_treat(
    observed: Observed, outcome: Outcome, arm: str, reference: str, alpha: float
) -> tuple[Effect | None, int]:
    """The effect with diverged trials at the worst score seen in the study; None when no block was lost.

    Divergence is the arm's own doing; a lost process or a full disk is not, and stays missing.
    """
    if not observed.failures[arm].total() and not observed.failures[reference].total():
        return None, 0
    seen = [v for name in observed.values for v in observed.metric(name, outcome.metric).values()]
    if not seen:
        return None, 0
    worst = min(seen) if outcome.higher_is_better else max(seen)
    filled = {
        name: {**dict.fromkeys(observed.diverged[name], worst), **observed.metric(name, outcome.metric)}
        for name in (arm, reference)
    }
    imputed = len(observed.diverged[arm]) + len(observed.diverged[reference])
    return effect(outcome.metric, filled[arm], filled[reference], alpha=alpha), imputed


def _if_failures_count(found: str, e: Effect, itt: Effect | None, imputed: int) -> str:
    """What becomes of a directed verdict when diverged trials count."""
    if found not in ("helps", "hurts") or itt is None or not imputed or e.estimate is None:
        return ""
    open_ = itt.low is None or itt.high is None or itt.low <= 0 <= itt.high
    turned = itt.estimate is not None and (itt.estimate > 0) != (e.estimate > 0)
    # A worse mean in a wider interval does not speak against "hurts".
    if turned or (found == "helps" and open_):
        return "; among completed blocks only: with diverged trials at the worst score this does not hold"
    return ""


def _warnings(study: FrozenStudy, observed: Observed, arms: Sequence[ArmFindings]) -> list[str]:
    found = [f"post hoc: {change}" for change in study.post_hoc]
    found += list(observed.warnings)
    if study.arms and not arms[0].completed:
        found.append(f"the baseline '{arms[0].name}' has no usable trial: no effect can be computed")
    pending = sum(arm.pending for arm in arms)
    if pending:
        found.append(
            f"{pending} of {sum(a.planned for a in arms)} trials have no record yet: "
            "these findings are preliminary"
        )
    missing = [name for name in study.family if name not in {a.name for a in study.arms[1:]}]
    if missing:
        found.append(f"the family names arms that are not in the study: {', '.join(missing)}")
    lowest = min((math.inf, *(a.completed for a in arms if a.completed)))
    if lowest < math.inf:
        found += power.warnings(int(lowest), len(study.family), alpha=study.alpha)
    return found + mixtures(observed.used)
