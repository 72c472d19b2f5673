"""`ablate sync`: brings what stayed on this disk to the W&B server, under each trial's own run.

What is sent is what the trial itself wrote (its live curve, its record), not the SDK's files: those of a
killed attempt are torn or empty, and the SDK's command sends a run that is online already a second time. The
server says which runs it has, how far each has come and how it ended; neither the record nor a mark on this
disk is believed: a key that was revoked while a trial ran, a renamed project or a second machine make both
wrong. So a row is sent once, however often this is called and wherever it was cut off.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ablate.records import FrozenStudy, Record, StudyPaths, load_records, read_study
from ablate.tracking.config import WandbSpec, project_name
from ablate.tracking.interface import Kept, RunInfo
from ablate.tracking.live import rows
from ablate.tracking.names import final, run_id
from ablate.tracking.online import has_run, mark, note_online, tracked
from ablate.tracking.runs import NoProjectError, TrackedRun, read_runs
from ablate.tracking.wandb import Wandb, answered, default_entity, end_service, obstacle

SECONDS_PER_RUN = 300.0  # for the end of a run, in which checkpoints go up
INTERRUPTED = "interrupted"


class SyncError(ValueError):
    """Nothing could be brought online; the message says why and the way out."""


@dataclass(frozen=True)
class Synced:
    """Trials by what became of their runs; one that a process is at work on still writes, and waits."""

    uploaded: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    said: str = ""  # why those that failed did


def sync(root: Path, tell: Callable[[str], None] = lambda line: None) -> Synced:
    """Send what the server lacks; `tell` hears of each run that takes its time.

    Raises SyncError before anything is sent when nothing can be.
    """
    study = read_study(root)
    found, damage = load_records(root)
    records = {record.trial: record for record in found}
    begun, running = _begun(root, study)
    if not begun:
        return Synced(running=running)
    if why := obstacle():
        raise SyncError(f"nothing was sent: {why}")
    online, ids = _online(study), run_ids(study, records)
    already = [t for t in begun if _whole(root, t, records.get(t), online.get(ids[t]))]
    waiting = [trial for trial in begun if trial not in already]
    marks = {t: mark(StudyPaths(root).trial(t), records[t].finished if t in records else None) for t in begun}
    broken = {each.path.parent.name: each.reason for each in damage}
    uploaded: list[str] = []
    said: dict[str, str] = {}  # trial → why it did not arrive
    for place, trial in enumerate(waiting, 1):
        tell(f"sending {trial} ({place} of {len(waiting)})")
        said_now = broken.get(trial) or _send(root, study, trial, records.get(trial))
        if said_now is None:
            uploaded.append(trial)
            continue
        said[trial] = said_now
        if trial not in broken and (why := obstacle()):
            said |= {left: why for left in waiting if left not in uploaded and left not in said}
            break
    with contextlib.suppress(OSError):  # a study on a disk that is read alone: status asks for a sync again
        note_online(root, {t: marks[t] for t in (*already, *uploaded)})
    return Synced(uploaded, list(said), already, running, "\n".join(dict.fromkeys(said.values())))


def _begun(root: Path, study: FrozenStudy) -> tuple[list[str], list[str]]:
    """The trials of a tracked study that have something to send, and those that still write it."""
    from ablate.scheduling.status import RUNNING, status

    if not tracked(study):
        return [], []
    running = [t.trial for t in status(root).trials if t.state == RUNNING]
    begun = [t for t in study.trials if t not in running and has_run(study, StudyPaths(root).trial(t))]
    return begun, running


def _online(study: FrozenStudy) -> dict[str, TrackedRun]:
    """The study's runs on the server, by id. Raises SyncError."""
    spec = _spec(study)
    try:
        with answered(SyncError):
            entity = spec.entity or default_entity()
        if not entity:
            raise SyncError(
                "nothing was sent: the login has no default team; name one under track.wandb.entity"
            )
        return {run.id: run for run in read_runs(f"{entity}/{spec.project}", study.name)}
    except NoProjectError:
        return {}  # the first run makes it
    except ValueError as error:
        raise SyncError(f"nothing was sent: {error}") from error


def _whole(root: Path, trial: str, record: Record | None, run: TrackedRun | None) -> bool:
    """Whether the server has everything of a trial. A copy that is behind the server brings nothing."""
    if run is None:
        return False
    steps = [int(row["step"]) for row in rows(StudyPaths(root).trial(trial).live)[-1:]]
    arrived = run.step >= max(steps, default=-1)
    return arrived and (run.ended == record.state if record else run.ended is not None)


def _spec(study: FrozenStudy) -> WandbSpec:
    """The study's section, online and with its project."""
    spec = WandbSpec.model_validate(study.track["wandb"])
    return spec.model_copy(update={"mode": "online", "project": spec.project or project_name(study.name)})


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


def _send(root: Path, study: FrozenStudy, trial: str, record: Record | None) -> str | None:
    """Bring one trial's run up to what is on this disk; the reason when that fails."""
    paths = StudyPaths(root).trial(trial)
    spec = _spec(study)
    arm_name, block = study.trials[trial]
    arm = next(arm for arm in study.arms if arm.name == arm_name)
    run = RunInfo.of_trial(
        study=study.name, created=study.created, trial=trial, arm=arm.name, block=block, directory=paths.root,
        config={**arm.recipe, "budget": arm.budget, "seed": study.blocks[block], "block": block},
        tags=(arm.phase, *spec.tags), project=spec.project,
    )  # fmt: skip
    run = replace(run, id=run_ids(study, {trial: record} if record else {})[trial])
    with tempfile.TemporaryDirectory(prefix="ablate-sync-") as aside:
        tracker = Wandb(spec, files=Path(aside), patience=SECONDS_PER_RUN)
        try:
            tracker.start(run)
            if record is not None:
                tracker.summary(final(record.metrics, record.scores, record.spent))
                tracker.keep(Kept(paths.predictions, paths.checkpoint, record.data))
            tracker.finish(INTERRUPTED if record is None else record.state)
        except KeyboardInterrupt:
            end_service()
            raise
    return "; ".join(tracker.warnings) or None
