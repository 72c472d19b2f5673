"""Every arm against its reference: effect, correction, equivalence, verdict, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scipy.special import stdtrit

from ablate.analysis import metrics as names
from ablate.analysis import power
from ablate.analysis.evidence import Curve, Evidence
from ablate.analysis.findings import Contrast, Correction, Mechanism, Outcome, Unpaired, Verdict
from ablate.analysis.mechanism import mechanism
from ablate.analysis.multiplicity import benjamini_hochberg, holm
from ablate.analysis.observed import Observed
from ablate.analysis.paired import Effect, Equivalence, effect, equivalence
from ablate.analysis.sequential import Progress, StoppingRule, decide
from ablate.analysis.tasks import task_findings
from ablate.analysis.unpaired import as_effect, dunnett, unpaired
from ablate.analysis.verdicts import reason, verdict
from ablate.records import FrozenStudy


@dataclass(frozen=True)
class _Sources:
    """What all contrasts of a study are made from."""

    study: FrozenStudy
    observed: Observed
    outcome: Outcome
    evidence: Evidence

    @property
    def alpha(self) -> float:
        return self.study.alpha

    def effect(self, metric: str, arm: str, reference: str) -> Effect:
        """Paired within blocks, or Welch's where the arms share none."""
        a, b = self.observed.metric(arm, metric), self.observed.metric(reference, metric)
        return self.between(metric, a, b)

    def between(self, metric: str, arm: Mapping[int, float], reference: Mapping[int, float]) -> Effect:
        """Of values by block."""
        if self.study.paired:
            return effect(metric, arm, reference, alpha=self.alpha)
        found = unpaired(list(arm.values()), list(reference.values()), alpha=self.alpha)
        return as_effect(found, metric, alpha=self.alpha)


@dataclass(frozen=True)
class _Corrected:
    """What verdicts rest on, per arm: effects, and p-values with how they were corrected."""

    effects: Mapping[str, Effect]
    tosts: Mapping[str, Equivalence | None]
    p: Mapping[str, float | None]
    equivalence_p: Mapping[str, float | None]
    how: Mapping[str, Correction]
    sequential: Mapping[str, Progress]
    rule: StoppingRule | None
    family: int


@dataclass(frozen=True)
class _Counted:
    """Effects with diverged trials counted, of the arms that lost blocks; p-values per arm, corrected."""

    effects: Mapping[str, Effect]
    imputed: Mapping[str, int]
    p: Mapping[str, float | None]
    equivalence_p: Mapping[str, float | None]


def contrasts(
    study: FrozenStudy, observed: Observed, outcome: Outcome, evidence: Evidence
) -> dict[str, Contrast]:
    """arm → its contrast, in the order of the arms."""
    sources = _Sources(study, observed, outcome, evidence)
    pairs = references(study)
    corrected = _correct(
        study, {arm: sources.effect(outcome.metric, arm, other) for arm, other in pairs.items()}, outcome
    )
    counted = _intention_to_treat(sources, pairs, corrected.effects)
    found = {arm: _contrast(sources, arm, pairs[arm], corrected, counted) for arm in pairs}
    return _beside(sources, pairs, found)


def references(study: FrozenStudy) -> dict[str, str]:
    """arm → the arm it is contrasted with: its own reference (cumulative designs), else the baseline."""
    first = study.arms[0].name
    return {arm.name: arm.reference or first for arm in study.arms[1:]}


def _correct(study: FrozenStudy, effects: Mapping[str, Effect], outcome: Outcome) -> _Corrected:
    """Holm in the declared family, Benjamini–Hochberg among arms of a screen, nothing for the rest."""
    family = [arm for arm in study.family if arm in effects]
    phases = {arm.name: arm.phase for arm in study.arms}
    again = {arm.name for arm in study.arms if arm.replicate}
    screen = [a for a in effects if a not in family and phases[a] == "screen" and a not in again]
    tosts = {arm: equivalence(e, outcome.margin, alpha=study.alpha) for arm, e in effects.items()}
    rule, sequential = _rule(study, outcome), dict[str, Progress]()
    if rule is not None:
        differences = {arm: _in_order(e) for arm, e in effects.items()}
        sequential = dict(decide({arm: differences[arm] for arm in family}, rule).contrasts)
        # The others have as many looks behind them, and nothing to be corrected over.
        for arm in set(effects) - set(family):
            sequential |= decide({arm: differences[arm]}, rule).contrasts
    p = {arm: effects[arm].p for arm in effects}
    tost = {arm: _tost_p(tosts[arm]) for arm in effects}
    how: dict[str, Correction] = dict.fromkeys(effects, "none")
    how |= dict.fromkeys(family, "holm")
    how |= dict.fromkeys(screen, "benjamini-hochberg")
    if sequential:
        p |= {arm: s.adjusted_p for arm, s in sequential.items()}
        tost |= {arm: s.adjusted_equivalence_p for arm, s in sequential.items()}
    else:
        p |= holm({arm: p[arm] for arm in family})
        tost |= holm({arm: tost[arm] for arm in family})
    p |= benjamini_hochberg({arm: p[arm] for arm in screen})
    tost |= benjamini_hochberg({arm: tost[arm] for arm in screen})
    if rule is not None:
        tosts = {arm: _tost_at_every_look(t, effects[arm], rule) for arm, t in tosts.items()}
        effects = {arm: _at_every_look(e, rule) for arm, e in effects.items()}
    return _Corrected(effects, tosts, p, tost, how, sequential, rule, len(family))


def _rule(study: FrozenStudy, outcome: Outcome) -> StoppingRule | None:
    """The study's stopping rule; None of one whose blocks are fixed."""
    elastic = study.elastic
    if not {"min", "max"} <= set(elastic) or not study.paired:
        return None
    return StoppingRule(
        int(elastic["min"]), int(elastic["max"]), study.alpha, outcome.margin, outcome.higher_is_better
    )


def _in_order(e: Effect) -> list[float]:
    """The differences in the order of the blocks, where every look is a prefix; equal ones where they differ
    by rounding alone, which only the values they come from can tell.
    """
    found = list(e.differences.values())
    return found if e.sd != 0.0 or e.estimate is None else [e.estimate] * len(found)


def _at_every_look(e: Effect, rule: StoppingRule | None) -> Effect:
    """The effect with the interval that belongs to its sequential p-value: a plain t interval, read where the
    rule stopped, covers in as little as .91 of studies. No interval and no p before the first look. It holds
    for every metric, whichever of them the rule stopped by.
    """
    if rule is None or e.df is None or e.se is None or e.estimate is None:
        return e
    if e.n < rule.least:
        note = f"no interval and no test before the first look, at {rule.least} blocks"
        return replace(e, low=None, high=None, p=None, note=note)
    reach = float(stdtrit(e.df, 1 - rule.level(e.n, rule.alpha) / 2)) * e.se
    return replace(e, low=e.estimate - reach, high=e.estimate + reach)


def _tost_at_every_look(tost: Equivalence | None, e: Effect, rule: StoppingRule) -> Equivalence | None:
    """The same for the interval of the two one-sided tests; `e` is the effect that they test."""
    if tost is None or e.df is None or e.se is None or e.estimate is None or e.n < rule.least:
        return None
    reach = float(stdtrit(e.df, 1 - rule.level(e.n, rule.alpha, sides=1))) * e.se
    return replace(tost, low=e.estimate - reach, high=e.estimate + reach)


def _tost_p(tost: Equivalence | None) -> float | None:
    return None if tost is None else tost.p


def _contrast(
    sources: _Sources, arm: str, reference: str, corrected: _Corrected, counted: _Counted
) -> Contrast:
    study, outcome, observed, alpha = sources.study, sources.outcome, sources.observed, sources.alpha
    e, tost = corrected.effects[arm], corrected.tosts[arm]
    p, tost_p, in_family = corrected.p[arm], corrected.equivalence_p[arm], arm in study.family
    comparisons = max(1, corrected.family) if in_family else 1
    usable = e.p is not None and bool(e.sd)
    sd = e.sd or 0.0
    strictness: Any = {"alpha": alpha, "comparisons": comparisons, "freedom": e.freedom}
    sequential = corrected.sequential.get(arm)
    if corrected.rule is not None and sequential is not None and usable:
        # What this look may spend; the looks before it only add to the power.
        strictness |= {"alpha": corrected.rule.level(e.n, alpha / comparisons), "comparisons": 1}
    resolvable = power.resolvable(e.n, sd, **strictness) if usable else None
    needed = power.blocks_needed(outcome.margin, sd, **strictness) if outcome.margin and usable else None
    found = verdict(e, outcome, p, tost_p, alpha)
    text = reason(
        found, e, outcome, p=p, equivalence_p=tost_p, resolvable=resolvable, needed=needed, alpha=alpha,
        test=f"{'sequential ' if sequential else ''}paired t" if study.paired else "Welch t",
        unit_of_n="blocks" if study.paired else "trials per arm",
    )  # fmt: skip
    text += _of_correction(corrected.how[arm], again=any(a.replicate for a in study.arms if a.name == arm))
    itt, imputed = counted.effects.get(arm), counted.imputed.get(arm, 0)
    completed_only = bool(imputed) and itt is not None and not _holds_with_failures(
        found, e, itt, verdict(itt, outcome, counted.p[arm], counted.equivalence_p[arm], alpha)
    )  # fmt: skip
    if completed_only:
        text += "; among completed blocks only: with diverged trials at the worst score this does not hold"
    if study.post_hoc:
        text += "; post hoc: the rules were changed after data had arrived"
    secondary = {
        m: _at_every_look(sources.effect(m, arm, reference), corrected.rule)
        for m in names.ordered(observed.metrics)
        if m != outcome.metric
    }
    return Contrast(
        reference=reference, effect=e, verdict=found, reason=text, in_family=in_family, adjusted_p=p,
        equivalence=tost, adjusted_equivalence_p=tost_p, resolvable=resolvable, blocks_needed=needed,
        intention_to_treat=itt, imputed=imputed, completed_only=completed_only,
        secondary={m: s for m, s in secondary.items() if s.n}, correction=corrected.how[arm],
        sequential=sequential, post_hoc=bool(study.post_hoc),
    )  # fmt: skip


def _of_correction(how: Correction, *, again: bool) -> str:
    if again:
        return "; the baseline once more, with other weights: what differs is noise"
    if how == "none":
        return "; outside the declared family: p-values are not corrected, take it as exploratory"
    if how == "benjamini-hochberg":
        return "; from a screen: p-values hold the share of false discoveries, confirm it before believing it"
    return ""


def _beside(
    sources: _Sources, pairs: Mapping[str, str], found: Mapping[str, Contrast]
) -> dict[str, Contrast]:
    """What predictions and curves say, and the unpaired tests where blocks are not shared."""
    tasks = task_findings(sources.study, sources.observed, pairs, sources.evidence)
    curves = by_block(sources.observed, sources.evidence)
    loose = {} if sources.study.paired else _unpaired(sources, pairs)
    done = {}
    for arm, c in found.items():
        effects, components = tasks.get(arm, ({}, {}))
        done[arm] = replace(
            c, tasks=effects, nested=components, unpaired=loose.get(arm),
            mechanism=_mechanism(sources, curves, arm, pairs[arm]),
        )  # fmt: skip
    return done


def by_block(observed: Observed, evidence: Evidence) -> dict[str, dict[int, Curve]]:
    """The curves of every complete trial, by arm and block."""
    found: dict[str, dict[int, Curve]] = {}
    for record in observed.used:
        if record.state == "complete" and record.trial in evidence.curves:
            found.setdefault(record.arm, {})[record.block] = evidence.curves[record.trial]
    return found


def _mechanism(
    sources: _Sources, curves: Mapping[str, Mapping[int, Curve]], arm: str, reference: str
) -> Mechanism | None:
    """Only under a wall-clock budget that both had: with equal tokens there is nothing to split."""
    budgets = {a.name: a.budget for a in sources.study.arms}
    same = budgets[arm] == budgets[reference]
    if not sources.study.paired or not same or budgets[arm].get("unit") != "seconds":
        return None
    found = mechanism(curves.get(arm, {}), curves.get(reference, {}), alpha=sources.alpha)
    if found is None:
        return None
    rule = _rule(sources.study, sources.outcome)
    return replace(
        found, equal_time=_at_every_look(found.equal_time, rule),
        equal_tokens=_at_every_look(found.equal_tokens, rule), speed=_at_every_look(found.speed, rule),
    )  # fmt: skip


def _unpaired(sources: _Sources, pairs: Mapping[str, str]) -> dict[str, Unpaired]:
    """Welch per arm, Dunnett over all arms that share a reference."""
    scores = {
        arm.name: list(sources.observed.metric(arm.name, sources.outcome.metric).values())
        for arm in sources.study.arms
    }
    found = {arm: unpaired(scores[arm], scores[other], alpha=sources.alpha) for arm, other in pairs.items()}
    for other in dict.fromkeys(pairs.values()):
        together = dunnett({arm: scores[arm] for arm in pairs if pairs[arm] == other}, scores[other])
        found |= {arm: replace(found[arm], dunnett_p=p) for arm, p in together.items()}
    return found


def _intention_to_treat(
    sources: _Sources, pairs: Mapping[str, str], complete: Mapping[str, Effect]
) -> _Counted:
    """Every arm that lost a block, or whose reference did, with diverged trials at the worst score seen; the
    p-values are corrected over the same family as those of complete blocks.

    Divergence is the arm's own doing; a lost process or a full disk is not, and stays missing. No effect
    where one of the two has no score at all: the other's worst would say nothing of it.
    """
    observed, outcome = sources.observed, sources.outcome
    scores = {name: observed.metric(name, outcome.metric) for name in observed.values}
    seen = [v for blocks in scores.values() for v in blocks.values()]
    filled, imputed = {}, {}
    for arm, reference in pairs.items():
        two = (arm, reference)
        if not any(observed.failures[name].total() for name in two) or not all(scores[name] for name in two):
            continue
        worst = min(seen) if outcome.higher_is_better else max(seen)
        a, b = ({**dict.fromkeys(observed.diverged[name], worst), **scores[name]} for name in two)
        filled[arm] = sources.between(outcome.metric, a, b)
        imputed[arm] = sum(len(observed.diverged[name]) for name in two)
    corrected = _correct(sources.study, {**complete, **filled}, outcome)
    effects = {arm: corrected.effects[arm] for arm in filled}
    return _Counted(effects, imputed, corrected.p, corrected.equivalence_p)


def _holds_with_failures(found: Verdict, e: Effect, itt: Effect, counted: Verdict) -> bool:
    """Whether a verdict stands when diverged trials count; an inconclusive one cannot fall."""
    if found in ("inconclusive", counted) or itt.estimate is None or e.estimate is None:
        return True
    # A worse mean in a wider interval does not speak against "hurts".
    return found == "hurts" and (itt.estimate > 0) == (e.estimate > 0)
