"""The coordinator: starts every trial that is still to do, watches, retries, and writes down how each ended.

It decides from files (`study.json`, records, attempts) and is the only writer of the Optuna study, so it can
die at any moment: the next one adopts trials that still run and continues the others from their checkpoints.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ablate.budget import Budget
from ablate.records import FrozenStudy, Record, StudyPaths, TrialPaths, read_json, write_json
from ablate.records.store import RecordError
from ablate.scheduling import StorageLostError, attempts
from ablate.scheduling.attempts import ENDED_WELL, INTERRUPTED, RETRIES, Standing, standing
from ablate.scheduling.executors.base import DISK_FULL, HELD, OVER_MEMORY, RESUMABLE, UNKNOWN, Executor, Job
from ablate.scheduling.watchdog import Limits, Outage, Watch, over_memory, progress_of
from ablate.streams import streams


class Trials(Protocol):
    """What the coordinator needs of the storage."""

    @property
    def frozen(self) -> FrozenStudy: ...  # with what was added since the start

    def sync(self, standings: dict[str, Standing]) -> None: ...
    def next(self) -> str | None: ...
    def claim(self, trial: str) -> None: ...
    def tell(self, trial: str, record: Record) -> None: ...
    def prunes(self, trial: str, progress: Callable[[], Mapping[str, Any]]) -> str: ...


@dataclass(frozen=True)
class Change:
    """A trial changed its state."""

    trial: str
    arm: str
    block: int
    state: str  # running, complete, retrying, interrupted, or the state of a failure
    reason: str = ""


@dataclass
class _Running:
    job: Job
    watch: Watch
    ending: tuple[str, str] | None = None  # (state, reason) when the watchdog ended it


@dataclass
class Coordinator:
    """Runs what is left of a study; `run` returns when nothing is left or a stop was asked for."""

    frozen: FrozenStudy
    root: Path
    executor: Executor
    queue: Trials
    on_change: Callable[[Change], None] = lambda change: None
    on_tick: Callable[[], None] = lambda: None
    on_notice: Callable[[str], None] = lambda text: None
    limits: Limits = field(default_factory=Limits)
    again: bool = False  # give failures whose retries are used up another chance
    task: dict[str, Any] = field(default_factory=dict)  # added to every task.json
    poll_seconds: float = 0.2
    grace_seconds: float = 60.0  # from asking trials to checkpoint to ending them
    free_bytes: int = 256 * 2**20
    storage_patience: float = 600.0  # seconds to wait for a storage that went away, when nothing else is left
    on_alive: Callable[[], None] = lambda: None  # called every few seconds: a sign of life

    def __post_init__(self) -> None:
        self.paths = StudyPaths(self.root)
        self.running: dict[str, _Running] = {}
        self.stopping = ""  # why, once a stop was asked for
        self._retry: list[str] = []
        self._failed: set[str] = set()
        self._asked = 0  # stops asked for: the second is impatient
        self._since = 0.0  # when trials were asked to stop
        self._arms = {arm.name: arm for arm in self.frozen.arms}
        self._outage = Outage()
        self._alive_at = 0.0

    def stop(self, why: str) -> None:
        """Let trials checkpoint and end; asked twice, end them at once. Safe in a signal handler."""
        self.stopping = self.stopping or why
        self._asked += 1

    def run(self) -> None:
        """Run or resume everything that is open."""
        standings = self._standings()
        self.queue.sync(standings)
        for trial in (t for t, found in standings.items() if not found.final):
            self._adopt(trial)
        last = time.monotonic()
        while self._busy():
            # A plain sleep. What a signal handler could wake can hang: an Event, whose lock the interrupted
            # wait may hold; a SimpleQueue, whose `get` never ends once SIGSTOP has outlasted its timeout.
            time.sleep(self.poll_seconds)
            tick, last = time.monotonic() - last, time.monotonic()
            try:
                self._poll(tick)
            except OSError as error:  # a full disk, most likely: what is running checkpoints where it can
                self.stop(f"{self.root} cannot be written to: {error}")
            self._check_disk()
            self._stop_if_asked()
            self._sign_of_life()
            self.on_tick()

    def _standings(self) -> dict[str, Standing]:
        self._refresh()
        standings = {t: standing(self.paths.trial(t), again=self.again) for t in self.frozen.trials}
        self._failed = {t for t, found in standings.items() if found.verdict == "failed"}
        return standings

    def _sign_of_life(self) -> None:
        if time.monotonic() - self._alive_at > 5.0:
            self._alive_at = time.monotonic()
            self.on_alive()

    @property
    def failed(self) -> list[str]:
        """Trials that failed for good, so far."""
        return sorted(self._failed)

    def _busy(self) -> bool:
        if not self.stopping and (not self._outage.lasts or self._reconnected()):
            try:
                self._fill()
            except StorageLostError as error:
                self._lost(error)
            except OSError as error:
                self.stop(f"{self.root} cannot be written to: {error}")
        return bool(self.running) or (self._outage.lasts and not self.stopping)

    # --- a storage that goes away ----------------------------------------------------------------------

    def _lost(self, error: StorageLostError) -> None:
        """Trials go on and leave records; starting others waits until the storage is back."""
        if not self._outage.lasts:
            self.on_notice(f"the storage does not answer ({error}); trials go on, and it is tried again")
        self._outage.begin()

    def _reconnected(self) -> bool:
        """Whether the storage is back; then what happened meanwhile is told from the records."""
        if not self._outage.due():
            return False
        try:
            self.queue.sync(self._standings())
            for trial in (*self.running, *self._retry):
                self.queue.claim(trial)
        except StorageLostError as error:
            if not self.running and self._outage.seconds > self.storage_patience:
                self.stop(f"the storage does not answer: {error}")
            return False
        self._outage.end()
        self.on_notice("the storage answers again")
        return True

    # --- starting ------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start trials on every free slot."""
        taken = {r.job.slot for r in self.running.values()}
        for slot in range(self.executor.workers):
            if slot in taken or len(self.running) >= self.executor.workers:
                continue
            trial = self._retry.pop(0) if self._retry else self._next()
            if trial is None:
                break
            self._start(trial, slot)

    def _next(self) -> str | None:
        """The queue's next trial; it may belong to an arm that was added just now."""
        trial = self.queue.next()
        self._refresh()
        return trial

    def _refresh(self) -> None:
        """See what the queue added to the study."""
        if self.queue.frozen is not self.frozen:
            self.frozen = self.queue.frozen
            self._arms = {arm.name: arm for arm in self.frozen.arms}

    def _start(self, trial: str, slot: int) -> None:
        paths = self.paths.trial(trial)
        write_json(paths.task, self._task(trial))
        attempts.end(paths, INTERRUPTED, "its coordinator or the machine went down")
        attempts.begin(paths)
        paths.progress.unlink(missing_ok=True)
        self.running[trial] = _Running(self.executor.submit(paths, slot), self._watch(trial))
        self._tell(trial, "running")

    def _adopt(self, trial: str) -> bool:
        job = self.executor.adopt(self.paths.trial(trial))
        if job is None:
            return False
        self.queue.claim(trial)
        self.running[trial] = _Running(job, self._watch(trial))
        self._tell(trial, "running", "already runs; watching it")
        return True

    def _watch(self, trial: str) -> Watch:
        arm = self._arms[self.frozen.trials[trial][0]]
        return Watch(self.paths.trial(trial), Budget(**arm.budget), self.frozen.charge, self.limits)

    def _task(self, trial: str) -> dict[str, Any]:
        """What the trial process is asked to do."""
        name, block = self.frozen.trials[trial]
        arm = self._arms[name]
        return {
            "study": self.frozen.name,
            "created": self.frozen.created,
            "trial": trial,
            "arm": name,
            "block": block,
            "seed": self.frozen.blocks[block],
            "replicate": arm.replicate,
            "phase": arm.phase,
            "recipe": arm.recipe,
            "budget": arm.budget,
            "charge": self.frozen.charge,
            "evaluate": self.frozen.evaluate,
            "track": self.frozen.track,
            "data_cache": str(self.paths.data.resolve()),
            **self._smaller(trial),
            **self.task,
        }

    def _smaller(self, trial: str) -> dict[str, int]:
        """After a GPU ran out of memory: the micro-batch to go on with, half of what was too large."""
        paths = self.paths.trial(trial)
        record = attempts.valid_record(paths)
        if record is not None and record.state == "out-of-memory" and record.retry:
            return {"micro_batch": int(record.chosen["train.micro_batch"]) // 2}
        before = task_of(paths).get("micro_batch")  # an attempt in between was lost
        return {"micro_batch": before} if before else {}

    # --- watching ------------------------------------------------------------------------------------

    def _poll(self, tick: float) -> None:
        for trial, entry in list(self.running.items()):
            status = entry.job.poll()
            if status is not None:
                del self.running[trial]
                self._ended(trial, entry, status)
            elif entry.ending is None and not entry.job.waiting:
                entry.ending = self._verdict(trial, entry, tick)
                if entry.ending:
                    entry.job.kill()

    def _verdict(self, trial: str, entry: _Running, tick: float) -> tuple[str, str] | None:
        """Why a trial must end now, as a state and a reason, or None."""
        reason = entry.watch.verdict(tick)
        if reason:
            return "timeout", reason
        reason = entry.watch.over_memory(entry.job.memory, tick)
        if reason:
            return "out-of-memory", reason
        reason = self.queue.prunes(trial, lambda: progress_of(self.paths.trial(trial)))
        return ("pruned", reason) if reason else None

    def _ended(self, trial: str, entry: _Running, status: int) -> None:
        paths = self.paths.trial(trial)
        record = attempts.valid_record(paths)
        if record is None and status == HELD and self._readopt(trial):
            return
        state, reason = (
            (record.state, record.reason) if record else self._without_record(paths, entry, status)
        )
        attempts.end(paths, state, reason)
        if status == DISK_FULL and record is None:
            self.stop(f"the disk of {self.root} is full; free some and run again")
        if state == INTERRUPTED:
            self._tell(trial, INTERRUPTED, reason)
            self._retry.append(trial)
        elif state != "complete" and attempts.failed(paths, state) <= (
            attempts.allowed(record) if record else 0 if state == "out-of-memory" else RETRIES.get(state, 0)
        ):
            self._tell(trial, "retrying", f"{state}: {reason}")
            self._retry.append(trial)
        else:
            self._close(trial, record or self._record(trial, state, reason))

    def _readopt(self, trial: str) -> bool:
        job = self.executor.adopt(self.paths.trial(trial))
        if job is not None:
            self.running[trial] = _Running(job, self._watch(trial))
        return job is not None

    def _without_record(self, paths: TrialPaths, entry: _Running, status: int) -> tuple[str, str]:
        """State and reason of an attempt that left no record."""
        if entry.ending:
            return entry.ending
        if status == OVER_MEMORY:
            return "out-of-memory", over_memory(self.limits)
        if status == DISK_FULL:
            return INTERRUPTED, "the disk is full; it resumes from its checkpoint"
        stopped = progress_of(paths).get("stopped")
        if status == RESUMABLE or (status in (UNKNOWN, HELD) and stopped):
            return INTERRUPTED, "stopped on request; it resumes from its checkpoint"
        if self.stopping and status < 0:
            return INTERRUPTED, "ended while the study was being stopped"
        return "lost", f"the process {_how(status)} and left no record{_last_words(paths)}"

    def _close(self, trial: str, record: Record) -> None:
        if record.state not in ENDED_WELL:
            self._failed.add(trial)
        try:
            self.queue.tell(trial, record)
        except StorageLostError as error:
            self._lost(error)  # the record is safe, and told when the storage is back
        self._tell(trial, record.state, record.reason)

    def _record(self, trial: str, state: str, reason: str) -> Record:
        """The record of a trial that could not write its own."""
        paths, task = self.paths.trial(trial), self._task(trial)
        tried = attempts.attempts(paths)
        record = Record.model_validate(
            {
                "schema": 1,
                **{
                    k: task[k]
                    for k in ("study", "trial", "arm", "block", "seed", "recipe", "budget", "charge")
                },
                "state": state,
                "reason": reason,
                "retry": state != "out-of-memory",  # it takes as much the next time
                "streams": streams(task["seed"]),
                "started": tried[0]["started"] if tried else "",
                "finished": attempts.now(),
                "attempts": tried,
                "spent": progress_of(paths).get("spent") or {},
            }
        )
        write_json(paths.record, record)
        return record

    # --- stopping ------------------------------------------------------------------------------------

    def _stop_if_asked(self) -> None:
        """Once politely; then, when asked again or out of patience, for good."""
        if not self.stopping:
            return
        if not self._since:
            self._since = time.monotonic()
            for entry in self.running.values():
                entry.job.stop()
        elif self._asked > 1 or time.monotonic() - self._since > self.grace_seconds:
            for entry in self.running.values():
                entry.job.kill()

    def _check_disk(self) -> None:
        if not self.stopping and shutil.disk_usage(self.root).free < self.free_bytes:
            left = shutil.disk_usage(self.root).free / 2**20
            self.stop(
                f"the disk of {self.root} is nearly full ({left:.0f} MiB left); free some and run again"
            )

    def _tell(self, trial: str, state: str, reason: str = "") -> None:
        arm, block = self.frozen.trials[trial]
        self.on_change(Change(trial, arm, block, state, reason))


@contextmanager
def stop_on_signals(coordinator: Coordinator) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask for a stop instead of raising somewhere in the middle."""

    def ask(number: int, frame: FrameType | None) -> None:
        coordinator.stop(f"{signal.Signals(number).name} received")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def task_of(paths: TrialPaths) -> dict[str, Any]:
    """What the trial process was asked last, or nothing."""
    try:
        return read_json(paths.task)
    except RecordError:
        return {}


def _how(status: int) -> str:
    if status == UNKNOWN:
        return "ended while no coordinator watched"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _last_words(paths: TrialPaths, size: int = 600) -> str:
    """The end of the trial's log, for the reason of a lost trial."""
    try:
        text = paths.log.read_bytes()[-size:].decode(errors="replace").strip()
    except OSError:
        return ""
    return f"; its log ends: {text}" if text else ""
