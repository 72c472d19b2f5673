"""What an edit of a study that has begun means: trials kept, added, left out, and what becomes post hoc."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.budget import Budget
from ablate.design.freeze import identity
from ablate.evaluation.config import EvaluateSpec
from ablate.knobs import canonical, show
from ablate.recipe import Recipe
from ablate.records.schema import FrozenArm, FrozenStudy, Growth


def revise(old: FrozenStudy, new: FrozenStudy, *, has_data: bool) -> tuple[FrozenStudy, list[str]]:
    """The study to go on with after its file was edited, and what to tell the user.

    Trials whose identity is unchanged are kept. A changed outcome, margin or family after data arrived
    marks the findings post hoc.
    """
    told: list[str] = []
    added = [t for t in new.trials if t not in old.trials]
    dropped = [t for t in old.trials if t not in new.trials]
    if old.name != new.name:
        told.append(f"renamed from {old.name}; its trials are kept")
    if added:
        told.append(f"added {len(added)} trials: {', '.join(_names(new, added))}")
    if dropped:
        told.append(f"left out {len(dropped)} trials (their records stay): {', '.join(_names(old, dropped))}")
    post_hoc = list(old.post_hoc)
    if has_data:
        for name, before, after in (
            ("outcome", old.outcome["metric"], new.outcome["metric"]),
            ("margin", old.outcome["margin"], new.outcome["margin"]),
            ("alpha", old.alpha, new.alpha),
            ("family", sorted(old.family), sorted(new.family)),
            ("stopping rule", old.elastic, new.elastic),
        ):
            if before != after:
                post_hoc.append(
                    f"{name} changed from {show(before) or 'none'} to {show(after) or 'none'} "
                    "after data had arrived"
                )
        told += post_hoc[len(old.post_hoc) :]
    scale = old.scale if new.evaluate == old.evaluate else {}
    return new.model_copy(update={"created": old.created, "post_hoc": post_hoc, "scale": scale}), told


def regrow(old: FrozenStudy, new: FrozenStudy, additions: Sequence[Growth]) -> tuple[list[Growth], list[str]]:
    """The additions that an edited study keeps, on its own block indices: those whose trials it would still
    ask for. Tuned arms go when what was tuned has changed; they are tuned, or taken from the search, anew."""
    kept: list[Growth] = []
    changed = old.searches != new.searches or old.confirm != new.confirm
    arms = {arm.name: arm for arm in new.arms}
    budgets = {search.name: search.budget for search in new.searches}
    lost = 0
    for addition in additions:
        if addition.why == "confirm" and changed:
            lost += len(addition.trials)
            continue
        # A drawn arm has the budget of its search; under another one it is another trial.
        there = {
            arm.name: arm
            for arm in addition.arms
            if arm.search is None or budgets.get(arm.search) == arm.budget
        }
        known = {**arms, **there}
        trials = {}
        for trial, (name, _) in addition.trials.items():
            block = _block(new, known.get(name), trial)
            if block is None:
                lost += 1
            else:
                trials[trial] = [name, block]
        used = {str(name) for name, _ in trials.values()}
        if trials:
            arms |= {name: arm for name, arm in there.items() if name in used}
            kept.append(addition.model_copy(update={"trials": trials}))
    return kept, [f"left out {lost} trials that were added while it ran (their records stay)"] if lost else []


def _block(study: FrozenStudy, arm: FrozenArm | None, trial: str) -> int | None:
    """The block on which the arm has this identity; None when the study does not ask for it any more."""
    if arm is None:
        return None
    recipe, budget = Recipe.model_validate(arm.recipe), Budget(**arm.budget)
    evaluate = canonical(EvaluateSpec.model_validate(study.evaluate))
    for block, seed in enumerate(study.blocks):
        if identity(recipe, seed, budget, study.charge, evaluate, arm.replicate) == trial:
            return block
    return None


def _names(study: FrozenStudy, trials: list[str]) -> list[str]:
    return sorted({str(study.trials[t][0]) for t in trials})
