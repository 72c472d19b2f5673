"""`local`: one subprocess per trial on this machine, on a GPU of its own or on its share of the cores."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ablate.knobs import Config
from ablate.records import FrozenStudy, TrialPaths
from ablate.records.provenance import cpu_flags, cpu_model
from ablate.scheduling import RefusedError, processes
from ablate.scheduling.executors.base import COMMAND, HELD, RESUMABLE, UNKNOWN, Executor, Job, Places
from ablate.scheduling.lock import Holder, held, holder
from ablate.words import each_once


class LocalSpec(Config):
    """Subprocesses of this machine."""

    kind: Literal["local"] = "local"

    def build(self, places: Places) -> LocalExecutor:
        """One worker per GPU, or, without GPUs, one per four cores unless the study says otherwise.

        Raises RefusedError when the study insists on GPUs that are not there, or on more trials at once than
        there are GPUs, or cores without GPUs.
        """
        gpus = [] if places.gpus_per_trial == 0 else visible_gpus()
        if places.gpus_per_trial and not gpus:
            raise RefusedError(
                "each trial asks for a GPU (run.gpus_per_trial: 1) and none is visible here; look with "
                "`ablate doctor`, set it to 0 to train on CPUs, or leave it out to take what there is"
            )
        cores = len(os.sched_getaffinity(0))
        workers = places.workers or len(gpus) or max(1, cores // 4)
        if places.at_most and (gpus or places.pin):
            workers = min(workers, len(gpus) or cores)
        if not gpus and places.pin and workers > cores:
            raise RefusedError(
                f"each trial needs a core of its own, or its clock counts the others' work; {workers} "
                f"workers were asked for and {cores} cores are usable; use --workers {cores}, or set "
                "run.pin: false to let trials share cores"
            )
        return LocalExecutor(
            workers, gpus=gpus, threads=places.threads, pin=places.pin, command=places.command,
            asked=places.workers or workers,
        )  # fmt: skip


def without_gpu(study: FrozenStudy) -> list[str]:
    """Arms whose precision exists on GPUs alone: each would fail hours after the start, at its turn."""
    return _by_precision(study, lambda cls: cls.gpu_only, "needs a GPU, and none is visible here: {}")


def emulated(study: FrozenStudy) -> list[str]:
    """Arms whose precision a CPU computes at another speed; what is emulated anywhere says so itself."""
    return _by_precision(
        study,
        lambda cls: cls.emulated_on_cpu,
        "is emulated on CPUs ({}): its speed is no claim; compare it at equal tokens or steps, or train "
        "where there is such a GPU",
    )


def slow_products(study: FrozenStudy, flags: Collection[str], cpu: str) -> list[str]:
    """Arms whose products have 16 bits where a CPU has only 32, which costs far more than it saves.

    Without AVX-512 or AMX (x86) or the bf16 extension (Arm), torch falls back to scalar code: on an EPYC with
    AVX2 `ablate doctor` measured 1 GFLOP/s in bf16 and 131 in fp32. Flags unknown: silent.
    """
    if not flags or {"avx512f", "amx_bf16", "bf16"} & set(flags):
        return []
    return _by_precision(
        study,
        lambda cls: cpu if cls.sixteen_bits else "",
        "is many times slower than fp32 on this CPU ({}), which has no 16-bit arithmetic; train where there "
        "is some, or take `train.precision: fp32` (`ablate doctor` measures both)",
    )


def _by_precision(study: FrozenStudy, why: Callable[[Any], str], says: str) -> list[str]:
    """What to say of the arms that train in a precision whose class has a reason for it."""
    from ablate.model.precision import PRECISIONS  # free of torch, but `status` needs none of it

    reasons = {cls().kind: why(cls) for cls in PRECISIONS}
    found: list[tuple[str, str]] = []
    for arm in study.arms:
        kind = str(arm.recipe.get("train", {}).get("precision", {}).get("kind"))
        if arm.budget.get("amount") and reasons.get(kind):
            found.append((arm.name, f"train.precision {kind} {says.format(reasons[kind])}"))
    return each_once(found)


@dataclass
class LocalJob(Job):
    """A child process, leader of its own session, so that Ctrl-C reaches the coordinator alone."""

    process: subprocess.Popen[bytes]
    slot: int
    trial: Path

    def poll(self) -> int | None:
        if self.process.returncode is None and processes.ended(self.process.pid):
            # Before it is reaped, so that the group is surely its own: nothing of it may outlive it.
            processes.signal_group(self.process.pid, signal.SIGKILL)
            if self.process.poll() not in (0, RESUMABLE, HELD):
                processes.end_left(self.trial)
        return self.process.poll()

    def stop(self) -> None:
        processes.signal_process(self.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        processes.signal_group(self.process.pid, signal.SIGKILL)

    def memory(self) -> int | None:
        return processes.memory(self.process.pid)


@dataclass
class AdoptedJob(Job):
    """A trial of a coordinator that died: it lives for as long as somebody holds its lock."""

    owner: Holder
    slot: int
    lock: Path

    def poll(self) -> int | None:
        if held(self.lock):
            return None
        if self.owner.here:
            processes.end_left(self.lock.parent)
        return UNKNOWN

    def stop(self) -> None:
        if self.owner.alive():
            processes.signal_process(self.owner.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.owner.alive():
            processes.signal_group(self.owner.pid, signal.SIGKILL)

    def memory(self) -> int | None:
        return processes.memory(self.owner.pid) if self.owner.alive() else None


@dataclass
class LocalExecutor(Executor):
    """One subprocess per trial, `workers` at once."""

    workers: int
    gpus: Sequence[str] = ()  # device ids as CUDA_VISIBLE_DEVICES spells them; empty: CPU
    threads: int | None = None  # per trial; None: cores // workers
    command: Sequence[str] = COMMAND
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    pin: bool = False  # each CPU trial to cores of its own
    asked: int = 0  # workers that the study would have, were there room

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
                env=self._environment(slot, paths.root),
                start_new_session=True,
            )
        return LocalJob(process, slot, paths.root)

    def adopt(self, paths: TrialPaths) -> Job | None:
        return adopt(paths)

    def describe(self) -> str:
        return f"{len(self.gpus)} GPUs" if self.gpus else f"CPU, {self.threads_each} threads each"

    def refusals(self, study: FrozenStudy) -> list[str]:
        return [] if self.gpus else without_gpu(study)

    def cautions(self, study: FrozenStudy) -> list[str]:
        fewer = [] if self.workers >= self.asked else [
            f"run.workers asks for {self.asked} trials at once; here {self.workers} run, one per "
            + ("GPU" if self.gpus else "core")
        ]  # fmt: skip
        if self.gpus:
            return fewer
        return [*fewer, *emulated(study), *slow_products(study, cpu_flags(), cpu_model())]

    @property
    def threads_each(self) -> int:  # type: ignore[override]
        """Compute threads of one trial: its share of the cores this process may use."""
        share = self.threads or max(1, len(os.sched_getaffinity(0)) // self.workers)
        asked = self.environment.get("OMP_NUM_THREADS", "")
        return min(share, int(asked)) if asked.isdigit() and int(asked) > 0 else share

    def cores(self, slot: int) -> list[int]:
        """The cores of a slot; none when trials share them anyway or one has the machine to itself."""
        free, each = sorted(os.sched_getaffinity(0)), self.threads_each
        if not self.pin or self.gpus or self.workers == 1 or self.workers * each > len(free):
            return []
        return free[slot * each : (slot + 1) * each]

    def _environment(self, slot: int, trial: Path = Path()) -> dict[str, str]:
        changes = {**threads_environment(self.threads_each), "ABLATE_SLOT": str(slot)}
        changes["CUDA_VISIBLE_DEVICES"] = self.gpus[slot] if self.gpus else ""
        mine = processes.environment_for(trial, cores=self.cores(slot))
        return {**self.environment, **changes, **mine}


def adopt(paths: TrialPaths) -> AdoptedJob | None:
    """The job of whoever holds a trial's lock; None, and nothing left of it, when nobody does."""
    while held(paths.lock):
        owner = holder(paths.lock)
        if owner is not None:
            return AdoptedJob(owner, int(owner.extra.get("slot", 0)), paths.lock)
        time.sleep(0.01)  # between taking the lock and writing its name a process is anonymous
    owner = holder(paths.lock)
    if owner is not None and owner.here:  # it died with its coordinator; its children may not have
        processes.end_left(paths.root)
    return None


def threads_environment(threads: int) -> dict[str, str]:
    """Compute threads of a trial process, for every library that starts some."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # Spinning threads of one trial would steal the cores of the next: 2x slower when oversubscribed.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }


def visible_gpus() -> list[str]:
    """Device ids that trials may use, without starting CUDA: the environment's list, or the driver's."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        return [d for d in asked.split(",") if d.strip() and d.strip() != "-1"]
    devices = [p for p in Path("/dev").glob("nvidia*") if p.name.removeprefix("nvidia").isdigit()]
    return [str(i) for i in range(len(devices))]
