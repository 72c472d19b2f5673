"""`ablate bench plumbing`: what a step costs besides the mathematics.

A trial's own loop (Lightning, callbacks, curve, heartbeat, W&B offline) against the loop that a careful
user would write by hand, over the same batches of a model so small that the difference shows. What the
plumbing costs does not depend on the model's width, so its share of any recipe's step follows.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ablate.bench.measure import timed
from ablate.bench.subjects import ours, size_of
from ablate.budget import Budget
from ablate.data import Prepared, prepare
from ablate.knobs import replace
from ablate.recipe import Recipe, preset
from ablate.records import TrialPaths
from ablate.tracking import Composite, LiveFile, RunInfo, make_tracker
from ablate.training import Trained, train
from ablate.training.datamodule import PretrainingData

SMALL = {
    "model.layers": 1, "model.width": 32, "model.intermediate": 64, "model.heads": 2,
    "data.source": {"kind": "grammar", "megabytes": 0.5}, "data.tokenizer.vocabulary": 300, "data.length": 32,
    "train.batch": 8, "train.micro_batch": 8, "train.ramp": 0.0, "train.precision": "fp32",
    "train.compile": False,
}  # fmt: skip
TRACK = {"wandb": {"mode": "offline", "project": "ablate-bench"}}


@dataclass(frozen=True)
class Plumbing:
    """Medians over rounds, in milliseconds of CPU time a step, on one thread."""

    steps: int
    rounds: int
    data_ms: float  # the batch alone: cut, masked, made tensors
    by_hand_ms: float  # a plain loop: batch, forward, backward, clip, update
    trial_ms: float  # the same steps as a trial takes them
    recipe: str
    recipe_ms: float  # a step of the recipe that the share is of

    @property
    def plumbing_ms(self) -> float:
        """Lightning, callbacks and logging together."""
        return self.trial_ms - self.by_hand_ms

    @property
    def share(self) -> float:
        """Of a step of the recipe."""
        return self.plumbing_ms / (self.recipe_ms + self.plumbing_ms)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "plumbing_ms": self.plumbing_ms, "share": self.share}

    def text(self) -> str:
        """One line each, for a terminal."""
        return (
            f"a batch                            {self.data_ms:8.3f} ms\n"
            f"a step by hand, batch included     {self.by_hand_ms:8.3f} ms\n"
            f"a step of a trial                  {self.trial_ms:8.3f} ms\n"
            f"Lightning, callbacks and logging   {self.plumbing_ms:8.3f} ms, {self.share:.2%} of a step of "
            f"{self.recipe} ({self.recipe_ms:.0f} ms)\n"
            f"CPU time, one thread, medians of {self.rounds} rounds of {self.steps} steps; W&B offline."
        )


def bench(
    recipe: Recipe,
    name: str,
    *,
    steps: int = 500,
    rounds: int = 5,
    tell: Callable[[str], None] = lambda text: None,
) -> Plumbing:
    """Measure the plumbing, and one step of `recipe` on this CPU for scale."""
    torch.set_num_threads(1)
    ms = parts(steps, rounds, tell)
    tell(f"a step of {name}")
    subject = ours(recipe, *size_of(recipe), torch.device("cpu"))
    subject.step()
    return Plumbing(
        steps, rounds, ms["data"], ms["by hand"], ms["trial"], name,
        1e3 * statistics.median(_cpu(subject.step) for _ in range(3)),
    )  # fmt: skip


def parts(steps: int, rounds: int, tell: Callable[[str], None]) -> dict[str, float]:
    """Milliseconds of `data`, a step `by hand` and a step of a `trial`: medians over rounds in turns."""
    small = replace(preset("crammed-small"), SMALL)
    with tempfile.TemporaryDirectory(prefix="ablate-bench-") as folder:
        root = Path(folder)
        tell("preparing")
        data = prepare(small.data, root / "data")
        seconds: dict[str, list[float]] = {"data": [], "by hand": [], "trial": []}
        for turn in range(rounds + 1):
            tell(f"round {turn} of {rounds}" if turn else "once to warm up")
            taken = {
                "data": _batches(small, data, steps),
                "by hand": _by_hand(small, data, steps)[0],
                "trial": _trial(small, data, steps, root / f"trial-{turn}"),
            }
            if turn:
                for what, value in taken.items():
                    seconds[what].append(value)
    return {what: 1e3 * statistics.median(values) for what, values in seconds.items()}


def loop_seconds(steps: int = 200, rounds: int = 3, tell: Callable[[str], None] = lambda text: None) -> float:
    """What a trial adds to each bare micro-batch on a CPU: its batch, Lightning, callbacks and logging."""
    ms = parts(steps, rounds, tell)
    return max(0.0, ms["trial"] - ms["by hand"] + ms["data"]) / 1e3


def _cpu(act: Callable[[], object], times: int = 1) -> float:
    return timed(act, times)[1]


def _loader(recipe: Recipe, data: Prepared) -> PretrainingData:
    return PretrainingData(data, recipe, seed=0, vocabulary=data.vocabulary)


def _batches(recipe: Recipe, data: Prepared, steps: int) -> float:
    """CPU seconds of one batch."""
    stream = _loader(recipe, data).train_dataloader()
    return _cpu(lambda: next(stream), steps)


def _by_hand(recipe: Recipe, data: Prepared, steps: int) -> tuple[float, list[float]]:
    """CPU seconds of one step of a plain loop, and its losses, which it reads as a trial does."""
    from ablate.training.initial import build, vocabulary_of

    settings, stream = recipe.train, _loader(recipe, data).train_dataloader()
    model = build(recipe, seed=0, vocabulary=vocabulary_of(data))
    objective = settings.objective.build(model, settings)
    groups = settings.optimizer.groups(model, settings.weight_decay, *settings.decays)
    optimizer = settings.precision.optimizer(settings.optimizer, groups, settings.lr, settings.weight_decay)
    parameters, clip, losses = list(model.parameters()), settings.clip or float("inf"), list[float]()

    def loop() -> None:
        for step in range(steps):
            lr = settings.lr * settings.schedule.factor(step / steps)
            for group in optimizer.param_groups:
                group["lr"] = lr
            loss = objective(*next(stream))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())

    return _cpu(loop) / steps, losses


def _trial(recipe: Recipe, data: Prepared, steps: int, root: Path) -> float:
    """CPU seconds of one step of a trial, with its trackers: what `steps` steps take beyond one.

    Start-up, the last checkpoint and the held-out loss are in both and cancel.
    """

    def whole(amount: int) -> float:
        return trained(recipe, data, Budget("steps", amount), root / str(amount))[1]

    return (whole(steps + 1) - whole(1)) / steps


def trained(recipe: Recipe, data: Prepared, budget: Budget, root: Path, **how: Any) -> tuple[Trained, float]:
    """A trial with its trackers in a folder of its own, and the CPU seconds of its training."""
    paths = TrialPaths(root)
    paths.root.mkdir(parents=True)
    run = RunInfo.of_trial(
        study="bench", trial=root.name, arm="baseline", block=0, directory=paths.root, config={}
    )
    tracker = Composite(LiveFile(paths.live), make_tracker(TRACK, run))
    begun = time.process_time()
    try:
        found = train(recipe, seed=0, budget=budget, data=data, paths=paths, tracker=tracker, **how)
        return found, time.process_time() - begun
    finally:
        tracker.finish("complete")
