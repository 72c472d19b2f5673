"""`slurm`: trials as jobs of a Slurm cluster, by submitit. A time limit or a preemption queues them again.

The run folder must lie where every node sees it. Jobs outlive their coordinator; the next one finds them by
their numbers, running or still waiting.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from ablate.knobs import Config
from ablate.records import TrialPaths, write_json
from ablate.scheduling import RefusedError
from ablate.scheduling.executors.base import Executor, Job, Places
from ablate.scheduling.executors.local import threads_environment
from ablate.scheduling.executors.supervise import Supervised, SupervisedJob, fresh, placement

AT_ONCE = 64  # jobs in Slurm's queue where a study does not say
NOTICE = 120  # seconds between Slurm's warning and its time limit: one checkpoint of the largest recipe


class SlurmSpec(Config):
    """Jobs of a Slurm cluster."""

    kind: Literal["slurm"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    minutes: int = Field(240, ge=1)  # a job's time limit; a trial that needs longer is queued again
    setup: tuple[str, ...] = ()  # shell lines before a trial, such as `module load cuda`
    options: dict[str, str | int | bool] = Field(default_factory=dict)  # further #SBATCH options
    # `local` runs jobs as processes of this machine: to try a study file where there is no Slurm.
    cluster: Literal["slurm", "local"] = "slurm"

    def build(self, places: Places) -> SlurmExecutor:
        """Raises RefusedError when submitit or Slurm is missing, or Slurm has no place for one trial."""
        try:
            submitit = importlib.import_module("submitit")
        except ImportError:
            raise RefusedError(
                "run.executor: slurm needs the extra of that name: pip install 'ablate-bert[slurm]'"
            ) from None
        if self.cluster == "slurm":
            _check(self.partition, places)
        return SlurmExecutor(self, places, submitit, places.workers or AT_ONCE)


@dataclass
class SlurmExecutor(Executor):
    """At most `workers` jobs in the queue at once."""

    spec: SlurmSpec
    places: Places
    submitit: Any
    workers: int
    queue: _Squeue = field(default_factory=lambda: _Squeue())

    @property
    def threads_each(self) -> int:  # type: ignore[override]
        return self.places.threads or (8 if self.places.gpus else 1)

    def submit(self, paths: TrialPaths, slot: int) -> Job:
        fresh(paths)
        supervised = Supervised(
            str(paths.root.resolve()), self.places.command, self._environment(slot), self.places.memory_bytes
        )
        job = self._executor(paths).submit(supervised)
        self.queue.add(str(job.job_id))
        write_json(paths.placement, {"executor": "slurm", "job": job.job_id})
        return self._job(paths, slot, job.job_id, job)

    def adopt(self, paths: TrialPaths) -> Job | None:
        number = str(placement(paths).get("job") or "")
        if not number or placement(paths).get("executor") != "slurm" or self.spec.cluster != "slurm":
            return None
        job = self._job(paths, 0, number, None)
        return None if job.gone() else job

    def describe(self) -> str:
        where = f"partition {self.spec.partition}" if self.spec.partition else "its default partition"
        return f"Slurm, {where}, {self.spec.minutes} min a job"

    def _job(self, paths: TrialPaths, slot: int, number: str, job: Any) -> SupervisedJob:
        if self.spec.cluster == "local":
            return SupervisedJob(paths, slot, gone=job.done, cancel=job.cancel)
        return SupervisedJob(
            paths, slot, gone=lambda: self.queue.gone(number), cancel=lambda: _scancel(number)
        )

    def _executor(self, paths: TrialPaths) -> Any:
        folder = paths.root.resolve().parent.parent / "jobs"
        if self.spec.cluster == "local":
            local = self.submitit.LocalExecutor(folder=folder)
            local.update_parameters(timeout_min=self.spec.minutes, signal_delay_s=NOTICE)
            return local
        made = self.submitit.SlurmExecutor(folder=folder, max_num_timeout=10_000)
        gpus, memory = self.places.gpus, self.places.memory_gib
        optional = {
            "partition": self.spec.partition, "account": self.spec.account, "qos": self.spec.qos,
            "constraint": self.spec.constraint, "gpus_per_node": gpus or None,
            "mem": None if memory is None else f"{int(memory * 1024 + 512)}MB",  # and the supervisor's
            "setup": list(self.spec.setup) or None,
        }  # fmt: skip
        made.update_parameters(
            job_name=f"ablate-{paths.root.name}"[:64],
            time=self.spec.minutes,
            cpus_per_task=self.threads_each,
            signal_delay_s=min(NOTICE, 30 * self.spec.minutes),
            stderr_to_stdout=True,
            additional_parameters={"requeue": True, **self.spec.options},
            **{key: value for key, value in optional.items() if value is not None},
        )
        return made

    def _environment(self, slot: int) -> dict[str, str]:
        changes = {**threads_environment(self.threads_each), "ABLATE_SLOT": str(slot)}
        return changes if self.places.gpus else {**changes, "CUDA_VISIBLE_DEVICES": ""}


@dataclass
class _Squeue:
    """The jobs that Slurm knows, asked for all trials at once and at most every few seconds."""

    every: float = 5.0
    _asked: float = -1e9
    _known: set[str] = field(default_factory=set)

    def gone(self, number: str) -> bool:
        """Whether Slurm has ended a job. A Slurm that does not answer has ended none."""
        if time.monotonic() - self._asked > self.every:
            listed = _ask("squeue", "--noheader", "--me", "--states=all", "--format=%A %T")
            if listed is None:
                return False
            self._asked = time.monotonic()
            lines = [line.split() for line in listed.splitlines() if line.strip()]
            self._known = {name for name, state in lines if state not in _OVER}
        return number not in self._known

    def add(self, number: str) -> None:
        """A job that was submitted after the last question."""
        self._known.add(number)


_OVER = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT",
}  # fmt: skip


def _check(partition: str | None, places: Places) -> None:
    """Refuse what Slurm would leave waiting for ever."""
    if shutil.which("sbatch") is None:
        raise RefusedError(
            "run.executor: slurm: there is no sbatch on this machine; run on a login node of the cluster"
        )
    asked = ["sinfo", "--noheader", "--format=%P %G"]
    listed = _ask(*asked, *(["--partition", partition] if partition else []))
    if listed is None:
        raise RefusedError("run.executor: slurm: the cluster does not answer; try `sinfo`")
    if not listed.strip():
        known = _ask("sinfo", "--noheader", "--format=%R") or ""
        raise RefusedError(
            f"run.executor: slurm: there is no partition '{partition}'; there are "
            f"{', '.join(sorted(set(known.split()))) or 'none'}"
        )
    if places.gpus and "gpu" not in listed:
        raise RefusedError(
            "the Slurm cluster has no GPUs there and each trial asks for "
            f"{places.gpus}; choose another partition, or set run.gpus_per_trial: 0 to train on "
            "CPUs"
        )


def _ask(*command: str) -> str | None:
    """What a command of Slurm says, or None when it does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _scancel(number: str) -> None:
    _ask("scancel", number)
