"""`run_study`: from a study file to records and a report; resumes what is there.

A study that is done is recognised from files alone, before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ablate.records import FrozenStudy, StudyPaths, read_study, write_json
from ablate.records.store import RecordError
from ablate.scheduling import RefusedError, attempts
from ablate.scheduling.attempts import standing
from ablate.scheduling.lock import HeldError, Lock

if TYPE_CHECKING:
    from ablate.scheduling.executors import LocalExecutor
    from ablate.study import Study

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
LEAST_FREE = 512 * 2**20  # bytes: a small study's data, checkpoints and records


def run_study(study_file: Path, runs: Path, workers: int | None = None, *, again: bool = False) -> int:
    """Run or resume a study; the exit code. Raises StudyError and RefusedError before anything starts."""
    done = finished(study_file, runs, again=again)
    if done is not None:
        say(f"{done.name}: every trial is done, nothing to start")
        return conclude(runs / done.name, done)
    from ablate.study import Study  # loads the recipe types, and with them torch

    study = Study.load(study_file)
    root = runs / study.name
    check_disk(runs)
    with coordinator_lock(root) as lock:
        frozen = freeze(study, root)
        code = _coordinate(frozen, study, root, workers, again, lock)
        frozen = with_scale(frozen, root) if code == OK else frozen
    return conclude(root, frozen) if code == OK else code


def finished(study_file: Path, runs: Path, *, again: bool = False) -> FrozenStudy | None:
    """The frozen study when its file is unchanged and no trial is open; None in every other case."""
    try:
        text = study_file.read_bytes()
        raw = yaml.safe_load(text)
        name = (isinstance(raw, dict) and raw.get("name")) or study_file.stem
        frozen = read_study(runs / str(name))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecordError):
        return None
    if getattr(frozen, "source_sha256", None) != hashlib.sha256(text).hexdigest():
        return None
    paths = StudyPaths(runs / str(name))
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


def freeze(study: Study, root: Path) -> FrozenStudy:
    """Write `study.json`, or amend the one that is there after an edit of the file, telling what changed."""
    from ablate import design

    paths = StudyPaths(root)
    new = design.freeze(study, created=attempts.now())
    told: list[str] = []
    if paths.study.exists():
        has_data = any(paths.trials.glob("*/record.json"))
        old = read_study(root)
        new, told = design.revise(old, new, has_data=has_data)
        if new == old:
            return old
    write_json(paths.study, new)
    for line in told:
        say(f"{study.name}: {line}")
    return new


def _coordinate(
    frozen: FrozenStudy, study: Study, root: Path, workers: int | None, again: bool, lock: Lock
) -> int:
    from ablate.recipe import Recipe
    from ablate.scheduling.coordinator import Coordinator, stop_on_signals
    from ablate.scheduling.live import showing
    from ablate.scheduling.storage import Queue, sqlite
    from ablate.scheduling.watchdog import Limits

    run = study.file.run
    queue = Queue(frozen, run.storage or sqlite(StudyPaths(root).storage), Recipe, root=root)
    executor = run.executor.build(run.places(workers))
    task = {"threads": executor.threads_each, "checkpoint_seconds": run.checkpoint_seconds}
    limits = Limits(memory_bytes=run.places().memory_bytes)
    coordinator = Coordinator(frozen, root, executor, queue, again=again, task=task, limits=limits)
    coordinator.on_alive = lock.touch
    say(
        f"{frozen.name}: {len(frozen.trials)} trials in {root}; "
        f"{executor.workers} at once ({executor.describe()})"
    )
    try:
        with stop_on_signals(coordinator), showing(coordinator):
            coordinator.run()
    finally:
        executor.close()
        queue.close()
    if coordinator.stopping:
        say(f"{frozen.name}: stopped ({coordinator.stopping}); run the same command again to resume")
        return INTERRUPTED
    return OK


def local_executor(workers: int | None, gpus_per_trial: int, threads: int | None) -> LocalExecutor:
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


def conclude(root: Path, frozen: FrozenStudy) -> int:
    """Write the report, print the table on standard output and where the pages are; the exit code."""
    from rich.console import Console

    from ablate.analysis import analyze
    from ablate.records import load_records
    from ablate.report import render_terminal, write_report

    records, damage = load_records(root)
    findings = analyze(frozen, records, damage)
    page = write_report(root)
    # A pipe or a log file has no width of its own; rich would squeeze the table into 80 columns.
    Console(width=None if sys.stdout.isatty() else 120).print(render_terminal(findings))
    print(f"report: {page}")
    bad = [t for t in frozen.trials if standing(StudyPaths(root).trial(t)).verdict == "failed"]
    if bad:
        say(f"{len(bad)} of {len(frozen.trials)} trials failed for good; reasons: ablate status {root}")
    return FAILED if bad else OK


def say(line: str) -> None:
    """A line for people; standard output belongs to results."""
    print(line, file=sys.stderr, flush=True)
