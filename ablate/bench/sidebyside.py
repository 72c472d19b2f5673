"""Steps of two processes at the same time against one alone, in turns, each on a core of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any

from ablate.bench.errors import BenchError
from ablate.recipe import Recipe

PROCESSES = 2
SECONDS = 4.0  # of each turn
FLOOR = 0.9  # of twice one trial's throughput


@dataclass(frozen=True)
class Parallel:
    """Steps per second of one process, medians over rounds: alone, and with the other beside it."""

    processes: int
    alone: float
    together: float
    alone_cpu: float  # steps per CPU-second, which the work of others on the machine disturbs less
    together_cpu: float

    @property
    def kept(self) -> float:
        """Share of `processes` times one's throughput that they have together."""
        return self.together / self.alone

    @property
    def kept_cpu(self) -> float:
        return self.together_cpu / self.alone_cpu

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "kept": self.kept, "kept_cpu": self.kept_cpu}


Rates = tuple[float, float]  # steps per second and per CPU-second


def parallel(
    recipe: Recipe, rounds: int, tell: Callable[[str], None] = lambda text: None, seconds: float = SECONDS
) -> Parallel | None:
    """One-thread steps of a recipe alone and side by side; None with fewer than two usable cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < PROCESSES:
        return None
    workers = [_Worker(core, recipe) for core in cores[:PROCESSES]]
    try:
        for worker in workers:
            worker.answer()  # that it is ready
        alone: list[Rates] = []
        together: list[Rates] = []
        for turn in range(rounds):
            tell(f"side by side, round {turn + 1} of {rounds}")
            for each in [workers[:1], workers] if turn % 2 == 0 else [workers, workers[1:]]:
                (alone if len(each) == 1 else together).extend(_run(each, seconds))
    finally:
        for worker in workers:
            worker.end()
    return Parallel(PROCESSES, *(_median(runs, i) for i in (0, 1) for runs in (alone, together)))


def _median(runs: Sequence[Rates], which: int) -> float:
    return median(rates[which] for rates in runs)


def _run(workers: Sequence[_Worker], seconds: float) -> list[Rates]:
    for worker in workers:
        worker.ask(seconds)
    return [(found[0], found[1]) for found in (worker.answer() for worker in workers)]


class _Worker:
    """A process on a core of its own, which takes steps for as long as it is asked to."""

    def __init__(self, core: int, recipe: Recipe) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ablate.bench.sidebyside", str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask(recipe.model_dump(mode="json"))

    def ask(self, what: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # the answer will say so

    def answer(self) -> list[float]:
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if not said:
            raise BenchError("a process beside the bench ended; what it said stands above")
        found: list[float] = json.loads(said)
        return found

    def end(self) -> None:
        """Its input is closed, which it ends by."""
        self.process.communicate()


def _work(core: int) -> None:
    """Read a recipe, then seconds for which to take steps; answer with steps per second and CPU-second."""
    import torch

    from ablate.bench.subjects import ours, size_of
    from ablate.training.memory import keep_freed_memory

    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    keep_freed_memory()
    recipe = Recipe.model_validate_json(sys.stdin.readline())
    subject = ours(recipe, *size_of(recipe), torch.device("cpu"))
    subject.step()
    subject.step()
    print([], flush=True)
    for line in iter(sys.stdin.readline, ""):
        steps, begun, cpu = 0, perf_counter(), process_time()
        while perf_counter() - begun < float(line):
            subject.step()
            steps += 1
        print([steps / (perf_counter() - begun), steps / (process_time() - cpu)], flush=True)


if __name__ == "__main__":
    _work(int(sys.argv[1]))
