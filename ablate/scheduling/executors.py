"""Where trials run: the executor interface, and `local`, one subprocess per trial on this machine.

An executor knows places (GPUs, CPU slots), never designs or retries; those are the coordinator's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablate.records import TrialPaths
from ablate.scheduling import RefusedError
from ablate.scheduling.lock import Holder, held, holder

RESUMABLE = 75  # the trial checkpointed and stopped on request (EX_TEMPFAIL)
HELD = 73  # another process is running this very trial
UNKNOWN = 256  # the process ended and was not ours to wait for

COMMAND = (sys.executable, "-m", "ablate.scheduling.trial")


class Job(ABC):
    """A trial process somewhere."""

    slot: int

    @abstractmethod
    def poll(self) -> int | None:
        """The exit status (negative: a signal), or None while it runs."""

    @abstractmethod
    def stop(self) -> None:
        """Ask it to checkpoint and end."""

    @abstractmethod
    def kill(self) -> None:
        """End it now, with all its children."""


class Executor(ABC):
    """Places trials and hands out jobs; `ray` and `slurm` implement the same three verbs."""

    workers: int

    @abstractmethod
    def submit(self, paths: TrialPaths, slot: int) -> Job:
        """Start the trial whose task lies in the folder, on a slot below `workers`."""

    @abstractmethod
    def adopt(self, paths: TrialPaths) -> Job | None:
        """The job of a trial that already runs, started by an earlier coordinator; None when it does not."""


@dataclass
class LocalJob(Job):
    """A child process, leader of its own session, so that Ctrl-C reaches the coordinator alone."""

    process: subprocess.Popen[bytes]
    slot: int

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        _signal_process(self.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        _signal_group(self.process.pid, signal.SIGKILL)


@dataclass
class AdoptedJob(Job):
    """A trial of a coordinator that died: watched by pid and start time until it ends."""

    owner: Holder
    slot: int

    def poll(self) -> int | None:
        return None if self.owner.alive() else UNKNOWN

    def stop(self) -> None:
        if self.owner.alive():
            _signal_process(self.owner.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.owner.alive():
            _signal_group(self.owner.pid, signal.SIGKILL)


@dataclass
class LocalExecutor(Executor):
    """One subprocess per trial, `workers` at once, each on a GPU of its own or on a share of the cores."""

    workers: int
    gpus: Sequence[str] = ()  # device ids as CUDA_VISIBLE_DEVICES spells them; empty: CPU
    threads: int | None = None  # per trial; None: cores // workers
    command: Sequence[str] = COMMAND
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        if self.gpus and self.workers > len(self.gpus):
            raise RefusedError(
                f"each trial needs a GPU of its own; {self.workers} workers were asked for and "
                f"{len(self.gpus)} GPUs are visible; use --workers {len(self.gpus)}"
            )

    def submit(self, paths: TrialPaths, slot: int) -> Job:
        with open(paths.log, "ab") as log:
            process = subprocess.Popen(
                [*self.command, str(paths.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(slot),
                start_new_session=True,
            )
        return LocalJob(process, slot)

    def adopt(self, paths: TrialPaths) -> Job | None:
        while held(paths.lock):
            owner = holder(paths.lock)
            if owner is not None and owner.alive() is not False:
                return AdoptedJob(owner, int(owner.extra.get("slot", 0)))
            time.sleep(0.01)  # between taking the lock and writing its name a process is anonymous
        return None

    @property
    def threads_each(self) -> int:
        """Compute threads of one trial: its share of the cores this process may use."""
        share = self.threads or max(1, len(os.sched_getaffinity(0)) // self.workers)
        asked = self.environment.get("OMP_NUM_THREADS", "")
        return min(share, int(asked)) if asked.isdigit() and int(asked) > 0 else share

    def _environment(self, slot: int) -> dict[str, str]:
        threads = str(self.threads_each)
        changes = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "ABLATE_SLOT": str(slot)}
        # Spinning threads of one trial would steal the cores of the next: 2x slower when oversubscribed.
        changes["OMP_WAIT_POLICY"] = "PASSIVE"
        changes["CUDA_VISIBLE_DEVICES"] = self.gpus[slot] if self.gpus else ""
        return {**self.environment, "PYTHONUNBUFFERED": "1", **changes}


def visible_gpus() -> list[str]:
    """Device ids that trials may use, without starting CUDA: the environment's list, or the driver's."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        return [d for d in asked.split(",") if d.strip() and d.strip() != "-1"]
    devices = [p for p in Path("/dev").glob("nvidia*") if p.name.removeprefix("nvidia").isdigit()]
    return [str(i) for i in range(len(devices))]


def _signal_process(pid: int, what: signal.Signals) -> None:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return


def _signal_group(pid: int, what: signal.Signals) -> None:
    try:
        os.killpg(pid, what)
    except ProcessLookupError:
        return
