"""`run_study`: from a study file to records and a report; resumes what is there.

A study that is done is recognised from files alone, before anything heavy is imported.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.records import (
    FrozenStudy,
    StudyPaths,
    frozen_study,
    grown,
    read_growth,
    read_study,
    settled,
    write_growth,
    write_json,
)
from ablate.records.paths import repository
from ablate.records.store import RecordError
from ablate.scheduling import RefusedError, attempts
from ablate.scheduling.attempts import standing
from ablate.scheduling.find import unchanged
from ablate.scheduling.lock import HeldError, Lock

if TYPE_CHECKING:
    from ablate.scheduling.executors import Executor, LocalExecutor
    from ablate.study import Study

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
LEAST_FREE = 512 * 2**20  # bytes: a small study's data, checkpoints and records


def run_study(study_file: Path, runs: Path, workers: int | None = None, *, again: bool = False) -> int:
    """Run or resume a study; the exit code. Raises StudyError and RefusedError before anything starts."""
    done = finished(study_file, runs, again=again)
    if done is not None:
        say(f"{done.name}: every trial is done, nothing to start")
        return conclude(runs / done.name)
    from ablate.study import Study  # loads the recipe types, and with them torch

    study = Study.load(study_file)
    check_disk(runs)
    adopt_renamed(study, runs)
    code = run_loaded(study, runs, workers, again=again)
    return conclude(runs / study.name) if code == OK else code


def run_loaded(study: Study, runs: Path, workers: int | None = None, *, again: bool = False) -> int:
    """Run or resume a study that was read already, without a report; the exit code."""
    root = runs / study.name
    executor = places_for(study, workers)
    try:
        new, told = asked(study)
        refuse_impossible(new, executor)
        fetch_tasks(study)  # after what is refused without waiting for a network
        with coordinator_lock(root) as lock:
            frozen = freeze(new, told, root)
            code = _coordinate(grown(frozen, read_growth(root)), study, root, executor, again, lock)
            if code == OK:
                with_scale(frozen, root)
    finally:
        executor.close()
    return code


def refuse_impossible(study: FrozenStudy, executor: Executor) -> None:
    """Raises RefusedError naming the arms that cannot run where the executor would put them."""
    told = executor.refusals(study)
    if told:
        raise RefusedError("\n".join(told))


def fetch_tasks(study: Study) -> None:
    """Have every task at hand before anything trains. Raises RefusedError naming those that cannot be had."""
    from ablate.evaluation import fetch

    told = fetch(study.file.evaluate)
    if told:
        raise RefusedError("\n".join(told))


def places_for(study: Study, workers: int | None) -> Executor:
    """The study's executor, once its storage answers. Raises RefusedError before anything is written."""
    from ablate.scheduling.connection import open_storage

    run = study.file.run
    if run.storage:
        open_storage(run.storage).engine.dispose()
    return run.executor.build(run.places(workers))


def finished(study_file: Path, runs: Path, *, again: bool = False) -> FrozenStudy | None:
    """The frozen study when its file is unchanged and no trial is open; None in every other case."""
    frozen = unchanged(study_file, runs)
    if frozen is None:
        return None
    paths = StudyPaths(runs / frozen.name)
    if not settled(frozen, paths.root):
        return None  # it would go on adding trials
    if any(not standing(paths.trial(t), again=again).final for t in frozen.trials):
        return None
    return frozen


def check_disk(runs: Path) -> None:
    """Refuse to start on a disk that is nearly full."""
    there = next(p for p in (runs.resolve(), *runs.resolve().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE:
        raise RefusedError(
            f"a study needs at least {LEAST_FREE // 2**20} MiB of disk; {there} has {free / 2**20:.0f} MiB "
            "left; free some, or choose another folder with --runs"
        )


def coordinator_lock(root: Path) -> Lock:
    """The lock of the study's one coordinator. Raises RefusedError naming the other one."""
    try:
        return Lock(StudyPaths(root).lock, started=attempts.now())
    except HeldError as error:
        other = error.holder
        who = f"process {other.pid} on {other.host}" if other else "another process"
        raise RefusedError(
            f"{root} is being run by {who}; wait for it, watch it with `ablate status {root}`, "
            "or end that process (its trials resume)"
        ) from None


def asked(study: Study) -> tuple[FrozenStudy, list[str]]:
    """What the file asks for now, and what is to be told of it; nothing is written."""
    from ablate import design

    priors, told = prior_points(study)
    return design.freeze(study, created=attempts.now(), priors=priors), told


def freeze(new: FrozenStudy, told: list[str], root: Path) -> FrozenStudy:
    """Write `study.json`, or amend the one that is there after an edit of the file, telling what changed.

    Without what was added while the study ran; of that, what the edited study does not ask for any more is
    left out of `grown.jsonl`.
    """
    from ablate import design

    paths = StudyPaths(root)
    if paths.study.exists():
        has_data = any(paths.trials.glob("*/record.json"))
        old, additions = frozen_study(root), read_growth(root)
        new, changed = design.revise(old, new, has_data=has_data)
        if new == old:
            return old
        kept, left_out = design.regrow(old, new, additions)
        told = [*told, *changed, *left_out]
        write_growth(root, kept)
    write_json(paths.study, new)
    for line in told:
        say(f"{new.name}: {line}")
    return new


def prior_points(study: Study) -> tuple[list[dict[str, Any]], list[str]]:
    """Records of earlier studies as points that a search starts from."""
    from ablate.design.checks import prior_root
    from ablate.design.searches import prior_points as points_of
    from ablate.records import load_records

    records = [r for folder in study.file.design.prior for r in load_records(prior_root(study, folder))[0]]
    return points_of(study, [record.model_dump() for record in records]) if records else ([], [])


def adopt_renamed(study: Study, runs: Path) -> None:
    """A study whose `name:` or file was changed keeps its folder's trials: the folder takes the new name.

    It is the same study when it comes from the same file, or from a file that is gone, and asks for trials
    that are there.
    """
    from ablate import design

    root = runs / study.name
    if StudyPaths(root).study.exists():
        return
    new = design.freeze(study, created="")
    for path in sorted(runs.glob("*/study.json")):
        try:
            old = read_study(path.parent)
        except RecordError:
            continue
        shared = new.trials.keys() & old.trials.keys() or (new.searches and new.searches == old.searches)
        if old.source and shared and _is_its_file(study.path, old.source):
            with coordinator_lock(path.parent):
                if root.exists():
                    continue
                path.parent.rename(root)
            say(f"{study.name}: {path.parent} is this study under its old name; it is {root} now")
            return


def _is_its_file(path: Path, source: str) -> bool:
    """Whether a study of that source is the one in this file: the same file, or the other is gone."""
    root = repository(path)
    known = (Path(source), path.with_name(Path(source).name), *([root / source] if root else []))
    there = [file for file in known if file.exists()]
    return not there or any(file.samefile(path) for file in there)


def _coordinate(
    frozen: FrozenStudy, study: Study, root: Path, executor: Executor, again: bool, lock: Lock
) -> int:
    from ablate.recipe import Recipe
    from ablate.scheduling.coordinator import Coordinator, stop_on_signals
    from ablate.scheduling.growing import make_queue
    from ablate.scheduling.live import showing
    from ablate.scheduling.storage import sqlite
    from ablate.scheduling.watchdog import Limits

    run = study.file.run
    queue = make_queue(frozen, root, run.storage or sqlite(StudyPaths(root).storage), Recipe)
    if run.executor.kind == "ray":  # all nodes prepare what each trial would wait for on its own
        from ablate.scheduling.steps import data_of_arms, mapper_of, prepare_all

        prepare_all(data_of_arms(study), root.parent, mapper_of(study))
    task = {
        "threads": executor.threads_each,
        "checkpoint_seconds": run.checkpoint_seconds,
        "peak_flops": run.peak_flops,
    }
    limits = Limits(memory_bytes=run.places().memory_bytes)
    coordinator = Coordinator(frozen, root, executor, queue, again=again, task=task, limits=limits)
    coordinator.on_alive = lock.touch
    say(
        f"{frozen.name}: {len(frozen.trials)} trials in {root}; "
        f"{executor.workers} at once ({executor.describe()})"
    )
    for caution in executor.cautions(frozen):
        say(f"warning: {caution}")
    try:
        with stop_on_signals(coordinator), showing(coordinator):
            coordinator.run()
    finally:
        queue.close()
    if coordinator.stopping:
        say(f"{frozen.name}: stopped ({coordinator.stopping}); run the same command again to resume")
        return INTERRUPTED
    return OK


def local_executor(workers: int | None, gpus_per_trial: int | None, threads: int | None) -> LocalExecutor:
    """Trials on this machine."""
    from ablate.scheduling.executors import LocalSpec, Places

    return LocalSpec().build(Places(workers, gpus_per_trial, threads))


def with_scale(frozen: FrozenStudy, root: Path) -> FrozenStudy:
    """The study with reference scores of its tasks (majority, TF-IDF), measured once and kept."""
    from ablate.evaluation import EvaluateSpec, TaskError
    from ablate.evaluation.reference import scale

    paths = StudyPaths(root)
    if frozen.scale:
        return frozen
    try:
        found = scale(EvaluateSpec.model_validate(frozen.evaluate), paths.data / "tasks")
    except TaskError as error:
        say(f"{frozen.name}: no reference scores for scale: {error}")
        return frozen
    frozen = frozen.model_copy(update={"scale": found})
    write_json(paths.study, frozen)
    return frozen


def conclude(root: Path) -> int:
    """Write the report, print the table on standard output and where the pages are; the exit code."""
    from rich.console import Console

    from ablate.analysis import analyze
    from ablate.records import load_records
    from ablate.report import render_terminal, write_report

    frozen = read_study(root)
    records, damage = load_records(root)
    findings = analyze(frozen, records, damage)
    page = write_report(root)
    # A pipe or a log file has no width of its own; rich would squeeze the table into 80 columns.
    Console(width=None if sys.stdout.isatty() else 120).print(render_terminal(findings))
    print(f"report: {page}")
    for note in findings.notes:
        say(f"{frozen.name}: {note}")
    bad = [t for t in frozen.trials if standing(StudyPaths(root).trial(t)).verdict == "failed"]
    if bad:
        say(f"{len(bad)} of {len(frozen.trials)} trials failed for good; reasons: ablate status {root}")
    return FAILED if bad else OK


def say(line: str) -> None:
    """A line for people; standard output belongs to results."""
    print(line, file=sys.stderr, flush=True)
