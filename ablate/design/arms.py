"""Arms of a study: the baseline, and one complete recipe per combination of levels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ablate.design import checks
from ablate.design.kinds import KINDS, off, replicated
from ablate.design.values import BASELINE, Arm, Loc
from ablate.words import each_once

if TYPE_CHECKING:
    from ablate.study import Study


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
    return [
        *told,
        *checks.keys(study),
        *checks.names(study),
        *checks.searches(study),
        *checks.undrawn(study, found),
        *checks.duplicates(found),
        *checks.couplings(study, found),
        *checks.rules(study, found),
        *checks.unbuildable(found),
        *checks.missing_input(study, found),
    ]


def cautions(study: Study) -> list[str]:
    """Couplings that arms of a valid study should mind: each said once, with the arms it is true of."""
    return each_once((arm.name, warning) for arm in arms(study) for warning in arm.recipe.warnings())


def _arms(study: Study) -> tuple[list[Arm], list[tuple[Loc, str]]]:
    told: list[tuple[Loc, str]] = []

    def tell(loc: Loc, message: str) -> None:
        if (loc, message) not in told:
            told.append((loc, message))

    baseline = Arm(BASELINE, study.baseline, study.budget)
    found = KINDS[study.file.design.kind](study, baseline, tell)
    varied = dict.fromkeys(factor for arm in found for factor in arm.levels)
    baseline = replace(baseline, levels={factor: off(baseline, factor) for factor in varied})
    return [baseline, *found, *replicated(baseline, study.file.design.replicates)], told
