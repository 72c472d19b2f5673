"""Arms of a study: the baseline, and one complete recipe per combination of levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ablate.budget import Budget
from ablate.knobs import UnknownKnobError, canonical, differences, get, knobs, label
from ablate.recipe import Recipe

if TYPE_CHECKING:
    from ablate.study import Study

BASELINE = "baseline"
_BUDGET = "budget"

Loc = tuple[Any, ...]
Tell = Callable[[Loc, str], None]


@dataclass(frozen=True)
class Arm:
    """One combination of levels: a complete recipe and its budget.

    `reference` is the arm it is contrasted with: the baseline, or the step before it in a cumulative design.
    """

    name: str
    recipe: Recipe
    budget: Budget
    reference: str | None = None
    group: str | None = None
    loc: Loc = field(default=(), compare=False)  # where the study file asks for it

    def changes(self, baseline: Arm) -> dict[str, tuple[Any, Any]]:
        """What differs from the baseline, and nothing else: path → (baseline, arm)."""
        found = differences(baseline.recipe, self.recipe)
        if self.budget != baseline.budget:
            found[_BUDGET] = (str(baseline.budget), str(self.budget))
        return found


def arms(study: Study) -> list[Arm]:
    """The arms of a valid study, the baseline first."""
    found, told = _arms(study)
    assert not told, told
    return found


def problems(study: Study) -> list[tuple[Loc, str]]:
    """Everything wrong with a study's design: unknown knobs, wrong levels, duplicate arms, broken couplings,
    data or tasks that are not there."""
    found, told = _arms(study)
    if study.budget.amount <= 0:
        rule = f"the budget must be positive; got {study.file.budget!r}"
        told.append((("budget",), f"{rule}. For an arm without pretraining: factors: {{budget: [0 steps]}}"))
    told += _duplicates(found)
    told += _couplings(study, found)
    told += _unbuildable(found)
    told += _missing_input(study, found)
    return told


def cautions(study: Study) -> list[str]:
    """Couplings that arms of a valid study should mind: each said once, with the arms it is true of."""
    named: dict[str, list[str]] = {}
    for arm in arms(study):
        for warning in arm.recipe.warnings():
            named.setdefault(warning, []).append(arm.name)
    return [f"{', '.join(names)}: {warning}" for warning, names in named.items()]


def _arms(study: Study) -> tuple[list[Arm], list[tuple[Loc, str]]]:
    told: list[tuple[Loc, str]] = []

    def tell(loc: Loc, message: str) -> None:
        told.append((loc, message))

    baseline = Arm(BASELINE, study.baseline, study.budget)
    build = {"one-factor": _one_factor, "cumulative": _cumulative}[study.file.design.kind]
    return [baseline, *build(study, baseline, tell)], told


def _one_factor(study: Study, baseline: Arm, tell: Tell) -> list[Arm]:
    """Every arm changes one factor, or one named group, against the baseline."""
    design, found = study.file.design, []
    if design.steps:
        tell(("design", "steps"), "steps belong to `kind: cumulative`; here use factors and groups")
    if not design.factors and not design.groups:
        tell(("design",), "there is nothing to vary; name factors or groups")
    for path, levels in design.factors.items():
        if not levels:
            tell(("design", "factors", path), "a factor needs at least one level besides the baseline's")
        for i, level in enumerate(levels):
            arm = _change(baseline, {path: level}, ("design", "factors", path, i), tell)
            if arm:
                found.append(_named(arm, f"{path}={_level_label(arm, path, level)}", path, BASELINE))
    for name, changes in design.groups.items():
        arm = _change(baseline, changes, ("design", "groups", name), tell)
        if arm:
            found.append(_named(arm, name, "groups", BASELINE))
    return found


def _cumulative(study: Study, baseline: Arm, tell: Tell) -> list[Arm]:
    """Every arm adds a step to the one before it, which is its reference."""
    design, found = study.file.design, []
    if design.factors:
        tell(
            ("design", "factors"), "a cumulative design lists `steps`, in order; factors belong to one-factor"
        )
    if not design.steps:
        tell(("design",), "a cumulative design needs `steps`: a list of {knob: level}, or names of groups")
    before = baseline
    for i, step in enumerate(design.steps):
        loc: Loc = ("design", "steps", i)
        if isinstance(step, str) and step not in design.groups:
            tell(loc, f"there is no group '{step}'; the groups are {', '.join(design.groups) or 'none'}")
            continue
        changes = design.groups[step] if isinstance(step, str) else step
        arm = _change(before, changes, loc, tell)
        if arm:
            what = step if isinstance(step, str) else ", ".join(
                f"{p}={_level_label(arm, p, v)}" for p, v in step.items()
            )  # fmt: skip
            before = _named(arm, f"{i + 1}: {what}", None, before.name)
            found.append(before)
    return found


def _named(arm: Arm, name: str, group: str | None, reference: str) -> Arm:
    return Arm(name, arm.recipe, arm.budget, reference, group, arm.loc)


def _level_label(arm: Arm, path: str, level: Any) -> str:
    return str(arm.budget) if path == _BUDGET else label(get(arm.recipe, path))


def _change(base: Arm, changes: Mapping[str, Any], loc: Loc, tell: Tell) -> Arm | None:
    from ablate.study import try_replace

    changes, budget = dict(changes), base.budget
    if _BUDGET in changes:
        try:
            budget = Budget.parse(changes.pop(_BUDGET))
        except ValueError as error:
            tell(loc, str(error))
            return None
    recipe = try_replace(base.recipe, changes, loc, tell)
    return Arm(base.name, recipe, budget, loc=loc) if recipe is not None else None


def _duplicates(found: list[Arm]) -> list[tuple[Loc, str]]:
    told: list[tuple[Loc, str]] = []
    seen: dict[str, Arm] = {}
    names: set[str] = set()
    for arm in found:
        key = repr((canonical(arm.recipe.effective()), arm.budget))
        if key in seen:
            same = "the baseline" if seen[key].name == BASELINE else f"arm '{seen[key].name}'"
            idle = differences(arm.recipe, seen[key].recipe)
            why = f": {', '.join(idle)} changes nothing here" if idle else ""
            told.append((arm.loc, f"this arm is the same model as {same}{why}; leave it out"))
        elif arm.name in names:
            told.append((arm.loc, f"two arms are called '{arm.name}'"))
        seen.setdefault(key, arm)
        names.add(arm.name)
    return told


def _couplings(study: Study, found: list[Arm]) -> list[tuple[Loc, str]]:
    """`requires: {train.lr: {model.norm_placement: pre}}`: an arm that changes the first needs the second."""
    told: list[tuple[Loc, str]] = []
    paths = {k.path for k in knobs(Recipe)}
    for path, needs in study.file.design.requires.items():
        for knob in (path, *needs):
            if knob not in paths:
                told.append((("design", "requires", path), str(UnknownKnobError(knob, paths))))
        if path not in paths or not set(needs) <= paths:
            continue
        for arm in found[1:]:
            changed = arm.changes(found[0])
            if not any(c == path or c.startswith(path + ".") for c in changed):
                continue
            for knob, level in needs.items():
                has = label(get(arm.recipe, knob))
                if has != label(level):
                    rule = f"changing {path} requires {knob}={label(level)}, here it is {has}"
                    told.append((arm.loc, f"{rule}; put both into a group"))
    return told


def _unbuildable(found: list[Arm]) -> list[tuple[Loc, str]]:
    """Combinations that no model can be built from, told now and not at hour three."""
    told: list[tuple[Loc, str]] = []
    for arm in found:
        told += [(arm.loc or ("baseline",), message) for message in arm.recipe.problems()]
    return told


def _missing_input(study: Study, found: list[Arm]) -> list[tuple[Loc, str]]:
    from ablate.data import check as check_data
    from ablate.evaluation import check as check_tasks

    told: list[tuple[Loc, str]] = []
    seen: set[str] = set()
    for arm in found:
        for message in check_data(arm.recipe.data):
            if message not in seen:
                seen.add(message)
                told.append((arm.loc or ("baseline",), message))
    return told + [(("evaluate",), message) for message in check_tasks(study.file.evaluate)]
