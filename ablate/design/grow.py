"""What a study adds to itself while it runs, by rules fixed beforehand: pure functions of its outcomes.

Blocks where a verdict is open (`blocks: {min, max, until: settled}`), the comparison after nuisance knobs
were tuned, and the best of a search again on fresh blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ablate.analysis.sequential import Decision, StoppingRule, decide
from ablate.budget import Budget
from ablate.design.freeze import best, identity
from ablate.evaluation.config import EvaluateSpec
from ablate.knobs import canonical, differences, get
from ablate.recipe import Recipe
from ablate.records.schema import FrozenArm, FrozenStudy, Growth, Search

# Trial → its outcome, None where it ended without one; trials that are still open are absent.
Outcomes = Mapping[str, float | None]


def additions(study: FrozenStudy, outcomes: Outcomes, used_up: Collection[str] = ()) -> list[Growth]:
    """What to add now; nothing while trials are open. `used_up`: searches that will draw no more."""
    if any(trial not in outcomes for trial in study.trials):
        return []
    if any(search.name not in used_up for search in study.searches):
        return []
    if study.confirm:
        return _best_again(study, outcomes)
    if study.searches and study.searches[0].phase == "tune":
        return _compare_tuned(study, outcomes)
    return _blocks_where_open(study, outcomes) if study.elastic else []


def trial_id(study: FrozenStudy, arm: FrozenArm, block: int) -> str:
    """The identity of an arm on a block."""
    evaluate = canonical(EvaluateSpec.model_validate(study.evaluate))
    recipe, budget = Recipe.model_validate(arm.recipe), Budget(**arm.budget)
    return identity(recipe, study.blocks[block], budget, study.charge, evaluate, arm.replicate)


# --- blocks --------------------------------------------------------------------------------------------


def stopping_rule(study: FrozenStudy) -> StoppingRule:
    """The rule as frozen."""
    return StoppingRule(
        least=int(study.elastic["min"]),
        most=int(study.elastic["max"]),
        alpha=study.alpha,
        margin=float(study.outcome["margin"]),
        higher_is_better=bool(study.outcome.get("higher_is_better", True)),
    )


def decision(study: FrozenStudy, outcomes: Outcomes) -> Decision:
    """Which contrasts of the family are settled by the blocks so far."""
    cells = {(arm, block): outcomes.get(trial) for trial, (arm, block) in study.trials.items()}
    arms = {arm.name: arm for arm in study.arms}
    found: dict[str, list[float]] = {}
    for name in study.family:
        reference = arms[name].reference or study.arms[0].name
        pairs = [(cells.get((name, b)), cells.get((reference, b))) for b in range(len(study.blocks))]
        found[name] = [a - b for a, b in pairs if a is not None and b is not None]
    return decide(found, stopping_rule(study))


def _blocks_where_open(study: FrozenStudy, outcomes: Outcomes) -> list[Growth]:
    """One more look for every open contrast: its arm and its reference on the next blocks."""
    arms = {arm.name: arm for arm in study.arms}
    there: dict[str, set[int]] = {name: set() for name in arms}
    for name, block in study.trials.values():
        there[name].add(block)
    rule, trials = stopping_rule(study), {}
    open_ = [name for name in decision(study, outcomes).open if max(there[name], default=-1) + 1 < rule.most]
    for name in open_:
        so_far = max(there[name], default=-1) + 1
        look = next(n for n in rule.looks if n > so_far)
        for block in range(so_far, look):
            for needed in (arms[name].reference or study.arms[0].name, name):
                if block not in there[needed]:
                    there[needed].add(block)
                    trials[trial_id(study, arms[needed], block)] = [needed, block]
    return [Growth(why=f"open: {', '.join(open_)}", trials=trials)] if trials else []


# --- searches ------------------------------------------------------------------------------------------


def ranked(study: FrozenStudy, search: Search, outcomes: Outcomes) -> list[tuple[float, FrozenArm]]:
    """The arms that a search drew and finished on all its blocks, the best first."""
    values: dict[str, list[float]] = {}
    for trial, (name, _) in study.trials.items():
        value = outcomes.get(trial)
        if value is not None:
            values.setdefault(name, []).append(value)
    found = [
        (sum(values[arm.name]) / len(values[arm.name]), arm)
        for arm in study.arms
        if arm.search == search.name and len(values.get(arm.name, ())) == len(search.blocks)
    ]
    return sorted(found, key=lambda pair: pair[0], reverse=bool(study.outcome.get("higher_is_better", True)))


def _best_again(study: FrozenStudy, outcomes: Outcomes) -> list[Growth]:
    if any(arm.name == best(0) for arm in study.arms):
        return []
    top = ranked(study, study.searches[0], outcomes)[: study.confirm["top"]]
    arms = [
        arm.model_copy(
            update={"name": best(place), "phase": "confirm", "reference": study.arms[0].name,
                    "group": "best of the search", "search": None, "distributions": {}}
        )
        for place, (_, arm) in enumerate(top)
    ]  # fmt: skip
    return _confirmations(study, arms, study.confirm["blocks"])


def _compare_tuned(study: FrozenStudy, outcomes: Outcomes) -> list[Growth]:
    """Every arm with the best values that its own tuning found; untuned where no try ended well."""
    begun = {name for name, _ in study.trials.values()}
    waiting = [arm for arm in study.arms if arm.search is None and arm.name not in begun]
    if not waiting:
        return []
    searches = {search.base: search for search in study.searches}
    tuned: list[FrozenArm] = []
    for arm in waiting:
        found = ranked(study, searches[arm.name], outcomes)
        tuned.append(_tuned(arm, searches[arm.name], found[0][1]) if found else arm)
    baseline = next((arm for arm in tuned if arm.name == study.arms[0].name), study.arms[0])
    return _confirmations(
        study, [_against(arm, baseline) for arm in tuned], len(study.blocks) - len(study.searches[0].blocks)
    )


def _tuned(arm: FrozenArm, search: Search, winner: FrozenArm) -> FrozenArm:
    recipe = Recipe.model_validate(winner.recipe)
    values = {path: canonical(get(recipe, path)) for path in search.space}
    return arm.model_copy(update={"recipe": winner.recipe, "tuned": values})


def _against(arm: FrozenArm, baseline: FrozenArm) -> FrozenArm:
    """The arm with its changes counted from the baseline as it is now."""
    found = differences(Recipe.model_validate(baseline.recipe), Recipe.model_validate(arm.recipe))
    changes = {path: [canonical(a), canonical(b)] for path, (a, b) in found.items()}
    if arm.budget != baseline.budget:
        changes["budget"] = [str(Budget(**baseline.budget)), str(Budget(**arm.budget))]
    return arm.model_copy(update={"changes": changes})


def _confirmations(study: FrozenStudy, arms: list[FrozenArm], blocks: int) -> list[Growth]:
    trials = {trial_id(study, arm, block): [arm.name, block] for block in range(blocks) for arm in arms}
    return [Growth(why="confirm", arms=arms, trials=trials)] if trials else []
