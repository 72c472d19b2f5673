"""Where a study stands, from files alone: right while it runs, after it died, and from a read-only copy.

Imports neither torch nor optuna.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.budget import Budget, Spent
from ablate.records import FrozenStudy, StudyPaths, TrialPaths, read_json, read_study, settled
from ablate.records.store import NewerError, RecordError
from ablate.scheduling.lock import Holder, holder
from ablate.tracking.online import has_run, looks_whole, mark, seen_online

WAITING, RUNNING, PAUSED, UNREADABLE = "waiting", "running", "paused", "unreadable"
SILENT = 120.0  # seconds without a heartbeat after which another machine's trial is taken for dead


@dataclass(frozen=True)
class TrialStatus:
    """One trial. `state` is waiting, running, paused (was started, will resume), unreadable (its record
    cannot be used) or its record's.
    """

    trial: str
    arm: str
    block: int
    state: str
    reason: str = ""
    phase: str | None = None
    progress: float = 0.0  # share of the phase while running, of the budget otherwise
    loss: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None  # until the phase ends
    outcome: float | None = None
    spent: dict[str, float] = field(default_factory=dict)
    attempts: int = 0
    sync: str = ""  # how to bring what W&B lacks of it there; empty where it lacks nothing


@dataclass(frozen=True)
class StudyStatus:
    """A study at one moment."""

    name: str
    question: str
    root: Path
    metric: str
    coordinator: dict[str, Any] | None  # {host, pid, alive}; None when none runs
    trials: list[TrialStatus]
    eta_seconds: float | None
    adds: bool = False  # trials will still be added: a search draws, or a verdict is open
    died: str = ""  # who ran it last without giving it back, and why that one is taken for dead
    imported: bool = False  # nobody says what its runs used, but where they say it

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are in which state."""
        return dict(Counter(t.state for t in self.trials))

    @property
    def failed(self) -> list[TrialStatus]:
        return [t for t in self.trials if t.state not in (WAITING, RUNNING, PAUSED, "complete", "pruned")]

    def spent(self, key: str) -> float:
        """Seconds, occupied, tokens, steps or flops of all trials together."""
        return sum(float(t.spent.get(key) or 0.0) for t in self.trials)

    def recorded(self, key: str) -> float | None:
        """The same; None where no imported run says it."""
        return self.spent(key) or (None if self.imported else 0.0)

    def to_dict(self) -> dict[str, Any]:
        keys = ("seconds", "occupied", "steps", "tokens", "flops")
        # Not `asdict`: it copies deeply, which takes longer than reading 10,000 records.
        return {
            **vars(self),
            "root": str(self.root),
            "counts": self.counts,
            "spent": {k: self.spent(k) for k in keys},
            "trials": [vars(t) for t in self.trials],
        }


def status(root: Path) -> StudyStatus:
    """Read a run folder. Raises RecordError when it holds no study."""
    frozen, paths = read_study(root), StudyPaths(root)
    coordinator, died = _coordinator(paths)
    # Imported runs say nothing of their budget.
    budgets = {arm.name: Budget(**arm.budget) if arm.budget else Budget("steps", 0) for arm in frozen.arms}
    online = seen_online(root)
    trials = [
        _trial(
            paths.trial(trial),
            trial,
            arm,
            block,
            budgets[arm],
            frozen,
            coordinator is not None,
            online.get(trial),
        )
        for trial, (arm, block) in frozen.trials.items()
    ]
    eta = _eta(trials, budgets, int(frozen.run.get("workers") or 0))
    adds = not settled(frozen, root)
    return StudyStatus(
        frozen.name, frozen.question, root, frozen.outcome["metric"], coordinator, trials,
        None if adds else eta, adds, died, imported=frozen.charge == "not recorded",
    )  # fmt: skip


def _coordinator(paths: StudyPaths) -> tuple[dict[str, Any] | None, str]:
    """Who runs the study: asked of this machine, else judged by the lock file, which its holder touches.

    Or None, and who died while running it.
    """
    owner = holder(paths.lock)
    if owner is None:
        return None, ""
    alive, who = owner.alive(), f"process {owner.pid} on {owner.host}"
    if alive is False:
        return None, f"{who} is gone"
    silent = time.time() - paths.lock.stat().st_mtime
    if alive is None and silent > SILENT:
        return None, f"{who} gave no sign of life for {silent / 60:.0f} minutes"
    return {"host": owner.host, "pid": owner.pid, "alive": alive}, ""


def _trial(
    paths: TrialPaths,
    trial: str,
    arm: str,
    block: int,
    budget: Budget,
    frozen: FrozenStudy,
    watched: bool,
    online: str | None,
) -> TrialStatus:
    """One trial, `watched` by a living coordinator; `online` is the mark at which a sync saw it whole."""
    owner = holder(paths.lock) if _size(paths.lock) else None  # an ended trial leaves an empty lock
    record, damage = _record(paths) if owner is None or not owner.alive() else ({}, "")
    beat = _read(paths.progress) if owner is not None or "state" not in record else {}
    tried = [] if "state" in record else _read(paths.attempts).get("attempts", [])
    if owner is not None and _runs(owner, beat):
        return TrialStatus(
            trial, arm, block, RUNNING, phase=beat.get("phase", "starting"),
            progress=beat.get("progress") or 0.0,
            loss=beat.get("loss"), tokens_per_second=beat.get("tokens_per_second"),
            eta_seconds=beat.get("eta_seconds"), spent=beat.get("spent") or {}, attempts=len(tried),
        )  # fmt: skip
    sync = _sync(paths, frozen, record, online)
    if "state" in record:
        kept = record.get("metrics")
        metrics = kept if isinstance(kept, dict) else {}  # a damaged record: the report names it
        return TrialStatus(
            trial, arm, block, record["state"], record.get("reason", ""), progress=1.0,
            outcome=_number(metrics.get(frozen.outcome["metric"])),
            tokens_per_second=metrics.get("throughput/tokens_per_second"),
            loss=_number(metrics.get("pretrain/loss")),
            spent=record.get("spent") or {}, attempts=len(record.get("attempts", ())),
            sync=sync,
        )  # fmt: skip
    if damage:
        return TrialStatus(trial, arm, block, UNREADABLE, damage, attempts=len(tried), sync=sync)
    if not tried and not beat:
        return TrialStatus(trial, arm, block, WAITING, sync=sync)
    if watched and tried and tried[-1].get("ended") is None:
        phase = "queued" if paths.placement.exists() else "starting"
        return TrialStatus(trial, arm, block, RUNNING, phase=phase, attempts=len(tried))
    spent = beat.get("spent") or {}
    used = budget.progress(
        Spent(**{k: v for k, v in spent.items() if k in Spent.__annotations__}),
        "occupied" if frozen.charge == "occupied" else "training",
    )
    return TrialStatus(
        trial, arm, block, PAUSED, "resumes from its checkpoint on the next run", progress=used,
        spent=spent, attempts=len(tried), sync=sync,
    )  # fmt: skip


def _sync(paths: TrialPaths, frozen: FrozenStudy, record: dict[str, Any], online: str | None) -> str:
    """How to send what W&B lacks of a trial that nobody is at work on; empty where it lacks nothing."""
    finished = str(record.get("finished") or "") if record else None
    tracking = record.get("tracking") or {}
    if not has_run(frozen, paths) or looks_whole(tracking, mark(paths, finished), online):
        return ""
    return shlex.join(["ablate", "sync", os.path.relpath(paths.root.parent.parent)])


def _record(paths: TrialPaths) -> tuple[dict[str, Any], str]:
    """What a trial's record holds, and why it cannot be used; neither where it has none."""
    try:
        return read_json(paths.record), ""
    except NewerError as error:
        told = f"{error}; `ablate run` refuses the study meanwhile"
    except RecordError as error:
        told = f"{error}; the next run does the trial again" if paths.record.exists() else ""
    return {}, told.replace(f"{paths.record} ", "record ")


def _runs(owner: Holder, beat: dict[str, Any]) -> bool:
    """Whether a process is at work on the trial: asked of this machine, else judged by its heartbeat."""
    alive = owner.alive()
    if alive is None:
        return time.time() - float(beat.get("updated") or 0.0) < SILENT
    return alive


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _eta(trials: list[TrialStatus], budgets: dict[str, Budget], workers: int) -> float | None:
    """Seconds until the study is done, from what finished trials took; None before anything is known.

    Before one has finished, a trial takes its budget at least, and what one at work has taken and expects.
    """
    took = [float(t.spent["occupied"]) for t in trials if t.state == "complete" and t.spent.get("occupied")]
    longest = max((_occupied(t) + (t.eta_seconds or 0.0) for t in trials if t.state == RUNNING), default=0.0)
    open_ = [t for t in trials if t.state in (WAITING, RUNNING, PAUSED)]
    if not open_:
        return 0.0

    def whole(t: TrialStatus) -> float | None:
        if took:
            return sum(took) / len(took)
        return max(longest, budgets[t.arm].amount) if budgets[t.arm].unit == "seconds" else None

    left = 0.0
    for t in open_:
        size = whole(t)
        if size is None:
            return None
        left += max(t.eta_seconds or 0.0, size - _occupied(t), 0.0)
    running = sum(t.state == RUNNING for t in trials)
    return left / max(workers, running, 1)


def _occupied(trial: TrialStatus) -> float:
    """Seconds of the machine so far."""
    return float(trial.spent.get("occupied") or 0.0)


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except RecordError:
        return {}


def _number(value: Any) -> float | None:
    """A metric as a number; records spell non-finite ones as text."""
    return None if value is None else float(value)
