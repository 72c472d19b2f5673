"""`ray`: trials as tasks of a Ray cluster. Placement, queueing and retries after a lost node are Ray's.

The run folder must lie where every node sees it. A trial of a lost node goes on elsewhere from its
checkpoint. Ray ends the tasks of a driver that died, so a killed coordinator leaves none to adopt: the next
one waits until they are gone and starts them again from their checkpoints.
"""

from __future__ import annotations

import importlib
import os
import socket
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from ablate.knobs import Config
from ablate.records import TrialPaths, write_json
from ablate.scheduling import RefusedError
from ablate.scheduling.executors.base import Executor, Job, Places
from ablate.scheduling.executors.local import adopt, threads_environment
from ablate.scheduling.executors.supervise import Supervised, SupervisedJob, fresh


class RaySpec(Config):
    """Tasks of a Ray cluster."""

    kind: Literal["ray"] = "ray"
    address: str | None = None  # None: RAY_ADDRESS, else a cluster of this machine alone; or auto, host:port
    retries: int = Field(8, ge=0)  # of a trial whose node or worker was lost

    def build(self, places: Places) -> RayExecutor:
        """Connect. Raises RefusedError when there is no Ray, no cluster, or no room for one trial."""
        ray = _import()
        try:
            _connect(ray, self.address)
        except (ConnectionError, ValueError, RuntimeError, OSError, ray.exceptions.RayError) as error:
            where = self.address or os.environ.get("RAY_ADDRESS") or "this machine"
            raise RefusedError(
                f"run.executor: no Ray cluster at {where}: {_first_line(error)}; start one with `ray start "
                "--head`, or leave the address out for a cluster of this machine alone"
            ) from None
        try:
            return RayExecutor(ray, places, self.retries, _workers(ray.cluster_resources(), places))
        except RefusedError:
            ray.shutdown()
            raise


@dataclass
class RayExecutor(Executor):
    """At most `workers` trials handed to Ray at once."""

    ray: Any
    places: Places
    retries: int
    workers: int
    _task: Any = field(init=False)

    def __post_init__(self) -> None:
        gpus, memory = self.places.gpus, self.places.memory_bytes
        self._task = self.ray.remote(
            num_cpus=self.threads_each,
            num_gpus=gpus,
            max_retries=self.retries,
            **({} if memory is None else {"memory": memory}),
        )(_supervise)

    @property
    def threads_each(self) -> int:  # type: ignore[override]
        return self.places.threads or 1

    def submit(self, paths: TrialPaths, slot: int) -> Job:
        fresh(paths)
        write_json(paths.placement, {"executor": "ray", "job": ""})
        supervised = Supervised(
            str(paths.root.resolve()), self.places.command, self._environment(slot), self.places.memory_bytes
        )
        ref = self._task.remote(supervised)
        return SupervisedJob(paths, slot, gone=lambda: self._gone(ref), cancel=lambda: self._cancel(ref))

    def adopt(self, paths: TrialPaths) -> Job | None:
        return adopt(paths)

    def describe(self) -> str:
        nodes = sum(bool(node["Alive"]) for node in self.ray.nodes())
        each = f"{self.places.gpus} GPU" if self.places.gpus else "CPU"
        return f"Ray, {nodes} node{'s' if nodes != 1 else ''}, {each} each"

    def close(self) -> None:
        self.ray.shutdown()

    def _environment(self, slot: int) -> dict[str, str]:
        changes = {**threads_environment(self.threads_each), "ABLATE_SLOT": str(slot)}
        return changes if self.places.gpus else {**changes, "CUDA_VISIBLE_DEVICES": ""}

    def _gone(self, ref: Any) -> bool:
        """Whether Ray has ended the task: it returned, was cancelled, or used up its retries."""
        return bool(self.ray.wait([ref], timeout=0)[0])

    def _cancel(self, ref: Any) -> None:
        self.ray.cancel(ref, force=True)


def _supervise(supervised: Supervised) -> int:
    return supervised()


def _import() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise RefusedError(
            "run.executor: ray needs the extra of that name: pip install 'ablate-bert[ray]'"
        ) from None


def _connect(ray: Any, address: str | None) -> None:
    # Ray would report usage statistics, and copy this folder to its workers' Python path by itself.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        # Ray itself tries for minutes.
        socket.create_connection((host, int(port)), timeout=10).close()
    shared = {key: os.environ[key] for key in ("PYTHONPATH", "ABLATE_DATA") if key in os.environ}
    ray.init(
        address=address,
        runtime_env={"env_vars": shared} if shared else None,
        include_dashboard=None if address else False,
        log_to_driver=False,
        configure_logging=True,
        logging_level="ERROR",
    )


def _workers(has: dict[str, float], places: Places) -> int:
    """How many trials the cluster holds at once. Raises RefusedError when that is none, or too few."""
    gpus, cpus = has.get("GPU", 0.0), has.get("CPU", 0.0)
    each = places.threads or 1
    if places.gpus and gpus < places.gpus:
        raise RefusedError(
            f"the Ray cluster has {gpus:g} GPUs and each trial asks for {places.gpus}; connect to "
            "one with GPUs, or set run.gpus_per_trial: 0 to train on CPUs"
        )
    room = min(int(cpus // each), int(gpus // places.gpus) if places.gpus else 10**6)
    if places.workers and places.gpus and places.workers > room:
        raise RefusedError(
            f"each trial needs a GPU and {each} CPUs of its own; {places.workers} workers were asked for and "
            f"the Ray cluster has room for {room}; use --workers {room}"
        )
    if room < 1:
        raise RefusedError(
            f"each trial asks for {each} CPUs and the Ray cluster has {cpus:g}; lower run.threads"
        )
    return places.workers or room


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
