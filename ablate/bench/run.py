"""Where a bench runs, and what is told of every run."""

from __future__ import annotations

import datetime
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ablate.bench.errors import BenchError
from ablate.records.provenance import provenance
from ablate.training.memory import keep_freed_memory


def place(device: str | None, threads: int | None) -> torch.device:
    """The device that was asked for, by default a GPU where there is one; a CPU is made as a trial makes it.

    `threads`: on a CPU; None leaves them. Raises BenchError.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if where.type == "cuda" and not torch.cuda.is_available():
        raise BenchError("--device cuda needs a CUDA device and there is none; leave --device out")
    if where.type == "cpu":
        keep_freed_memory()
        if threads:
            torch.set_num_threads(threads)
    return where


def name_of(device: torch.device) -> str:
    """`cpu`, or the GPU's own."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def command() -> str:
    """As it was typed."""
    return "ablate " + " ".join(sys.argv[1:])


def clock_of(device: torch.device) -> str:
    """`cpu` or `wall`: on a GPU only the wall counts, and on a shared CPU its own seconds are steadier."""
    return "cpu" if device.type == "cpu" else "wall"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every report tells of the run it is of."""

    precision: str
    device: str
    threads: int
    clock: str  # cpu or wall: what seconds, rates and ratios are read from
    load: list[float]  # the machine's load average at the end
    date: str
    command: str
    provenance: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def circumstances(device: torch.device, clock: str, precision: str) -> dict[str, Any]:
    """The fields of a `Run`, at its end."""
    return {
        "precision": precision,
        "device": name_of(device),
        "threads": torch.get_num_threads(),
        "clock": clock,
        "load": [round(value, 2) for value in os.getloadavg()],
        "date": datetime.date.today().isoformat(),
        "command": command(),
        "provenance": provenance(),
    }
