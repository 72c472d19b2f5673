"""The searches of a study: one over the space of `kind: search`, or one per arm where knobs are tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.budget import Budget
from ablate.design.config import Grid
from ablate.design.space import Space, grid, has, parameters_in, read_space, spelled
from ablate.design.values import Arm
from ablate.recipe import Recipe
from ablate.records.schema import Search

if TYPE_CHECKING:
    from ablate.study import Study

MOST_POINTS = 100_000


def searches(
    study: Study, arms: list[Arm], compared: int, screened: int, priors: Sequence[Mapping[str, Any]]
) -> list[Search]:
    """What draws arms while the study runs; empty for designs that list their arms."""
    design = study.file.design
    blocks = list(range(compared, compared + screened))
    if design.kind == "search":
        space = read_space(design.space, study.baseline, (), _invalid)
        return [
            Search(
                name="search",
                base=arms[0].name,
                phase="screen",
                space=spelled(space),
                sampler=design.sampler.model_dump(),
                pruner=design.pruner.model_dump() if design.pruner else None,
                trials=_trials(design.trials, design.sampler, space, study.baseline),
                blocks=blocks,
                seed=design.seed,
                budget=_plain(study.budget),
                priors=[dict(point) for point in priors],
            )
        ]
    return [_tuning(study, arm, blocks) for arm in arms] if design.tune else []


def _tuning(study: Study, arm: Arm, blocks: list[int]) -> Search:
    tune = study.file.design.tune
    assert tune is not None
    given = {path: spec for path, spec in tune.knobs.items() if has(arm.recipe, path)}
    space = read_space(given, arm.recipe, (), _invalid)
    return Search(
        name=f"tune {arm.name}",
        base=arm.name,
        phase="tune",
        space=spelled(space),
        sampler=tune.sampler.model_dump(),
        trials=_trials(tune.trials, tune.sampler, space, arm.recipe) if space else 0,
        blocks=blocks,
        seed=study.file.design.seed,
        budget=_plain(Budget.parse(tune.budget) if tune.budget is not None else arm.budget),
    )


def _trials(asked: int | None, sampler: Any, space: Space, base: Recipe) -> int:
    """How many arms there will be: what was asked for, and no more than a grid has points."""
    if not isinstance(sampler, Grid):
        assert asked is not None
        return asked
    most = asked or MOST_POINTS
    return sum(1 for _, _ in zip(range(most), grid(space, base), strict=False))


def _plain(budget: Budget) -> dict[str, Any]:
    return {"unit": budget.unit, "amount": budget.amount}


def _invalid(loc: tuple[Any, ...], message: str) -> None:
    raise AssertionError(f"{loc}: {message}")  # a study that was loaded has a valid space


# --- earlier records as prior points -------------------------------------------------------------------


def prior_points(
    study: Study, records: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Earlier trials as points of the space, averaged over blocks; and why others could not be used.

    A point counts when its recipe differs from this study's baseline only inside the space, under the same
    budget and evaluation of the outcome; else its value would not be comparable.
    """
    space = read_space(study.file.design.space, study.baseline, (), _invalid)
    metrics = [study.file.outcome.metric]
    if study.file.tradeoff is not None:
        metrics.append(study.file.tradeoff.metric)
    budget = _plain(study.budget)
    points: dict[str, dict[str, Any]] = {}
    refused: dict[str, int] = {}
    for record in records:
        values = [record["metrics"].get(metric) for metric in metrics]
        try:
            if record["state"] != "complete" or None in values:
                raise ValueError(f"no {' or '.join(metrics)}")
            if record["budget"] != budget:
                raise ValueError("another budget")
            params = parameters_in(space, Recipe.model_validate(record["recipe"]), study.baseline)
        except ValueError as error:
            why = str(error).splitlines()[0]
            refused[why] = refused.get(why, 0) + 1
            continue
        point = points.setdefault(repr(params), {"params": params, "all": [], "study": record["study"]})
        point["all"].append([float(v) for v in values])
    found = [
        {"params": p["params"], "values": [sum(v) / len(v) for v in zip(*p["all"], strict=True)],
         "blocks": len(p["all"]), "study": p["study"]}
        for p in points.values()
    ]  # fmt: skip
    return found, [f"{n} earlier records are no prior points: {why}" for why, n in refused.items()]
