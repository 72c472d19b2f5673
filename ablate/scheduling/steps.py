"""The steps alone: prepare data, pretrain one recipe, push a dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from ablate.budget import Budget
from ablate.records import FrozenArm, FrozenStudy, StudyPaths, read_study, write_json
from ablate.scheduling import RefusedError
from ablate.scheduling.attempts import now
from ablate.scheduling.run import FAILED, INTERRUPTED, OK, check_disk, coordinator_lock, local_executor, say

if TYPE_CHECKING:
    from ablate.recipe import Recipe


def find_recipe(what: str) -> Recipe:
    """A preset by name, or a recipe file. Raises RefusedError with the nearest name."""
    import difflib

    from ablate.recipe import PRESETS, Recipe, preset
    from ablate.study import explain

    if what in PRESETS:
        return preset(what)
    if not what.endswith((".yaml", ".yml")):
        near = difflib.get_close_matches(what, PRESETS, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise RefusedError(f"there is no preset '{what}'{hint} The presets are {', '.join(PRESETS)}")
    try:
        return Recipe.model_validate(yaml.safe_load(Path(what).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RefusedError(f"{what}: {error}") from None
    except ValidationError as error:
        told = [f"{what}: {'.'.join(map(str, loc))}: {message}" for loc, message in explain(error, Recipe)]
        raise RefusedError("\n".join(told)) from None


def prepare_data(what: str, runs: Path) -> list[dict[str, Any]]:
    """Prepare the data of a recipe, or of every arm of a study: one manifest each. Raises DataError."""
    from ablate.data import check, prepare

    configs = _data_of(what)
    problems = [p for config in configs for p in check(config)]
    if problems:
        raise RefusedError("\n".join(problems))
    made = []
    for config in configs:
        say(f"preparing {config.source.kind} …")
        data = prepare(config, StudyPaths(runs / "any").data)
        made.append({"path": str(data.path), **data.manifest, "tokens": int(data.train.size)})
    return made


def _data_of(what: str) -> list[Any]:
    """The distinct data configs of a study's arms, or of one recipe."""
    if Path(what).is_file() and _is_study(Path(what)):
        from ablate.design import arms
        from ablate.study import Study

        found: list[Any] = []
        for arm in arms(Study.load(what)):
            if arm.recipe.data not in found:
                found.append(arm.recipe.data)
        return found
    return [find_recipe(what).data]


def _is_study(path: Path) -> bool:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(raw, dict) and ("design" in raw or "baseline" in raw)


def pretrain_recipe(what: str, budget: str, seed: int, runs: Path) -> int:
    """Pretrain as a study of one arm on one block, so that it resumes, is watched and leaves a record."""
    recipe, spent = find_recipe(what), parse_budget(budget)
    problems = recipe.problems()
    if problems:
        raise RefusedError("\n".join(problems))
    check_disk(runs)
    root = runs / f"pretrain-{Path(what).stem}"
    with coordinator_lock(root):
        code, trial = _pretrain(_single(root.name, recipe, spent, seed), root)
    if code == OK:
        print(StudyPaths(root).trial(trial).checkpoint)
    return code


def parse_budget(text: str) -> Budget:
    """A budget from the command line. Raises RefusedError."""
    try:
        return Budget.parse(text)
    except ValueError as error:
        raise RefusedError(f"--budget: {error}") from None


def _single(name: str, recipe: Recipe, budget: Budget, seed: int) -> FrozenStudy:
    from ablate.design import identity

    amount = {"unit": budget.unit, "amount": budget.amount}
    return FrozenStudy(
        schema=1,
        name=name,
        question=f"pretraining under {budget}",
        created=now(),
        outcome={"metric": "eval/mlm_loss", "margin": 0.01, "higher_is_better": False},
        family=[],
        design="single",
        budget=amount,
        blocks=[seed],
        arms=[FrozenArm(name="baseline", recipe=recipe.model_dump(mode="json"), budget=amount)],
        trials={identity(recipe, seed, budget, "training", {}): ["baseline", 0]},
    )


def _pretrain(frozen: FrozenStudy, root: Path) -> tuple[int, str]:
    from ablate.scheduling.coordinator import Coordinator, stop_on_signals
    from ablate.scheduling.live import showing
    from ablate.scheduling.storage import Queue, sqlite

    write_json(StudyPaths(root).study, frozen)
    executor = local_executor(1, 1, None)
    queue = Queue(frozen, sqlite(StudyPaths(root).storage))
    coordinator = Coordinator(frozen, root, executor, queue, task={"threads": executor.threads_each})
    with stop_on_signals(coordinator), showing(coordinator):
        coordinator.run()
    (trial,) = frozen.trials
    return INTERRUPTED if coordinator.stopping else FAILED if coordinator.failed else OK, trial


def push_dashboard(root: Path) -> str:
    """Save the W&B workspace and report of a tracked study; their addresses. Needs a login and network."""
    from ablate.dashboards import wandb as pages
    from ablate.dashboards.page import default_for
    from ablate.records import load_records

    frozen = read_study(root)
    wandb = frozen.track.get("wandb") or {}
    entity, project = wandb.get("entity"), wandb.get("project") or frozen.name
    if not entity:
        raise RefusedError(
            "pushing needs `track: {wandb: {entity: …}}` in the study file: a W&B user or team"
        )
    board = default_for(frozen, load_records(root)[0])
    made = (
        pages.workspace(board, entity=entity, project=project, study=frozen.name),
        pages.report(board, entity=entity, project=project, study=frozen.name, question=frozen.question),
    )
    return "\n".join(str(page.save().url) for page in made)
