"""`ablate bench precision`: what a first and a later step cost in every precision, and their memory.

Each measurement is a process of its own, because memory that was used once stays with a process; the
precisions take turns, so that a machine's moods fall on all alike. Seconds are the process's own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from ablate.bench.errors import BenchError
from ablate.knobs import replace
from ablate.model.precision import PRECISIONS
from ablate.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """Of one precision: medians over the rounds."""

    precision: str
    support: str  # native, or emulated and why
    first_step: float  # CPU seconds
    step: float  # CPU seconds, of those after it
    memory_mib: float  # the most that model, optimizer and steps held beyond the imports


Measured = tuple[float, float, float]


def costs(
    recipe: Recipe, *, rounds: int, steps: int, rows: int, vocabulary: int, tell: Callable[[str], None]
) -> tuple[list[Cost], list[str]]:
    """Every precision that this CPU can have, uncompiled, on one thread; and why it cannot have others."""
    if not hasattr(os, "fork"):
        raise BenchError(
            "bench precision forks a process per measurement, which this system has not; use Linux"
        )
    import torch

    import ablate.bench.subjects  # noqa: F401  before the fork, so that no process counts its memory

    torch.set_num_threads(1)
    arms: dict[str, Recipe] = {}
    support: dict[str, str] = {}
    without: list[str] = []
    for cls in PRECISIONS:
        precision = cls()
        arm = replace(recipe, {"train.precision": precision, "train.compile": False})
        found, problems = precision.supported("cpu"), arm.problems()
        if not found.ok or problems:
            without.append(f"{precision.kind}: {'; '.join(problems) or found.reason}")
            continue
        arms[precision.kind] = arm
        support[precision.kind] = f"emulated: {found.reason}" if found.emulated else "native"
    seen: dict[str, list[Measured]] = {name: [] for name in arms}
    for round_ in range(rounds):
        for name, arm in arms.items():
            tell(f"round {round_ + 1} of {rounds}: {name}")
            seen[name].append(_apart(lambda arm=arm: _measure(arm, steps, rows, vocabulary)))  # type: ignore[misc]
    table = []
    for name, values in seen.items():
        first, later, memory = (median(column) for column in zip(*values, strict=True))
        table.append(Cost(name, support[name], first, later, memory))
    return table, without


def _measure(recipe: Recipe, steps: int, rows: int, vocabulary: int) -> Measured:
    import torch

    from ablate.bench.subjects import ours

    before = _resident()
    subject = ours(recipe, rows, vocabulary, torch.device("cpu"))
    taken = []
    for _ in range(steps + 1):
        begun = time.process_time()
        subject.step()
        taken.append(time.process_time() - begun)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return taken[0], median(taken[1:]), most - before


def _resident() -> float:
    """MiB that this process holds now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _apart(act: Callable[[], Measured]) -> Measured:
    """The result of `act` in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        code = 1
        try:
            with os.fdopen(write, "w") as file:
                json.dump(act(), file)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    if status or not said:
        raise BenchError("a measurement ended without a result; what it said stands above")
    first, later, memory = json.loads(said)
    return first, later, memory


def markdown(table: list[Cost], without: list[str]) -> str:
    """For documents."""
    lines = [
        "| precision | first step, CPU s | later steps, CPU s | memory, MiB | arithmetic here |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.precision} | {c.first_step:.2f} | {c.step:.2f} | {c.memory_mib:.0f} | {c.support} |"
        for c in table
    ]
    return "\n".join([*lines, "", *(f"Not here: {line}." for line in without)])
