"""Where a bench runs, and what is told of every run."""

from __future__ import annotations

import datetime
import os
import sys
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


def circumstances() -> dict[str, Any]:
    """Fields of every report, at its end: load average, date, command, provenance."""
    return {
        "load": [round(value, 2) for value in os.getloadavg()],
        "date": datetime.date.today().isoformat(),
        "command": command(),
        "provenance": provenance(),
    }
