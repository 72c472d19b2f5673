"""The Trainer around the module: bare bones and our callbacks; no logger, bar or checkpoints of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer

from ablate.streams import stream
from ablate.tracking.interface import Tracker
from ablate.training.callbacks import (
    BudgetStop,
    Checkpoints,
    CurveLog,
    Divergence,
    Heartbeat,
    Pace,
    Together,
    quiet_lightning,
)
from ablate.training.datamodule import PretrainingData
from ablate.training.filling import fill
from ablate.training.module import MaskedLanguageModel
from ablate.training.objective import uniform_guess
from ablate.training.pretraining import tracked
from ablate.training.progress import Progress
from ablate.training.step import Step

if TYPE_CHECKING:
    from ablate.training.pretraining import _Run

log = logging.getLogger(__name__)


class Begin(Callback):
    """Puts optimizer and random numbers where the checkpoint left them, or at the block's own start."""

    def __init__(self, run: _Run) -> None:
        self.run = run

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        torch.manual_seed(stream(self.run.own_seed, "dropout"))
        resumed = self.run.resumed
        if resumed is None:
            return
        pl_module.step.restore(resumed)
        torch.set_rng_state(resumed.tensors["rng.cpu"])
        if "rng.cuda" in resumed.tensors and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(resumed.tensors["rng.cuda"], pl_module.device)


def as_left(run: _Run, module: MaskedLanguageModel) -> Step | None:
    """The step where the checkpoint left it: the weights to evaluate may be the average that it keeps."""
    if run.resumed is None:
        return None
    step = Step(module.forward_pass)
    step.restore(run.resumed)
    step.cut = run.cut
    return step


def fit(
    run: _Run, tracker: Tracker, tell: Callable[[Progress], None], checkpoint_seconds: float
) -> tuple[Step | None, str]:
    """Train `run.model` until its ledger is exhausted.

    Returns what took the steps, or would have, None if there were none, and why the trial diverged, or ''.
    """
    ledger = run.ledger
    module = MaskedLanguageModel(run.recipe, model=run.model, ledger=ledger)
    module.losses = run.losses
    data = PretrainingData(
        run.data, run.recipe, seed=run.seed, vocabulary=run.data.vocabulary, start=ledger.sequences
    )
    module.to(run.device)
    if run.micro_batch is None:
        run.micro_batch = fill(module, data, run.device)
        log.info("train.micro_batch: %d sequences fill this device", run.micro_batch)
    data.micro = run.micro_batch
    if run.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.device)
    for warning in module.forward_pass.warm_up(data.micro_batch(0, run.device)):
        run.warn(warning)
    if ledger.exhausted:  # start-up alone used it up, which only `charge: occupied` can do
        return as_left(run, module), ""
    # Reading a loss costs nothing on a CPU and a wait on a GPU.
    recipe = run.recipe
    judge = Divergence(
        run.vocabulary,
        uniform_guess(recipe, run.vocabulary),
        recipe.train.schedule.warmup,
        Pace(_glance(run.device), ledger.now),
    )
    callbacks = Together(
        Begin(run),
        BudgetStop(),
        judge,
        CurveLog(
            run.rows,
            ledger,
            run.meters,
            lambda row: tracker.log(tracked(row, ledger.progress), step=int(row["step"])),
        ),
        Heartbeat(ledger, run.attempts, tell),
        Checkpoints(lambda: run.save(module.step), ledger, checkpoint_seconds, run.warn),
    )
    with quiet_lightning():
        _trainer(run.device, callbacks).fit(module, datamodule=data)
    return module.step, judge.reason


def _glance(device: torch.device) -> float:
    return 1.0 if device.type == "cuda" else 0.0


def _trainer(device: torch.device, callbacks: Callback) -> Trainer:
    accelerator, devices = ("gpu", [device.index or 0]) if device.type == "cuda" else ("cpu", 1)
    return Trainer(
        accelerator=accelerator,
        devices=devices,
        barebones=True,
        max_epochs=1,  # of an endless stream: the budget ends it
        limit_val_batches=0,
        use_distributed_sampler=False,
        callbacks=[callbacks],
        # A trial is one process; inside a cluster's job Lightning would take it for one of several.
        plugins=LightningEnvironment(),
    )
