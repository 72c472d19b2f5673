"""The steps alone: prepare data, pretrain one recipe, push a dashboard."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate import yamltext
from ablate.budget import Budget
from ablate.records import FrozenArm, FrozenStudy, StudyPaths, write_json
from ablate.scheduling import RefusedError
from ablate.scheduling.attempts import now
from ablate.scheduling.run import FAILED, INTERRUPTED, OK, check_disk, coordinator_lock, local_executor, say

if TYPE_CHECKING:
    from ablate.data import DataConfig, Mapper
    from ablate.data.inspection import Inspection
    from ablate.recipe import Recipe
    from ablate.study import Study


def find_recipe(what: str) -> Recipe:
    """A preset by name, or a recipe file. Raises RefusedError with the nearest name."""
    from ablate.study import named_recipe

    told: list[str] = []
    recipe = named_recipe(what, Path(), (), lambda loc, message: told.append(message))
    if told or recipe is None:
        raise RefusedError("\n".join(told))
    return recipe


def prepare_data(what: str, runs: Path) -> list[dict[str, Any]]:
    """Prepare the data of a recipe, or of every arm of a study: one manifest each. Raises DataError.

    Shards are prepared by processes of this machine, or on the Ray cluster that a study runs on.
    """
    from ablate.data import check

    configs, mapper = _data_of(what)
    problems = [p for config in configs for p in check(config)]
    if problems:
        raise RefusedError("\n".join(problems))
    return prepare_all(configs, runs, mapper)


def prepare_all(configs: Sequence[DataConfig], runs: Path, mapper: Mapper) -> list[dict[str, Any]]:
    """The manifest of every config, prepared where it is not in the cache."""
    from ablate.data import prepare

    made = []
    for config in configs:
        say(f"preparing {config.source.short()} …")
        data = prepare(config, StudyPaths(runs / "any").data, mapper=mapper)
        made.append({"path": str(data.path), **data.manifest})
    return made


def inspect_data(what: str, runs: Path) -> list[Inspection]:
    """What became of the text of a recipe, or of every data level of a study. Raises DataError."""
    from ablate.data import check
    from ablate.data.inspection import inspect

    named = _named_data_of(what)
    problems = [problem for config, _ in named for problem in check(config)]
    if problems:
        raise RefusedError("\n".join(dict.fromkeys(problems)))
    return [inspect(config, StudyPaths(runs / "any").data, ", ".join(names)) for config, names in named]


def _named_data_of(what: str) -> list[tuple[DataConfig, list[str]]]:
    """The distinct data configs of a study with the arms that read them, or that of one recipe."""
    if not (Path(what).is_file() and _is_study(Path(what))):
        return [(find_recipe(what).data, [Path(what).stem])]
    from ablate.design import arms
    from ablate.study import Study

    found: dict[DataConfig, list[str]] = {}
    for arm in arms(Study.load(what)):
        found.setdefault(arm.recipe.data, []).append(arm.name)
    return list(found.items())


def data_stats(what: str, runs: Path) -> list[dict[str, Any]]:
    """The manifests of what is prepared already. Raises RefusedError where something is not."""
    from ablate.data import is_prepared

    configs, mapper = _data_of(what)
    missing = [c.source.short() for c in configs if not is_prepared(c, StudyPaths(runs / "any").data)]
    if missing:
        raise RefusedError(
            f"statistics are read from prepared data; {len(missing)} of {len(configs)} are not prepared "
            f"({', '.join(dict.fromkeys(missing))}); "
            f"run `ablate data prepare {shlex.quote(what)} --runs {shlex.quote(str(runs))}`"
        )
    return prepare_all(configs, runs, mapper)


def _data_of(what: str) -> tuple[list[DataConfig], Mapper]:
    """The distinct data configs of a study's arms, or of one recipe, and where they are prepared."""
    from ablate.data import Processes

    if not (Path(what).is_file() and _is_study(Path(what))):
        return [find_recipe(what).data], Processes()
    from ablate.study import Study

    study = Study.load(what)
    return data_of_arms(study), mapper_of(study)


def data_of_arms(study: Study) -> list[DataConfig]:
    """The distinct data configs of a study's arms."""
    from ablate.design import arms

    found: list[DataConfig] = []
    for arm in arms(study):
        if arm.recipe.data not in found:
            found.append(arm.recipe.data)
    return found


def mapper_of(study: Study) -> Mapper:
    """Where the shards of a study's corpora are prepared."""
    from ablate.data import OnRay, Processes

    executor = study.file.run.executor
    return OnRay(getattr(executor, "address", None)) if executor.kind == "ray" else Processes()


def _is_study(path: Path) -> bool:
    try:
        raw = yamltext.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yamltext.YamlTextError):
        return False
    return isinstance(raw, dict) and ("design" in raw or "baseline" in raw)


def pretrain_recipe(what: str, budget: str, seed: int, runs: Path) -> int:
    """Pretrain as a study of one arm on one block, so that it resumes, is watched and leaves a record."""
    from ablate.data import check

    recipe, spent = find_recipe(what), parse_budget(budget)
    problems = recipe.problems() + check(recipe.data)
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
    executor = local_executor(1, None, None)
    queue = Queue(frozen, sqlite(StudyPaths(root).storage))
    coordinator = Coordinator(frozen, root, executor, queue, task={"threads": executor.threads_each})
    with stop_on_signals(coordinator), showing(coordinator):
        coordinator.run()
    (trial,) = frozen.trials
    return INTERRUPTED if coordinator.stopping else FAILED if coordinator.failed else OK, trial


def show_dashboard(root: Path, *, browse: bool, push: bool, static: bool, port: int | None) -> None:
    """Serve the live page of a run folder until Ctrl-C, or write it as a file, or push it to W&B."""
    if push:
        from ablate.dashboards.wandb import push as push_pages

        print("\n".join(push_pages(root)))
        return
    if static:
        from ablate.dashboards.page import write_page

        page = write_page(root)
        print(page)
        _open(page.resolve().as_uri(), browse)
        return
    from ablate.dashboards.server import watch

    def ready(url: str) -> None:
        print(url, flush=True)
        say(f"{root.name}: live page on this machine; Ctrl-C ends it, the study goes on")
        _open(url, browse)

    watch(root, port, ready)


def sync_runs(root: Path) -> int:
    """Upload the tracked runs of a study that are not online yet; 0, or 1 when some did not arrive."""
    from ablate.tracking.sync import sync

    done = sync(root, say)
    for words, trials in (
        ("online now", done.uploaded), ("did not arrive", done.failed), ("online already", done.already),
        ("still running, sent when done", done.running),
    ):  # fmt: skip
        if trials:
            print(f"{len(trials)} runs {words}: {', '.join(trials)}")
    if not any((done.uploaded, done.failed, done.already, done.running)):
        print(f"{root} has no runs for W&B: `track: {{wandb: …}}` in the study file and a trial make some")
    if done.failed:
        say(f"{done.said}\nthey stay on this disk; run the same command again: it sends what is missing")
    return FAILED if done.failed else OK


def _open(address: str, browse: bool) -> None:
    if browse:
        import webbrowser

        webbrowser.open(address)
