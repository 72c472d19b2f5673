"""Where trials run: `local` on this machine, `ray` on a cluster, `slurm` by its queue. One file each.

An executor knows places (GPUs, CPU slots, nodes), never designs or retries of a failed trial; those are the
coordinator's. Importing this package imports neither ray nor submitit.
"""

from __future__ import annotations

from typing import Annotated

from ablate.knobs import one_of
from ablate.scheduling.executors.base import HELD, OVER_MEMORY, RESUMABLE, UNKNOWN, Executor, Job, Places
from ablate.scheduling.executors.local import AdoptedJob, LocalExecutor, LocalSpec, visible_gpus
from ablate.scheduling.executors.ray import RaySpec
from ablate.scheduling.executors.slurm import SlurmSpec

ExecutorSpec = Annotated[LocalSpec | RaySpec | SlurmSpec, one_of]

__all__ = [
    "HELD", "OVER_MEMORY", "RESUMABLE", "UNKNOWN", "AdoptedJob", "Executor", "ExecutorSpec", "Job",
    "LocalExecutor", "LocalSpec", "Places", "RaySpec", "SlurmSpec", "visible_gpus",
]  # fmt: skip
