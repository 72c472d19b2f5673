"""The Lightning module of pretraining: masked language modelling with a batch that grows with progress.

Manual optimization, because one optimizer step takes a varying number of micro-batches. Size and learning
rate of a step are fixed when it begins, from the progress of the ledger; nothing depends on a step count.

When the budget runs out within a step (only a clock, tokens or FLOPs can), the step is closed with the
micro-batches it has and its gradient is their mean. So a trial exceeds its budget by at most one micro-batch,
and what was computed is used; the reference throws a half-accumulated batch away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from ablate.budget import Budget
from ablate.knobs import KnobInfo, Suggests, knobs, suggest
from ablate.model import Bert
from ablate.optim import batch_size
from ablate.recipe import Recipe
from ablate.training.initial import build
from ablate.training.ledger import Ledger
from ablate.training.objective import flops_per_token
from ablate.training.step import Forward, MicroBatch, Step

# Attributes that change in every step, Lightning's own among them, and hold neither module nor parameter:
# `nn.Module` searches every value for those, 3 µs each and fifty times a step.
PLAIN = {"_current_fx_name", "step_progress", "stepped"}


class MaskedLanguageModel(LightningModule):
    """A recipe under pretraining.

    `ledger` holds budget and progress, `model` what to train. Without them the budget is the trainer's
    `max_steps` and the model that of the recipe, so that the module works in a user's own Trainer too: it
    then goes through Lightning's optimizer and backward pass, which tell the trainer's plugins and callbacks
    of every step. A trial's trainer has none that listen.
    """

    step: Step  # from the start of training on

    def __init__(
        self, recipe: Recipe, *, seed: int = 0, model: Bert | None = None, ledger: Ledger | None = None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.model = model or build(
            recipe, seed=seed, vocabulary=getattr(recipe.data.tokenizer, "vocabulary", 32_768)
        )
        self.forward_pass = Forward(recipe.train, self.model)
        self.ledger = ledger
        self._tells = ledger is None  # Lightning of every backward pass and optimizer step
        self.losses: list[float] = []  # one per optimizer step, settled
        self.step_progress = 0.0  # where the running step began
        self.stepped = False  # whether the last micro-batch ended an optimizer step
        self._pending: list[Tensor] = []  # losses of steps, still on the device
        self._in_flight: deque[torch.cuda.Event] = deque()

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
        if self.ledger is None:
            if self.trainer.max_steps < 1:
                raise ValueError(
                    "a MaskedLanguageModel needs a budget: give it a ledger, or Trainer(max_steps=…)"
                )
            self.ledger = Ledger(Budget("steps", self.trainer.max_steps), length=self.recipe.data.length)
            self.recipe.train.precision.prepare(self.model, self.device)
        self.step = Step(self.forward_pass, self.manual_backward if self._tells else torch.Tensor.backward)
        return self.step.optimizer

    def on_train_start(self) -> None:
        if self._tells:
            wrapped = self.optimizers()
            assert isinstance(wrapped, torch.optim.Optimizer)
            self.step.optimizer = wrapped

    def training_step(self, batch: MicroBatch, index: int) -> None:
        assert self.ledger is not None
        step, sequences = self.step, len(batch[0])
        if step.done == 0:
            self._begin(sequences)
        step.backward(step.loss(self._shortened(batch)))
        self.ledger.sequences += sequences
        self._wait_for_all_but_one()
        self.stepped = step.done == step.micro_batches or self.ledger.exhausted
        if self.stepped:
            self._pending.append(step.update())
            self.ledger.steps += 1
            if step.average is not None:
                step.average.update(step.parameters, self.ledger.progress)

    def _begin(self, micro: int) -> None:
        """Fix the size and the learning rate of the step that begins, in micro-batches of `micro` rows."""
        assert self.ledger is not None
        train, progress = self.recipe.train, self.ledger.progress
        self.step_progress = progress
        if self.step.noise is None:
            size = batch_size(progress, train.batch, train.ramp, micro)
        else:
            size = self.step.noise.size(train.batch, micro)
        self.step.begin(max(1, size // micro), micro, train.schedule.factor(progress))

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

    def settle(self) -> list[float]:
        """The losses of all steps so far; waits for the device, so it is asked for rarely."""
        if self._pending:
            self.losses += torch.stack(self._pending).float().tolist()
            self._pending.clear()
        return self.losses

    def _wait_for_all_but_one(self) -> None:
        """Keep one micro-batch queued on a GPU: it never idles, and the clock sees work done."""
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        self._in_flight.append(event)
        if len(self._in_flight) > 1:
            self._in_flight.popleft().synchronize()
