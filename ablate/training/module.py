"""The Lightning module of pretraining: masked language modelling with a batch that grows with progress.

Manual optimization, because one optimizer step takes a varying number of micro-batches. Size and learning
rate of a step are fixed when it begins, from the progress of the ledger; nothing depends on a step count.

When the budget runs out within a step (only a clock, tokens or FLOPs can), the step is closed with the
micro-batches it has and its gradient is their mean. So a trial exceeds its budget by at most one micro-batch,
and what was computed is used; the reference throws a half-accumulated batch away.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from ablate.budget import Budget
from ablate.knobs import KnobInfo, Suggests, knobs, suggest
from ablate.model import Bert
from ablate.model.precision import Scaling
from ablate.optim import batch_size
from ablate.optim.averaging import Averaging
from ablate.optim.modifier import ModifierConfig, total_norm
from ablate.recipe import Recipe
from ablate.training.initial import build
from ablate.training.ledger import Ledger
from ablate.training.objective import flops_per_token

MicroBatch = tuple[Tensor, Tensor, Tensor]  # ids [B, T], flat positions [N], labels [N]

# Attributes that change in every step, Lightning's own among them, and hold neither module nor parameter:
# `nn.Module` searches every value for those, 3 µs each and fifty times a step.
PLAIN = {
    "_current_fx_name", "_done", "_first_norm", "_loss", "_planned", "cut", "grad_norm", "step_lr",
    "step_progress", "step_sequences", "stepped",
}  # fmt: skip


class MaskedLanguageModel(LightningModule):
    """A recipe under pretraining.

    `ledger` holds budget and progress, `model` what to train. Without them the budget is the trainer's
    `max_steps` and the model that of the recipe, so that the module works in a user's own Trainer too: it
    then goes through Lightning's optimizer and backward pass, which tell the trainer's plugins and callbacks
    of every step. A trial's trainer has none that listen.
    """

    def __init__(
        self, recipe: Recipe, *, seed: int = 0, model: Bert | None = None, ledger: Ledger | None = None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.model = model or build(
            recipe, seed=seed, vocabulary=getattr(recipe.data.tokenizer, "vocabulary", 32_768)
        )
        self.precision = recipe.train.precision
        # In a tuple, or its parts would be registered twice.
        self._objective = (recipe.train.objective.build(self.model, recipe.train),)
        self.compute = self.precision.calls(self._objective[0])
        self.scaling = Scaling()
        self.ledger = ledger
        self._tells = ledger is None  # Lightning of every backward pass and optimizer step
        self._trained: list[torch.nn.Parameter] = []  # walking the modules takes longer than clipping
        self.losses: list[float] = []  # one per optimizer step, settled
        self.step_lr = self.step_progress = 0.0
        self.step_sequences = 0
        self.grad_norm: Tensor = torch.zeros(())
        self.stepped = False  # whether the last micro-batch ended an optimizer step
        self.cut = 0  # micro-batches that the last step lacked when the budget ran out
        self._pending: list[Tensor] = []  # losses of steps, still on the device
        self._planned = self._done = 0  # micro-batches of the running step
        self._loss: Tensor | None = None
        self._first_norm: Tensor | None = (
            None  # of the step's first micro-batch, where the batch follows noise
        )
        self._kept: list[MicroBatch] = []  # of the running step, where a modifier computes them again
        self.average: Averaging | None = None
        rule = recipe.train.batch_rule
        self.noise = rule.build() if rule else None
        self._in_flight: deque[torch.cuda.Event] = deque()
        self._base_lrs: list[float] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PLAIN:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # --- the search space --------------------------------------------------------------------------------

    @staticmethod
    def search_space() -> list[KnobInfo]:
        """Every knob of a recipe, conditional ones qualified by their variant."""
        return knobs(Recipe)

    @staticmethod
    def suggest(trial: Suggests, recipe: Recipe, vary: Iterable[str]) -> Recipe:
        """Draw the named knobs through an Optuna trial. Raises UnknownKnobError; ValueError: a free knob."""
        return suggest(trial, recipe, vary)

    # --- Lightning ---------------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        train = self.recipe.train
        groups = train.optimizer.groups(self.model, train.weight_decay, *train.decays)
        optimizer = self.precision.optimizer(train.optimizer, groups, train.lr, train.weight_decay)
        self._base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        return optimizer

    def on_fit_start(self) -> None:
        if self.ledger is None:
            if self.trainer.max_steps < 1:
                raise ValueError(
                    "a MaskedLanguageModel needs a budget: give it a ledger, or Trainer(max_steps=…)"
                )
            self.ledger = Ledger(Budget("steps", self.trainer.max_steps), length=self.recipe.data.length)
            self.precision.prepare(self.model, self.device)
        self.scaling = self.precision.scaling(self.device.type)
        self._trained = list(self.model.parameters())
        averaging = self.recipe.train.averaging
        self.average = averaging.build(self._trained) if averaging else None

    def training_step(self, batch: MicroBatch, index: int) -> None:
        assert self.ledger is not None
        sequences = len(batch[0])
        if self._planned == 0:
            self._plan(sequences)
        batch = self._shortened(batch)
        with self.arithmetic():
            loss = self.compute(*batch)
        self.backward_through(self.scaling.scale(loss / self._planned))
        loss = loss.detach()
        self._loss = loss if self._loss is None else self._loss + loss
        self._done += 1
        if self.noise is not None and self._done == 1:
            self._first_norm = self._planned * total_norm(self._trained)
        modifier = self.recipe.train.modifier
        if modifier is not None and modifier.second_pass:
            self._kept.append(batch)
        self.ledger.sequences += sequences
        self._wait_for_all_but_one()
        self.stepped = self._done == self._planned or self.ledger.exhausted
        if self.stepped:
            self._step(sequences)

    def _shortened(self, batch: MicroBatch) -> MicroBatch:
        """The micro-batch at the length the curriculum has reached; the ledger is told what that saves."""
        curriculum = self.recipe.train.length_curriculum
        if curriculum is None:
            return batch
        assert self.ledger is not None
        ledger, before = self.ledger, batch[0].numel()
        length = curriculum.length(batch[0].shape[1], self.step_progress)
        batch = curriculum.cut(batch, length)
        ledger.missed += before - batch[0].numel()
        cost = flops_per_token(self.recipe, self.model.encoder.vocabulary, length)
        ledger.saved += before * ledger.flops_per_token - batch[0].numel() * cost
        return batch

    def backward_through(self, loss: Tensor) -> None:
        """Add the loss's gradient; with its own graph where the optimizer takes second derivatives."""
        if not self.recipe.train.optimizer.second_order:
            self._backward(loss)
            return
        with warnings.catch_warnings():
            # The cycle between a parameter and its gradient ends with every step's zero_grad.
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            self._backward(loss, create_graph=True)

    def _backward(self, loss: Tensor, **how: bool) -> None:
        (self.manual_backward if self._tells else torch.Tensor.backward)(loss, **how)

    # --- one optimizer step ------------------------------------------------------------------------------

    def _plan(self, micro: int) -> None:
        """Fix the size and the learning rate of the step that begins, in micro-batches of `micro` rows."""
        assert self.ledger is not None
        train, progress = self.recipe.train, self.ledger.progress
        self.step_progress = progress
        if self.noise is None:
            size = batch_size(progress, train.batch, train.ramp, micro)
        else:
            size = self.noise.size(train.batch, micro)
        self._planned = max(1, size // micro)
        factor = train.schedule.factor(progress)
        self.step_lr = train.lr * factor
        for group, base in zip(self.raw_optimizer.param_groups, self._base_lrs, strict=True):
            if isinstance(group["lr"], Tensor):  # torchao's optimizers keep it on the device
                group["lr"].fill_(base * factor)
            else:
                group["lr"] = base * factor

    def _step(self, micro: int) -> None:
        """Close the accumulation: mean gradient, clip by global norm, update."""
        assert self.ledger is not None
        assert self._loss is not None
        parameters = self._trained
        self.cut = self._planned - self._done
        modifier = self.recipe.train.modifier
        if modifier is not None and modifier.second_pass:
            self._gradient_at_the_edge(modifier)
        elif self.cut:
            gradients = [p.grad for p in parameters if p.grad is not None]
            torch._foreach_mul_(gradients, self._planned / self._done)
        self.scaling.unscale(self.raw_optimizer)
        # Clipped here and not by the Trainer: Lightning 2.6.6 refuses gradient_clip_val with a fused AdamW
        # under bf16-mixed. An infinite bound only measures the norm.
        clip = self.recipe.train.clip
        self.grad_norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if clip is None else clip)
        if self.noise is not None and self._first_norm is not None and self._done > 1:
            small, large = float(self._first_norm) ** 2, float(self.grad_norm) ** 2
            self.noise.update(small, large, micro, self._done * micro)
        if modifier is not None:
            modifier.before(self.raw_optimizer.param_groups)
        optimizer = self.optimizers(use_pl_optimizer=self._tells)
        assert isinstance(optimizer, LightningOptimizer | torch.optim.Optimizer)
        if self.scaling.accepts(self.grad_norm):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self._pending.append(self._loss / self._done)
        self.step_sequences = self._done * micro
        self.ledger.steps += 1
        if self.average is not None:
            self.average.update(parameters, self.ledger.progress)
        self._planned = self._done = 0
        self._loss = None

    def _gradient_at_the_edge(self, modifier: ModifierConfig) -> None:
        """Put the gradient of the step's micro-batches at SAM's perturbed weights in the place of theirs."""
        parameters = self._trained
        moves = modifier.climb(parameters)
        for p in parameters:
            if p.grad is not None:
                p.grad.zero_()
        for batch in self._kept:
            with self.arithmetic():
                loss = self.compute(*batch)
            self._backward(loss / len(self._kept))
        modifier.descend(parameters, moves)
        self._kept.clear()

    @property
    def raw_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer itself, without Lightning's wrapper."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def settle(self) -> list[float]:
        """The losses of all steps so far; waits for the device, so it is asked for rarely."""
        if self._pending:
            self.losses += torch.stack(self._pending).float().tolist()
            self._pending.clear()
        return self.losses

    # --- arithmetic --------------------------------------------------------------------------------------

    def arithmetic(self) -> contextlib.AbstractContextManager[Any]:
        """What the forward pass of a micro-batch runs in."""
        return self.precision.arithmetic(self.device.type)

    def warm_up(self, batch: MicroBatch) -> list[str]:
        """Compile, and let the device load its kernels, before the clock starts; no weight changes.

        Returns a warning where the model cannot be compiled on this machine; it then runs uncompiled.
        """
        told: list[str] = []
        if self.recipe.train.compile:
            # The inner forward, not the LightningModule: compiling that one breaks on self.log.
            self.compute = torch.compile(self.precision.compiles(self._objective[0]), dynamic=False)
            try:
                self.attempt(batch)
            except torch._dynamo.exc.TorchDynamoException as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                told.append(f"the model runs uncompiled, because compiling it failed here: {first}")
                self.compute = self.precision.calls(self._objective[0])
        if self.device.type == "cuda":
            self.attempt(batch)
            torch.cuda.synchronize()
        return told

    def attempt(self, batch: MicroBatch) -> None:
        """Forward and backward without a trace: no random number is drawn and no gradient stays."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), self.arithmetic():
            loss = self.compute(*batch)
        loss.backward()
        self.model.zero_grad(set_to_none=True)

    def _wait_for_all_but_one(self) -> None:
        """Keep one micro-batch queued on a GPU: it never idles, and the clock sees work done."""
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        self._in_flight.append(event)
        if len(self._in_flight) > 1:
            self._in_flight.popleft().synchronize()
