"""The kinds of designs: each turns the `design:` section into arms beside the baseline."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ablate.budget import Budget
from ablate.design.fraction import Fraction, NoFractionError, fraction
from ablate.design.values import BASELINE, BUDGET, Arm, Loc, Tell
from ablate.knobs import UnknownKnobError, get, label

if TYPE_CHECKING:
    from ablate.study import Study

ON, OFF = "on", "off"  # levels of a group


@dataclass(frozen=True)
class Setting:
    """One level of a factor or group that is not the baseline's: what it changes and what it is called."""

    factor: str
    level: str
    changes: Mapping[str, Any]
    loc: Loc

    @property
    def name(self) -> str:
        return self.factor if self.level == ON and self.factor not in self.changes else self.said

    @property
    def said(self) -> str:
        return f"{self.factor}={self.level}"


def one_factor(study: Study, baseline: Arm, tell: Tell) -> list[Arm]:
    """Every arm changes one factor, or one named group, against the baseline."""
    design, found = study.file.design, []
    if not design.factors and not design.groups and design.replicates < 2:
        tell(("design",), "there is nothing to vary; name factors or groups")
    settings = _settings(study, baseline, tell)
    start = {factor: off(baseline, factor) for factor in settings}
    for factor, there in settings.items():
        for setting in there:
            arm = change(baseline, setting.changes, setting.loc, tell)
            if arm:
                group = factor if factor in design.factors else "groups"
                found.append(
                    replace(arm, name=setting.name, group=group, reference=BASELINE,
                            levels={**start, factor: setting.level})
                )  # fmt: skip
    return found + _probe(study, baseline, settings, found, tell)


def cumulative(study: Study, baseline: Arm, tell: Tell) -> list[Arm]:
    """Every arm adds a step to the one before it, which is its reference; and back, in the same order."""
    design = study.file.design
    if not design.steps:
        tell(("design",), "a cumulative design needs `steps`: a list of {knob: level}, or names of groups")
    steps: list[tuple[Mapping[str, Any], str | None, Loc]] = []
    for i, step in enumerate(design.steps):
        loc: Loc = ("design", "steps", i)
        if isinstance(step, str) and step not in design.groups:
            tell(loc, f"there is no group '{step}'; the groups are {', '.join(design.groups) or 'none'}")
            continue
        steps.append((design.groups[step], step, loc) if isinstance(step, str) else (step, None, loc))
    found, before, said = [], baseline, []
    for i, (changes, name, loc) in enumerate(steps):
        arm = change(before, changes, loc, tell)
        if arm:
            said.append(name or ", ".join(f"{p}={_level_label(arm, p)}" for p in changes))
            before = replace(arm, name=f"{i + 1}: {said[-1]}", reference=before.name)
            found.append(before)
    if design.back and len(found) == len(steps) > 1:
        found += _back(baseline, steps, said, found[-1])
    return found


def _back(
    baseline: Arm, steps: list[tuple[Mapping[str, Any], str | None, Loc]], said: list[str], full: Arm
) -> list[Arm]:
    """From the full recipe, the steps taken away again, the first one first: each step's effect among the
    later ones. The last removal would end at the baseline, which is there already."""
    found, before = [], full
    for i in range(len(steps) - 1):
        arm: Arm | None = baseline
        for changes, _, loc in steps[i + 1 :]:
            arm = change(arm, changes, loc, _told_already) if arm else None
        if arm:
            before = replace(
                arm, name=f"back {i + 1}: without {said[i]}", reference=before.name, loc=steps[i][2]
            )
            found.append(before)
    return found


def _told_already(loc: Loc, message: str) -> None:
    """Each step was applied once before; what is wrong with it has been told."""


def factorial(study: Study, baseline: Arm, tell: Tell) -> list[Arm]:
    """Every combination of levels, the baseline's among them."""
    settings = _settings(study, baseline, tell)
    if len(settings) < 2:
        tell(("design",), "a factorial design crosses at least two factors or groups")
    choices: list[list[Setting | None]] = [[None, *there] for there in settings.values()]
    rows = itertools.islice(itertools.product(*choices), 1, None)
    return _crossed(baseline, settings, rows, tell)


def fractional(study: Study, baseline: Arm, tell: Tell) -> list[Arm]:
    """A two-level fraction of the factorial, the baseline among its runs."""
    settings = _settings(study, baseline, tell)
    for factor, there in settings.items():
        if len(there) > 1:
            tell(
                there[1].loc,
                f"a fractional design takes one level besides the baseline's, {factor} has {len(there)}; "
                "keep one, or use kind: factorial",
            )
    found = fraction_of(study, settings, tell)
    if found is None or any(len(there) != 1 for there in settings.values()):
        return []
    return _crossed(baseline, settings, _rows(found, settings), tell)


def fraction_of(study: Study, factors: Iterable[str], tell: Tell) -> Fraction | None:
    """The fraction that a fractional design, or the probe of a one-factor design, runs."""
    design, names = study.file.design, list(factors)
    key = "probe" if design.probe else "resolution"
    wanted = design.probe.resolution if design.probe else design.resolution
    if len(names) < 2:
        tell(("design",), f"a fractional design needs at least two factors or groups; here are {len(names)}")
        return None
    try:
        return fraction(names, wanted)
    except NoFractionError as error:
        tell(("design", key), str(error))
        return None


def search(study: Study, baseline: Arm, tell: Tell) -> list[Arm]:
    """No arms beside the baseline: a sampler draws them while the study runs."""
    return []


KINDS: dict[str, Callable[[Study, Arm, Tell], list[Arm]]] = {
    "one-factor": one_factor,
    "cumulative": cumulative,
    "factorial": factorial,
    "fractional": fractional,
    "search": search,
}


# --- parts ---------------------------------------------------------------------------------------------


def _settings(study: Study, baseline: Arm, tell: Tell) -> dict[str, list[Setting]]:
    """Every factor and group with its levels besides the baseline's."""
    design = study.file.design
    found: dict[str, list[Setting]] = {}
    for path, levels in design.factors.items():
        if not levels:
            tell(("design", "factors", path), "a factor needs at least one level besides the baseline's")
        there = []
        for i, level in enumerate(levels):
            loc = ("design", "factors", path, i)
            arm = change(baseline, {path: level}, loc, tell)
            if arm:
                there.append(Setting(path, _level_label(arm, path), {path: level}, loc))
        found[path] = there
    for name, changes in design.groups.items():
        if name in found:
            tell(("design", "groups", name), "a group needs a name that is no factor")
            continue
        found[name] = [Setting(name, ON, changes, ("design", "groups", name))]
    return found


def off(baseline: Arm, factor: str) -> str:
    """The baseline's own level of a factor, or `off` for a group."""
    try:
        return _level_label(baseline, factor)
    except UnknownKnobError:
        return OFF


def _crossed(
    baseline: Arm,
    settings: Mapping[str, list[Setting]],
    rows: Iterable[Iterable[Setting | None]],
    tell: Tell,
) -> list[Arm]:
    """One arm per row of settings (None: the baseline's level); the all-baseline row is the baseline."""
    found: list[Arm] = []
    start = {factor: off(baseline, factor) for factor in settings}
    for row in rows:
        taken = [setting for setting in row if setting is not None]
        if not taken:
            continue
        changes: dict[str, Any] = {}
        for setting in taken:
            changes |= setting.changes
        arm = change(baseline, changes, taken[0].loc if len(taken) == 1 else ("design",), tell)
        if arm:
            found.append(
                replace(arm, name=", ".join(s.name for s in taken), reference=BASELINE,
                        levels={**start, **{s.factor: s.level for s in taken}})
            )  # fmt: skip
    return found


def _rows(found: Fraction, settings: Mapping[str, list[Setting]]) -> list[list[Setting | None]]:
    high = [there[0] for there in settings.values()]
    return [[s if on else None for s, on in zip(high, run, strict=True)] for run in found.runs]


def _probe(
    study: Study, baseline: Arm, settings: Mapping[str, list[Setting]], there: list[Arm], tell: Tell
) -> list[Arm]:
    """Arms that change several factors at once: where their effects do not add up, factors interact."""
    probe = study.file.design.probe
    if probe is None:
        return []
    for name in probe.factors:
        if name not in settings:
            tell(
                ("design", "probe", "factors"),
                f"there is no factor or group '{name}'; the study has {', '.join(settings)}",
            )
    chosen = {f: s for f, s in settings.items() if s and (not probe.factors or f in probe.factors)}
    found = fraction_of(study, chosen, tell)
    if found is None:
        return []
    arms = _crossed(baseline, chosen, _rows(found, chosen), tell)
    start = {factor: off(baseline, factor) for factor in settings}
    known = {arm.name for arm in there}
    return [
        replace(arm, group="probe", phase="screen", family=False, blocks=probe.blocks,
                levels={**start, **arm.levels})
        for arm in arms
        if arm.name not in known  # a run that changes one factor alone is an arm already
    ]  # fmt: skip


def replicated(baseline: Arm, times: int) -> list[Arm]:
    """The baseline again with weights of its own but the block's data and masks: A/A contrasts."""
    return [
        replace(baseline, name="baseline again" + (f" {i}" if i > 1 else ""), reference=BASELINE,
                group="A/A", phase="screen", family=False, replicate=i)
        for i in range(1, times)
    ]  # fmt: skip


def change(base: Arm, changes: Mapping[str, Any], loc: Loc, tell: Tell) -> Arm | None:
    """The arm with knobs (and `budget`) set, or None after telling what is wrong."""
    from ablate.study import try_replace

    changes, budget = dict(changes), base.budget
    if BUDGET in changes:
        try:
            budget = Budget.parse(changes.pop(BUDGET))
        except ValueError as error:
            tell(loc, str(error))
            return None
    recipe = try_replace(base.recipe, changes, loc, tell)
    return Arm(base.name, recipe, budget, loc=loc) if recipe is not None else None


def _level_label(arm: Arm, path: str) -> str:
    return str(arm.budget) if path == BUDGET else label(get(arm.recipe, path))
