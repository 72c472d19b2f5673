"""What can be wrong with a design, told before anything starts: (where, rule and fact and way out)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.budget import Budget
from ablate.design.config import KEYS, Grid, Nsga2, SuccessiveHalving, Wilcoxon
from ablate.design.space import endless, grid, has, read_space
from ablate.design.values import BASELINE, Arm, Loc
from ablate.knobs import UnknownKnobError, breaches, canonical, differences, get, knobs, label
from ablate.recipe import Recipe

if TYPE_CHECKING:
    from ablate.study import Study

Problems = list[tuple[Loc, str]]


def keys(study: Study) -> Problems:
    """Keys of the design section that belong to another kind."""
    design = study.file.design
    told: Problems = []
    for key, kinds in KEYS.items():
        if key in design.model_fields_set and design.kind not in kinds:
            allowed = [k for k, there in KEYS.items() if design.kind in there]
            told.append(
                (
                    ("design", key),
                    f"`{key}` belongs to kind: {' or '.join(kinds)}, this design is {design.kind}; "
                    f"its keys are {', '.join(allowed)}, blocks, seed, requires",
                )
            )
    return told


def names(study: Study) -> Problems:
    """Names of groups that no table, log or chart could show."""
    rule = "a group's name stands in tables and logs: one line, not blank"
    return [
        (("design", "groups"), f"{rule}; got {name!r}")
        for name in study.file.design.groups
        if not (name.strip() and name.isprintable())
    ]


def searches(study: Study) -> Problems:
    """Spaces, samplers and pruners that do not go together."""
    told: Problems = []

    def tell(loc: Loc, message: str) -> None:
        told.append((loc, message))

    design = study.file.design
    if design.kind == "search":
        space = read_space(design.space, study.baseline, ("design", "space"), tell)
        if not design.space:
            tell(("design",), "a search needs `space`: knobs with `all`, a list of levels or {low, high}")
        _enough_trials(study, tell)
        _pruning(study, tell)
        _grid(study, space, tell)
        _priors(study, tell)
    elif study.file.tradeoff is not None:
        tell(("tradeoff",), "a second outcome belongs to kind: search, which finds the front between the two")
    if design.tune:
        read_space(design.tune.knobs, study.baseline, ("design", "tune", "knobs"), tell)
        if not design.tune.knobs:
            tell(("design", "tune"), "there is nothing to tune; name knobs, or leave `tune` out")
        if design.tune.budget is not None and Budget.parse(design.tune.budget).amount <= 0:
            rule = "arms are tuned under a positive budget"
            tell(
                ("design", "tune", "budget"),
                f"{rule}; got {design.tune.budget!r}; leave it out for the study's",
            )
        varied = {path for arm in design.factors for path in [arm]}
        for path in design.tune.knobs:
            if path in varied:
                tell(("design", "tune"), f"{path} is a factor; a knob is either varied or tuned")
        if not isinstance(design.blocks, int):
            tell(("design", "blocks"), "tuned arms are compared on a fixed number of blocks; give a number")
    return told


def undrawn(study: Study, found: list[Arm]) -> Problems:
    """Knobs of a search that would never be drawn: a variant's own where nothing chooses that variant."""
    design = study.file.design
    told: Problems = []
    spaces: list[tuple[Loc, Mapping[str, Any]]] = [(("design", "space"), design.space)]
    if design.tune:
        spaces.append((("design", "tune", "knobs"), design.tune.knobs))
    known = {info.path for info in knobs(Recipe)}
    for loc, space in spaces:
        for path in space:
            chosen = path not in known or any(path.startswith(f"{other}.") for other in space)
            if not chosen and not any(has(arm.recipe, path) for arm in found):
                rule = f"no arm has {path}, so it would never be drawn"
                parent = path.rpartition(".")[0]
                told.append(((*loc, path), f"{rule}; add {parent} here, or set its variant in the baseline"))
    return told


def _enough_trials(study: Study, tell: Any) -> None:
    design = study.file.design
    if design.trials is None and not isinstance(design.sampler, Grid):
        tell(("design",), "a search needs `trials`: how many arms the sampler may draw (grid aside)")
    if study.file.tradeoff is None and isinstance(design.sampler, Nsga2):
        tell(("design", "sampler"), "nsga2 is for two outcomes; add `tradeoff: {metric: …}` or take tpe")
    if not isinstance(design.blocks, int):
        tell(("design", "blocks"), "a search runs on a fixed number of blocks; give a number")


def _pruning(study: Study, tell: Any) -> None:
    design, pruner = study.file.design, study.file.design.pruner
    if pruner is None:
        return
    if study.file.tradeoff is not None:
        tell(("design", "pruner"), "pruning needs one outcome; with two there is no order to prune by")
    if isinstance(pruner, SuccessiveHalving) and design.first_blocks != 1:
        tell(
            ("design", "pruner"),
            f"successive-halving stops trials inside their budget, on 1 block; here are {design.blocks}: "
            "set `blocks: 1`, or take wilcoxon, which stops after blocks",
        )
    if isinstance(pruner, Wilcoxon) and design.first_blocks <= pruner.first:
        tell(
            ("design", "pruner"),
            f"wilcoxon compares arms over blocks, more than `first: {pruner.first}`; set `blocks` higher",
        )


def _grid(study: Study, space: Any, tell: Any) -> None:
    design = study.file.design
    if not isinstance(design.sampler, Grid):
        return
    without = endless(space)
    for path in without:
        tell(("design", "space", path), "a grid needs a list of levels here, a range has no end of them")
    if not without:
        try:
            next(grid(space, study.baseline), None)
        except ValueError as error:
            tell(("design", "space"), str(error))


def _priors(study: Study, tell: Any) -> None:
    for i, folder in enumerate(study.file.design.prior):
        if not (prior_root(study, folder) / "study.json").is_file():
            tell(("design", "prior", i), f"{folder} is no run folder: it has no study.json")


def prior_root(study: Study, folder: str) -> Path:
    """A run folder as named in a study file: from where the command runs, else beside the file."""
    here = Path(folder)
    return here if here.is_absolute() or here.exists() else study.path.parent / folder


def rules(study: Study, found: list[Arm]) -> Problems:
    """Arms that use something pretrained although the rules are strict."""
    if study.file.rules == "open":
        return []
    named: dict[tuple[str, str], list[Arm]] = {}
    for arm in found:
        for breach in breaches(arm.recipe).items():
            named.setdefault(breach, []).append(arm)
    said = "the default" if "rules" not in study.file.model_fields_set else "as this study states"
    return [
        (
            arms[0].loc,
            f"under `rules: strict`, {said}, nothing in the pipeline may be pretrained; {path} breaks that: "
            f"{why} ({_arms_named(arms)}); write `rules: open`, or leave it out",
        )
        for (path, why), arms in named.items()
    ]


def _arms_named(arms: list[Arm]) -> str:
    return f"arm{'s' * (len(arms) > 1)} {', '.join(arm.name for arm in arms)}"


def duplicates(found: list[Arm]) -> Problems:
    """Arms that are the same model as another one, or have its name."""
    told: Problems = []
    seen: dict[str, Arm] = {}
    names: set[str] = set()
    for arm in found:
        key = repr((canonical(arm.recipe.effective()), arm.budget, arm.replicate))
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


def couplings(study: Study, found: list[Arm]) -> Problems:
    """`requires: {train.lr: {model.norm_placement: pre}}`: an arm that changes the first needs the second."""
    told: Problems = []
    paths = {k.path for k in knobs(Recipe)}
    for path, needs in study.file.design.requires.items():
        for knob in (path, *needs):
            if knob not in paths:
                told.append((("design", "requires", path), str(UnknownKnobError(knob, paths))))
        if path not in paths or not set(needs) <= paths:
            continue
        needed, wrong = _needed(found, path, needs)
        told += wrong
        for arm in found[1:]:
            told += _uncoupled(arm, arm.changes(found[0]), path, needed)
    return told


def _needed(found: list[Arm], path: str, needs: Mapping[str, Any]) -> tuple[dict[str, str], Problems]:
    """Each needed knob with its level as an arm has it (YAML reads 1e-3 as text), and what is no level."""
    from ablate.study import try_replace

    told: dict[Loc, str] = {}
    needed: dict[str, str] = {}

    def tell(at: Loc, said: str) -> None:
        told.setdefault(at, said)

    for knob, level in needs.items():
        loc = ("design", "requires", path, knob)
        # A variant's own knob exists in some arms alone.
        tried = (try_replace(arm.recipe, {knob: level}, loc, tell) for arm in found)
        fits = next((recipe for recipe in tried if recipe is not None), None)
        if fits is not None:
            needed[knob] = label(get(fits, knob))
            told.pop(loc, None)
    return needed, list(told.items())


def _uncoupled(arm: Arm, changed: Mapping[str, Any], path: str, needs: Mapping[str, str]) -> Problems:
    if not any(c == path or c.startswith(path + ".") for c in changed):
        return []
    told: Problems = []
    for knob, level in needs.items():
        here = label(get(arm.recipe, knob)) if has(arm.recipe, knob) else "absent"
        if here != level:
            rule = f"changing {path} requires {knob}={level}, here it is {here}"
            told.append((arm.loc, f"{rule}; put both into a group"))
    return told


def unbuildable(found: list[Arm]) -> Problems:
    """Combinations that no model can be built from, told now and not at hour three; the baseline's once."""
    shared = found[0].recipe.problems()
    told: Problems = [(("baseline",), message) for message in shared]
    for arm in found[1:]:
        told += [(arm.loc, message) for message in arm.recipe.problems() if message not in shared]
    return told


def missing_input(study: Study, found: list[Arm]) -> Problems:
    """Corpora and tasks that are not there."""
    from ablate.data import check as check_data
    from ablate.evaluation import check as check_tasks

    told: Problems = []
    seen: set[str] = set()
    for arm in found:
        for message in check_data(arm.recipe.data):
            if message not in seen:
                seen.add(message)
                told.append((arm.loc or ("baseline",), message))
    return told + [(("evaluate",), message) for message in check_tasks(study.file.evaluate)]
