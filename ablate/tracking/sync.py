"""`ablate sync`: brings what stayed on this disk to the W&B server, under each trial's own run.

What is sent is what the trial itself wrote (its live curve, its record), not the SDK's files: those of a
killed attempt are torn or empty, and the SDK's command sends a run that is online already a second time. The
server says how far a run has come, so a row is sent once, however often this is called and wherever it was
cut off.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ablate.records import FrozenStudy, Record, StudyPaths, TrialPaths, load_records, read_study
from ablate.tracking.config import WandbSpec, project_name
from ablate.tracking.interface import Kept, RunInfo
from ablate.tracking.names import final, run_id
from ablate.tracking.wandb import Wandb, obstacle

SECONDS_PER_RUN = 300.0  # for the end of a run, in which checkpoints go up


class SyncError(ValueError):
    """Nothing could be brought online; the message says why and the way out."""


@dataclass(frozen=True)
class Synced:
    """Trials by what became of their runs; a trial whose lock is held still writes, and waits."""

    uploaded: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    said: str = ""  # why those that failed did


def sync(root: Path) -> Synced:
    """Send what the server lacks. Raises SyncError before anything is sent when nothing can be."""
    study = read_study(root)
    found, damage = load_records(root)
    records = {record.trial: record for record in found}
    waiting, already, running = sort(root, list(study.trials), records)
    if not waiting:
        return Synced(already=already, running=running)
    why = obstacle()
    if why:
        raise SyncError(f"nothing was sent: {why}")
    broken = {each.path.parent.name: each.reason for each in damage}
    uploaded: list[str] = []
    said: dict[str, str] = {}  # trial → why it did not arrive
    for trial in waiting:
        said_now = broken.get(trial) or _send(root, study, trial, records.get(trial))
        if said_now is None:
            uploaded.append(trial)
            continue
        said[trial] = said_now
        if why := obstacle():
            said |= {left: why for left in waiting if left not in uploaded and left not in said}
            break
    return Synced(uploaded, list(said), already, running, "\n".join(dict.fromkeys(said.values())))


def sort(
    root: Path, trials: list[str], records: Mapping[str, Record]
) -> tuple[list[str], list[str], list[str]]:
    """Trials with something to send, those that are online already, and those that still write."""
    from ablate.scheduling.lock import held

    waiting, already, running = [], [], []
    for trial in trials:
        paths = StudyPaths(root).trial(trial)
        folders = run_folders(paths)
        if not folders:
            continue
        if held(paths.lock):
            running.append(trial)
        elif _went_online(records.get(trial)) or all(_synced(folder) for folder in folders):
            already.append(trial)
        else:
            waiting.append(trial)
    return waiting, already, running


def run_folders(paths: TrialPaths) -> list[Path]:
    """The SDK's folders of a trial, oldest first: `offline-run-<time>-<id>`, or `run-<time>-<id>`."""
    found = [*paths.wandb.glob("offline-run-*"), *paths.wandb.glob("run-*")]
    return sorted((f for f in found if f.is_dir()), key=lambda f: f.name.removeprefix("offline-"))


def run_ids(study: FrozenStudy, records: Mapping[str, Record]) -> dict[str, str]:
    """Trial → the id of its run. A run that went online keeps the id that it has there, by its record."""
    return {
        trial: str(records[trial].tracking["wandb"]["id"])
        if _shown_online(records.get(trial))
        else run_id(trial, study.name, study.created)
        for trial in study.trials
    }


def _shown_online(record: Record | None) -> bool:
    return record is not None and record.tracking.get("wandb", {}).get("mode") == "online"


def _went_online(record: Record | None) -> bool:
    """Whether a trial's tracker saw the whole run arrive; it leaves a way to `sync` where it did not."""
    return record is not None and _shown_online(record) and "sync" not in record.tracking


def _synced(folder: Path) -> bool:
    return any(folder.glob("*.wandb.synced"))


def _send(root: Path, study: FrozenStudy, trial: str, record: Record | None) -> str | None:
    """Bring one trial's run up to what is on this disk; the reason when that fails."""
    paths = StudyPaths(root).trial(trial)
    spec = WandbSpec.model_validate(study.track.get("wandb") or {})
    project = spec.project or project_name(study.name)
    arm_name, block = study.trials[trial]
    arm = next(arm for arm in study.arms if arm.name == arm_name)
    run = RunInfo(
        id=run_ids(study, {trial: record} if record else {})[trial], directory=paths.root,
        project=project, group=study.name, job_type=arm.name, name=f"{arm.name}/{block}",
        config={**arm.recipe, "budget": arm.budget, "seed": study.blocks[block], "block": block},
        tags=(arm.phase, *spec.tags),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ablate-sync-") as aside:
        online = spec.model_copy(update={"mode": "online", "project": project})
        tracker = Wandb(online, files=Path(aside), patience=SECONDS_PER_RUN)
        tracker.start(run)
        if record is not None:
            tracker.summary(final(record.metrics, record.scores, record.spent))
            tracker.keep(Kept(paths.predictions, paths.checkpoint, record.data))
        tracker.finish("interrupted" if record is None else record.state)
    if tracker.warnings:
        return "; ".join(tracker.warnings)
    for folder in run_folders(paths):  # as the SDK's command marks a folder that has arrived
        (folder / f"run-{run.id}.wandb.synced").touch()
    return None
