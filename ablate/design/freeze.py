"""Freezing a study: what is written to `study.json` before the first trial, and what later edits mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ablate.budget import Budget
from ablate.design.arms import BASELINE, Arm, arms
from ablate.knobs import canonical, knobs, qualified, show
from ablate.recipe import Recipe
from ablate.records.schema import FrozenArm, FrozenStudy

if TYPE_CHECKING:
    from ablate.study import Study


def identity(recipe: Recipe, seed: int, budget: Budget, charge: str, evaluate: Mapping[str, Any]) -> str:
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
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def block_seeds(study: Study) -> list[int]:
    """One seed per block; the first blocks of a larger study are those of a smaller one."""
    return [study.file.design.seed + index for index in range(study.file.design.blocks)]


def freeze(study: Study, *, created: str) -> FrozenStudy:
    """The study as it is fixed before any result: arms, blocks, outcome, margin, family, trial ids.

    `created` is the time, ISO 8601 in UTC; this module reads no clock.
    """
    found = arms(study)
    evaluate = study.file.evaluate.model_dump(mode="json")
    seeds = block_seeds(study)
    trials = {
        identity(arm.recipe, seed, arm.budget, study.file.charge, canonical(study.file.evaluate)): [
            arm.name,
            i,
        ]
        for i, seed in enumerate(seeds)  # block by block: a study stopped early has whole blocks
        for arm in found
    }
    outcome = study.file.outcome
    return FrozenStudy(
        schema=1,
        name=study.name,
        title=study.file.title,
        question=study.file.question,
        created=created,
        source=study.path.name,
        source_sha256=study.sha256,
        outcome={
            "metric": outcome.metric,
            "margin": outcome.margin,
            "higher_is_better": outcome.higher_is_better,
        },
        family=[arm.name for arm in found[1:]],
        alpha=study.file.alpha,
        design=study.file.design.kind,
        factors={path: list(levels) for path, levels in study.file.design.factors.items()},
        budget=_budget(study.budget),
        charge=study.file.charge,
        blocks=seeds,
        arms=[_arm(arm, found[0]) for arm in found],
        evaluate=evaluate,
        track=study.file.track.model_dump(mode="json"),
        run=study.file.run.model_dump(mode="json", exclude={"storage"}),
        claims=_claims(found),
        trials=trials,
    )


def _budget(budget: Budget) -> dict[str, Any]:
    return {"unit": budget.unit, "amount": budget.amount}


def _arm(arm: Arm, baseline: Arm) -> FrozenArm:
    return FrozenArm(
        name=arm.name,
        changes={path: [_plain(a), _plain(b)] for path, (a, b) in arm.changes(baseline).items()},
        recipe=arm.recipe.model_dump(mode="json"),
        budget=_budget(arm.budget),
        group=arm.group,
        reference=arm.reference if arm.name != BASELINE else None,
        parameters=_parameters(arm.recipe),
    )


def _parameters(recipe: Recipe) -> int | None:
    """Parameters of the model; None where the vocabulary is known only once its file is read."""
    from ablate.data.tokenizer import WordPiece
    from ablate.model import parameters

    if not isinstance(recipe.data.tokenizer, WordPiece):
        return None
    size = {"vocabulary": recipe.data.tokenizer.vocabulary, "length": recipe.data.length}
    return parameters(recipe.model, **size) + recipe.train.objective.parameters(recipe.model)


def _plain(value: Any) -> Any:
    return canonical(value) if hasattr(value, "model_dump") else value


def _claims(found: list[Arm]) -> dict[str, dict[str, str]]:
    """What the paper says of each knob that varies, so that reports need not load the recipe types."""
    varied = {path: arm.recipe for arm in found[1:] for path in arm.changes(found[0])}
    infos = {info.name: info for info in knobs(Recipe)}
    names = {path: qualified(recipe, path) for path, recipe in varied.items()}
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


def revise(old: FrozenStudy, new: FrozenStudy, *, has_data: bool) -> tuple[FrozenStudy, list[str]]:
    """The study to go on with after its file was edited, and what to tell the user.

    Trials whose identity is unchanged are kept. A changed outcome, margin or family after data arrived
    marks the findings post hoc.
    """
    told: list[str] = []
    added = [t for t in new.trials if t not in old.trials]
    dropped = [t for t in old.trials if t not in new.trials]
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
        ):
            if before != after:
                post_hoc.append(f"{name} changed from {show(before)} to {show(after)} after data had arrived")
        told += post_hoc[len(old.post_hoc) :]
    scale = old.scale if new.evaluate == old.evaluate else {}
    return new.model_copy(update={"created": old.created, "post_hoc": post_hoc, "scale": scale}), told


def _names(study: FrozenStudy, trials: list[str]) -> list[str]:
    return sorted({str(study.trials[t][0]) for t in trials})
