"""What the coordinator asks of an executor, and the exit statuses of a trial process."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ablate.records import FrozenStudy, TrialPaths

RESUMABLE = 75  # the trial checkpointed and stopped on request (EX_TEMPFAIL)
HELD = 73  # another process is running this very trial
OVER_MEMORY = 76  # ended because it used more memory than it may
DISK_FULL = 74  # nothing could be written (EX_IOERR); what was, stays
UNKNOWN = 256  # the process ended and was not ours to wait for

COMMAND = (sys.executable, "-m", "ablate.scheduling.trial")


@dataclass(frozen=True)
class Places:
    """What a study asks of the machines, whatever executor finds them."""

    workers: int | None = None  # trials at once; None: as many as there is room for
    gpus_per_trial: int | None = 1  # None: one where this machine has any; of a cluster it asks for one
    threads: int | None = None  # compute threads of a trial on a CPU
    memory_gib: float | None = None  # of a trial with all its children
    pin: bool = True
    command: Sequence[str] = COMMAND
    at_most: bool = False  # fewer workers will do where there are fewer GPUs, or cores without GPUs

    @property
    def gpus(self) -> int:
        """GPUs that each trial asks a cluster for."""
        return 1 if self.gpus_per_trial is None else self.gpus_per_trial

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory_gib is None else int(self.memory_gib * 2**30)


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

    @property
    def waiting(self) -> bool:
        """Whether it has no place to run yet, so that its silence means nothing."""
        return False

    def memory(self) -> int | None:
        """Bytes that it and its children hold; None where its node looks after that."""
        return None


class Executor(ABC):
    """Places trials and hands out jobs."""

    workers: int
    threads_each: int  # compute threads of one trial

    @abstractmethod
    def submit(self, paths: TrialPaths, slot: int) -> Job:
        """Start the trial whose task lies in the folder, on a slot below `workers`."""

    @abstractmethod
    def adopt(self, paths: TrialPaths) -> Job | None:
        """The job of a trial that already runs, started by an earlier coordinator; None when it does not."""

    @abstractmethod
    def describe(self) -> str:
        """Where trials run, in a few words."""

    def refusals(self, study: FrozenStudy) -> list[str]:
        """What of this study cannot run in its places, each with the way out; it is not begun."""
        return []

    def cautions(self, study: FrozenStudy) -> list[str]:
        """What its places will do to this study; a study is never refused for it."""
        return []

    def close(self) -> None:  # noqa: B027  most have nothing to give back
        """Give back what the executor started for itself."""
