"""Freezing a study: what is written to `study.json` before the first trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.budget import Budget
from ablate.design.arms import arms, cautions
from ablate.design.config import Elastic
from ablate.design.searches import searches
from ablate.design.values import BASELINE, Arm
from ablate.knobs import breaches, canonical, knobs, qualified
from ablate.recipe import Recipe
from ablate.records.schema import FrozenArm, FrozenStudy

if TYPE_CHECKING:
    from ablate.study import Study

# Seeds of screening and tuning blocks lie far from those of the comparison, so that adding blocks to it
# moves neither.
SCREEN_SEEDS = 1_000_000


def identity(
    recipe: Recipe,
    seed: int,
    budget: Budget,
    charge: str,
    evaluate: Mapping[str, Any],
    replicate: int = 0,
) -> str:
    """The id of a trial: a hash of recipe, block, budget and what is evaluated, twelve hex digits.

    Study and arm names are not in it, so renaming either keeps finished trials.
    """
    content = {
        "recipe": canonical(recipe),
        "seed": seed,
        "budget": {"unit": budget.unit, "amount": budget.amount},
        "charge": charge,
        "evaluate": evaluate,
    }
    if replicate:
        content["replicate"] = replicate
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def compared_blocks(study: Study) -> int:
    """How many blocks the comparison may use; those of screening and tuning come after them."""
    design = study.file.design
    if design.kind == "search":
        return design.confirm.blocks if design.confirm else 0
    return design.most_blocks


def screen_blocks(study: Study) -> int:
    """How many blocks a search, or the tuning of nuisance knobs, runs on."""
    design = study.file.design
    if design.kind == "search":
        return design.first_blocks
    return design.tune.blocks if design.tune else 0


def block_seeds(study: Study) -> list[int]:
    """One seed per block; the first blocks of a larger study are those of a smaller one."""
    first = study.file.design.seed
    compared = [first + i for i in range(compared_blocks(study))]
    return compared + [first + SCREEN_SEEDS + i for i in range(screen_blocks(study))]


def freeze(study: Study, *, created: str, priors: Sequence[Mapping[str, Any]] = ()) -> FrozenStudy:
    """The study as it is fixed before any result: arms, blocks, outcome, margin, family, trial ids.

    `created` is the time, ISO 8601 in UTC, and `priors` are points of earlier studies; this module reads
    neither clock nor disk.
    """
    found, file = arms(study), study.file
    seeds, fraction = block_seeds(study), _fraction(study, found)
    return FrozenStudy(
        schema=1,
        name=study.name,
        title=file.title,
        question=file.question,
        created=created,
        source=study.source,
        source_sha256=study.sha256,
        outcome=_outcome(file.outcome),
        family=_family(study, found),
        alpha=file.alpha,
        design=file.design.kind,
        factors=_factors(found),
        resolution=fraction[0],
        aliases=fraction[1],
        searches=searches(study, found, compared_blocks(study), screen_blocks(study), priors),
        confirm=file.design.confirm.model_dump() if file.design.confirm else {},
        elastic=file.design.blocks.model_dump() if isinstance(file.design.blocks, Elastic) else {},
        tradeoff=_outcome(file.tradeoff) if file.tradeoff else {},
        budget=plain_budget(study.budget),
        charge=file.charge,
        rules=file.rules,
        blocks=seeds,
        arms=[frozen_arm(arm, found[0]) for arm in found],
        evaluate=file.evaluate.model_dump(mode="json"),
        track=file.track.model_dump(mode="json"),
        run=file.run.model_dump(mode="json", exclude={"storage"}),
        cautions=cautions(study),
        claims=_claims(study, found),
        trials=_trials(study, found, seeds),
    )


def _outcome(outcome: Any) -> dict[str, Any]:
    told = {
        "metric": outcome.metric,
        "margin": outcome.margin,
        "higher_is_better": outcome.higher_is_better,
    }
    return told | ({"spread": outcome.spread} if outcome.spread else {})


def _family(study: Study, found: list[Arm]) -> list[str]:
    """The arms whose contrasts are corrected together: fixed now, also where a search must find them."""
    if study.file.design.confirm:
        return [best(i) for i in range(study.file.design.confirm.top)]
    return [arm.name for arm in found[1:] if arm.family]


def best(place: int) -> str:
    """The name under which the arm on a place of a search is run again."""
    return f"best {place + 1}"


def _factors(found: list[Arm]) -> dict[str, list[Any]]:
    levels = {factor: [level] for factor, level in found[0].levels.items()}
    for arm in found[1:]:
        for factor, level in arm.levels.items():
            if level not in levels[factor]:
                levels[factor].append(level)
    return levels


def _fraction(study: Study, found: list[Arm]) -> tuple[int | None, list[str]]:
    if study.file.design.kind != "fractional":
        return None, []
    from ablate.design.kinds import fraction_of

    made = fraction_of(study, found[0].levels, lambda loc, message: None)
    return (made.resolution, list(made.aliases)) if made else (None, [])


def _trials(study: Study, found: list[Arm], seeds: list[int]) -> dict[str, list[Any]]:
    """The trials that are known beforehand: none of an arm that is tuned first or drawn later."""
    design = study.file.design
    if design.tune:
        return {}
    first = range(design.first_blocks)
    if design.kind == "search":
        first = range(len(seeds))
    evaluate = canonical(study.file.evaluate)
    return {
        identity(arm.recipe, seeds[i], arm.budget, study.file.charge, evaluate, arm.replicate): [arm.name, i]
        for i in first  # block by block: a study stopped early has whole blocks
        for arm in found
        if arm.blocks is None or i < arm.blocks
    }


def plain_budget(budget: Budget) -> dict[str, Any]:
    return {"unit": budget.unit, "amount": budget.amount}


def frozen_arm(arm: Arm, baseline: Arm) -> FrozenArm:
    """An arm as it is stored: whole, and with what differs from the baseline."""
    return FrozenArm(
        name=arm.name,
        changes={path: [_plain(a), _plain(b)] for path, (a, b) in arm.changes(baseline).items()},
        recipe=arm.recipe.model_dump(mode="json"),
        budget=plain_budget(arm.budget),
        group=arm.group,
        reference=arm.reference if arm.name != BASELINE else None,
        parameters=_parameters(arm.recipe),
        levels=dict(arm.levels),
        breaches=breaches(arm.recipe),
        phase=arm.phase,
        replicate=arm.replicate,
    )


def _parameters(recipe: Recipe) -> int | None:
    """Parameters of the model; None where the vocabulary is known only once its file is read."""
    from ablate.model import parameters

    vocabulary = getattr(recipe.data.tokenizer, "vocabulary", None)
    if vocabulary is None:
        return None
    size = {"vocabulary": vocabulary, "length": recipe.data.length}
    return parameters(recipe.model, **size) + recipe.train.objective.parameters(recipe.model)


def _plain(value: Any) -> Any:
    return canonical(value) if hasattr(value, "model_dump") else value


def _claims(study: Study, found: list[Arm]) -> dict[str, dict[str, str]]:
    """What the paper says of each knob that varies, so that reports need not load the recipe types."""
    design = study.file.design
    varied = {path: arm.recipe for arm in found[1:] for path in arm.changes(found[0])}
    infos = {info.name: info for info in knobs(Recipe)}
    names = {path: qualified(recipe, path) for path, recipe in varied.items()}
    names |= {path: path for path in (*design.space, *(design.tune.knobs if design.tune else ()))}
    return {
        path: {
            "knob": name,
            "meaning": infos[name].knob.meaning,
            "paper": infos[name].knob.paper,
            "domain": str(infos[name].domain),
        }
        for path, name in sorted(names.items())
        if name in infos
    }
