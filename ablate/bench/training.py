"""`ablate bench`: training steps of a recipe against peers, interleaved in one process."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ablate.bench import measure
from ablate.bench.errors import BenchError
from ablate.bench.run import Run, circumstances, clock_of, place
from ablate.bench.subjects import Subject, changed, ours, peer, peers, size_of
from ablate.recipe import Recipe

CONVENTION = (
    "model FLOPs: 2 per multiply-accumulate, backward twice the forward, attention scores included, head and "
    "decoder at predicted positions only, nothing recomputed"
)


@dataclass(frozen=True)
class Row:
    """What was measured of one subject."""

    name: str
    parameters: int
    flops_per_token: float
    tokens_per_step: int
    tokens_per_second: float  # wall
    tokens_per_cpu_second: float
    spread: float  # half the quartile distance of the step's seconds over their median
    flops_per_second: float  # model FLOPs, on the clock of the report
    mfu: float  # of the product rate measured in this run
    first_step_seconds: float  # compilation included
    forward: float  # seconds
    backward: float
    optimizer: float
    relative: float  # tokens per second over ours, on the clock of the report
    relative_per_flop: float


@dataclass(frozen=True, kw_only=True)
class Report(Run):
    """One run of the bench."""

    recipe: str
    micro_batch: int
    length: int
    vocabulary: int
    rounds: int
    steps: int
    product_flops_per_second: float
    peak_memory_gib: float  # of the process, or of the GPU, with our subject alone
    convention: str
    rows: list[Row]
    left_out: list[str]  # peers that could not be run, and why


def bench(
    recipe: Recipe,
    name: str,
    *,
    device: str | None = None,
    rows: int | None = None,
    vocabulary: int | None = None,
    threads: int | None = 1,
    rounds: int = 5,
    steps: int = 2,
    with_peers: bool = False,
    compiled: bool | None = None,
    precision: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Measure a recipe's training step, and with peers theirs. Raises BenchError.

    Both of our compiler settings are measured unless `compiled` picks one.
    """
    where = place(device, threads)
    clock = clock_of(where)
    recipe = changed(recipe, precision=precision)
    require_possible(recipe, where)
    size, words = size_of(recipe, rows, vocabulary)
    made: list[tuple[Subject, float]] = []
    for setting in [True, False] if compiled is None else [compiled]:
        subject: Subject = ours(changed(recipe, compiled=setting), size, words, where)
        tell(f"first step of {subject.name}")
        made.append((subject, measure.first_step(subject)))
    memory = _peak_memory_gib(where)
    left_out: list[str] = []
    for which in peers(where.type) if with_peers else []:
        tell(f"first step of transformers {which.title}")
        subject = peer(which, recipe, size, words, where)
        try:
            made.append((subject, measure.first_step(subject)))
        except (RuntimeError, NotImplementedError) as error:  # a flag that this version cannot have
            left_out.append(f"{subject.name}: {str(error).strip().splitlines()[0]}")
    tell("interleaved rounds")
    timings = measure.interleaved([subject for subject, _ in made], rounds, steps)
    splits = [measure.split(subject, rounds, clock) for subject, _ in made]
    peak = measure.product_rate(dtype_of(recipe), where, clock)
    return Report(
        recipe=name,
        micro_batch=size,
        length=recipe.data.length,
        vocabulary=words,
        rounds=rounds,
        steps=steps,
        product_flops_per_second=peak,
        peak_memory_gib=memory,
        convention=CONVENTION,
        rows=_rows(made, timings, splits, clock, peak),
        left_out=left_out,
        **circumstances(where, clock, recipe.train.precision.kind),
    )


def require_possible(recipe: Recipe, device: torch.device) -> None:
    """Raises BenchError for a recipe, or a precision of it, that the device cannot have."""
    told = recipe.problems()
    support = recipe.train.precision.supported(device)
    if not support.ok:
        told.append(f"train.precision {recipe.train.precision.kind} cannot run on {device}: {support.reason}")
    if told:
        raise BenchError("\n".join(told))


def dtype_of(recipe: Recipe) -> torch.dtype:
    """The type whose products the step is compared with."""
    kind = recipe.train.precision.kind
    return torch.float32 if kind in ("fp32", "tf32") else torch.float16 if "fp16" in kind else torch.bfloat16


def _rows(
    made: Sequence[tuple[Subject, float]],
    timings: Sequence[measure.Timing],
    splits: Sequence[measure.Split],
    clock: str,
    peak: float,
) -> list[Row]:
    speeds = [s.tokens / t.seconds(clock) for (s, _), t in zip(made, timings, strict=True)]
    best = max(range(len(made)), key=lambda i: speeds[i] if made[i][0].name.startswith("ablate") else 0.0)
    rates = [speed * s.flops_per_token for speed, (s, _) in zip(speeds, made, strict=True)]
    return [
        Row(
            name=subject.name,
            parameters=subject.parameters,
            flops_per_token=subject.flops_per_token,
            tokens_per_step=subject.tokens,
            tokens_per_second=subject.tokens / timing.seconds("wall"),
            tokens_per_cpu_second=subject.tokens / timing.seconds("cpu"),
            spread=timing.spread(clock),
            flops_per_second=rate,
            mfu=rate / peak,
            first_step_seconds=first,
            forward=split.forward,
            backward=split.backward,
            optimizer=split.optimizer,
            relative=speed / speeds[best],
            relative_per_flop=rate / rates[best],
        )
        for (subject, first), timing, split, speed, rate in zip(
            made, timings, splits, speeds, rates, strict=True
        )
    ]


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
