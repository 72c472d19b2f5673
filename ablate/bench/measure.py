"""Timing: interleaved rounds, wall and CPU seconds, medians and spreads; a matrix product of the same run.

On a shared machine CPU seconds are the steadier clock; on a GPU only the wall counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ablate.bench.subjects import Subject


@dataclass(frozen=True)
class Timing:
    """Seconds of one step, wall and CPU, one entry per round."""

    wall: list[float]
    cpu: list[float]

    def seconds(self, clock: str) -> float:
        """The median over rounds."""
        return statistics.median(getattr(self, clock))

    def spread(self, clock: str) -> float:
        """Half the distance between the quartiles over the median; 0 with fewer than three rounds."""
        return spread(getattr(self, clock))


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles over the median; 0 of fewer than three values."""
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


@dataclass(frozen=True)
class Split:
    """Where a step's seconds go: medians over rounds."""

    forward: float
    backward: float
    optimizer: float


def timed(act: Callable[[], object], times: int) -> tuple[float, float]:
    """Wall and CPU seconds of one `act`, the mean over `times`."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        act()
    return (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times


def first_step(subject: Subject) -> float:
    """Wall seconds until the first step is done: compilation and memory; the steady state comes after."""
    started = time.perf_counter()
    subject.step()
    subject.synchronize()
    return time.perf_counter() - started


def interleaved(subjects: Sequence[Subject], rounds: int, steps: int) -> list[Timing]:
    """Each subject's steps, in turns, every other round backwards, so that a drift meets all alike."""
    found = [Timing([], []) for _ in subjects]
    for subject in subjects:
        subject.step()  # a second warm-up: optimizers make their state in the first
        subject.synchronize()
    order = list(range(len(subjects)))
    for turn in range(rounds):
        for i in order if turn % 2 == 0 else order[::-1]:
            wall, cpu = timed(lambda s=subjects[i]: run(s, steps), 1)  # type: ignore[misc]
            found[i].wall.append(wall / steps)
            found[i].cpu.append(cpu / steps)
    return found


def run(subject: Subject, steps: int) -> None:
    """Steps, and the wait for the device after the last."""
    for _ in range(steps):
        subject.step()
    subject.synchronize()


def split(subject: Subject, rounds: int, clock: str) -> Split:
    """Seconds of forward, backward and update, the device waited for between them."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    parts: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        marks = [now()]
        loss = subject.loss()
        subject.synchronize()
        marks.append(now())
        subject.backward(loss)
        subject.synchronize()
        marks.append(now())
        subject.update()
        subject.synchronize()
        marks.append(now())
        parts.append((marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]))
    return Split(*(statistics.median(column) for column in zip(*parts, strict=True)))


def step(subject: Subject, clock: str, micro_batches: int = 1) -> tuple[float, float]:
    """Seconds of a micro-batch, forward and backward, the mean of those of one step, and of its update."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    begun = now()
    for _ in range(micro_batches):
        subject.backward(subject.loss())
    subject.synchronize()
    half = now()
    subject.update()
    subject.synchronize()
    return (half - begun) / micro_batches, now() - half


def product_rate(dtype: torch.dtype, device: torch.device, clock: str, rounds: int = 5) -> float:
    """FLOP/s of the best of a few large square products in `dtype`: what the device can multiply."""
    best = 0.0
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for size in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

        def act(a: torch.Tensor = a, b: torch.Tensor = b) -> None:
            torch.matmul(a, b)
            wait()

        timed(act, 3)
        seconds = [timed(act, 5)[1 if clock == "cpu" else 0] for _ in range(rounds)]
        best = max(best, 2 * size**3 / statistics.median(seconds))
    return best
