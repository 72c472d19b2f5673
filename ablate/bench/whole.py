"""`ablate bench trial`: a recipe trained as its trials train it, against a loop written by hand.

The trial has all that a trial has: Lightning, callbacks, budget clock, curve, W&B offline. The loop has the
same step over the same batches and nothing else. Both are compiled if the recipe is.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ablate.bench import measure
from ablate.bench.plumbing import trained
from ablate.bench.run import Run, circumstances, clock_of, place
from ablate.bench.subjects import synchronizer
from ablate.bench.training import CONVENTION, dtype_of, require_possible
from ablate.budget import Budget
from ablate.data import Prepared, prepare
from ablate.knobs import replace
from ablate.recipe import Recipe
from ablate.training.datamodule import PretrainingData
from ablate.training.initial import build, vocabulary_of
from ablate.training.objective import flops_per_token
from ablate.training.step import Forward, Step


@dataclass(frozen=True, kw_only=True)
class Whole(Run):
    """Medians over rounds in turns; seconds are of the wall on a GPU, and of the CPU on a CPU."""

    recipe: str
    compiled: bool
    micro_batch: int  # rows
    length: int
    accumulated: int  # micro-batches of an update
    vocabulary: int
    micro_batches: int  # of the trial, in a round
    by_hand: int  # of the loop
    rounds: int
    trial_seconds: list[float]  # of a micro-batch, one per round, updates shared among micro-batches
    by_hand_seconds: list[float]
    data_share: float  # of the loop's seconds until a batch is on its way to the device
    flops_per_token: float
    product_flops_per_second: float
    peak_memory_gib: float | None  # of a GPU, the trial's
    convention: str

    @property
    def tokens_per_second(self) -> float:
        """Of a trial."""
        return self.micro_batch * self.length / statistics.median(self.trial_seconds)

    @property
    def plumbing(self) -> float:
        """The share of a trial's seconds that the loop does not need; below 0 where noise is larger."""
        return 1 - statistics.median(self.by_hand_seconds) / statistics.median(self.trial_seconds)

    @property
    def mfu(self) -> float:
        """Of the product rate measured in this run."""
        return self.tokens_per_second * self.flops_per_token / self.product_flops_per_second

    def to_dict(self) -> dict[str, Any]:
        shares = {"tokens_per_second": self.tokens_per_second, "plumbing": self.plumbing, "mfu": self.mfu}
        return {**super().to_dict(), **shares}

    def text(self) -> str:
        """For a terminal."""
        clock = "CPU-second" if self.clock == "cpu" else "second"
        convention = self.convention[0].upper() + self.convention[1:]
        hand = self.micro_batch * self.length / statistics.median(self.by_hand_seconds)
        spreads = [measure.spread(values) for values in (self.trial_seconds, self.by_hand_seconds)]
        memory = (
            "" if self.peak_memory_gib is None else f"peak memory          {self.peak_memory_gib:.2f} GiB\n"
        )
        return (
            f"{self.recipe}, {self.precision}, {'compiled' if self.compiled else 'eager'}, micro-batch "
            f"{self.micro_batch} × {self.length}, {self.accumulated} an update, "
            f"vocabulary {self.vocabulary}; {self.device}\n"
            f"a trial              {self.tokens_per_second:12,.0f} tokens per {clock} ±{spreads[0]:.1%}\n"
            f"a loop by hand       {hand:12,.0f} tokens per {clock} ±{spreads[1]:.1%}\n"
            f"Lightning and all    {self.plumbing:12.2%} of a trial's time\n"
            f"data                 {self.data_share:12.3%} of the loop's time\n"
            f"of the product       {self.mfu:12.1%} of {self.product_flops_per_second / 1e12:.3f} TFLOP/s, "
            f"measured in this run\n"
            f"{memory}"
            f"Medians of {self.rounds} rounds in turns, of {self.micro_batches} micro-batches and "
            f"{self.by_hand} of the loop, the first step aside; load {self.load[0]:g}. {convention}."
        )


def bench(
    recipe: Recipe,
    name: str,
    *,
    device: str | None = None,
    threads: int | None = 1,
    rows: int,
    accumulated: int = 1,
    micro_batches: int = 1000,
    by_hand: int | None = None,
    rounds: int = 3,
    tell: Callable[[str], None] = lambda text: None,
) -> Whole:
    """Train `rows` rows at a time, `accumulated` of those an update; `by_hand` micro-batches in the loop, by
    default as many as in the trial. Raises BenchError, DataError.
    """
    by_hand = by_hand or micro_batches
    where = place(device, threads)
    require_possible(recipe, where)
    clock = clock_of(where)
    recipe = replace(
        recipe, {"train.micro_batch": rows, "train.batch": rows * accumulated, "train.ramp": 0.0}
    )
    with tempfile.TemporaryDirectory(prefix="ablate-bench-") as folder:
        root = Path(folder)
        tell("preparing the data")
        data = prepare(recipe.data, root / "data")
        trials: list[float] = []
        loops: list[tuple[float, float]] = []
        for turn in range(rounds):
            tell(f"round {turn + 1} of {rounds}")
            trials.append(_trial(recipe, data, micro_batches, where, root / f"trial-{turn}", threads))
            loops.append(_by_hand(recipe, data, by_hand, where))
        memory = torch.cuda.max_memory_allocated(where) / 2**30 if where.type == "cuda" else None
    tell("the product")
    return Whole(
        recipe=name, compiled=recipe.train.compile, micro_batch=rows, length=recipe.data.length,
        accumulated=accumulated, vocabulary=vocabulary_of(data), micro_batches=micro_batches, by_hand=by_hand,
        rounds=rounds, trial_seconds=trials, by_hand_seconds=[seconds for seconds, _ in loops],
        data_share=statistics.median(share for _, share in loops),
        flops_per_token=flops_per_token(recipe, vocabulary_of(data)),
        product_flops_per_second=measure.product_rate(dtype_of(recipe), where, clock),
        peak_memory_gib=memory, convention=CONVENTION,
        **circumstances(where, clock, recipe.train.precision.kind),
    )  # fmt: skip


def _trial(
    recipe: Recipe, data: Prepared, micro_batches: int, device: torch.device, root: Path, threads: int | None
) -> float:
    """Seconds of a micro-batch: charged ones on a GPU, and on a CPU what so many take beyond a single one."""

    tokens = (recipe.train.micro_batch or recipe.train.batch) * recipe.data.length

    def whole(amount: int) -> tuple[float, float]:
        found, cpu = trained(
            recipe, data, Budget("tokens", amount * tokens), root / str(amount), device=device.type,
            threads=threads,
        )  # fmt: skip
        return found.spent.seconds, cpu

    if device.type == "cuda":
        return whole(micro_batches)[0] / micro_batches
    return (whole(micro_batches + 1)[1] - whole(1)[1]) / micro_batches


def _by_hand(recipe: Recipe, data: Prepared, micro_batches: int, device: torch.device) -> tuple[float, float]:
    """Seconds of a micro-batch, and the share of them that data take."""
    now = time.perf_counter if device.type == "cuda" else time.process_time
    source = PretrainingData(data, recipe, seed=0, vocabulary=data.vocabulary)
    model = build(recipe, seed=0, vocabulary=vocabulary_of(data)).to(device)
    recipe.train.precision.prepare(model, device)
    forward = Forward(recipe.train, model)
    forward.warm_up(source.micro_batch(0, device))
    step, stream = Step(forward), source.train_dataloader()
    planned = recipe.train.batch // source.micro
    waited = 0.0

    def loop(many: int) -> None:
        nonlocal waited
        for _ in range(many):
            begun = now()
            batch = source.transfer_batch_to_device(next(stream), device, 0)
            waited += now() - begun
            if step.done == 0:
                step.begin(planned, source.micro)
            step.backward(step.loss(batch))
            if step.done == planned:
                step.update()

    wait = synchronizer(device)
    loop(planned)  # the optimizer's memory
    wait()
    waited, begun = 0.0, now()
    loop(micro_batches)
    wait()
    seconds = now() - begun
    return seconds / micro_batches, waited / seconds
