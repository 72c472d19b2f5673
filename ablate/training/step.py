"""What a training step computes: the loss of each micro-batch, the mean gradient, the update.

A trial's module and the benches drive the same step. It knows neither budget nor Lightning: who drives it
says how large a step is, when it ends, and at what progress an average takes in the new weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ablate.optim.modifier import total_norm

if TYPE_CHECKING:
    from ablate.model import Bert
    from ablate.training.checkpoint import Checkpoint
    from ablate.training.config import TrainConfig

MicroBatch = tuple[Tensor, Tensor, Tensor]  # ids [B, T], flat positions [N], labels [N]
Backward = Callable[..., None]  # called as torch.Tensor.backward is


class Forward:
    """The loss of a micro-batch in the recipe's objective, precision and compiler setting."""

    def __init__(self, train: TrainConfig, model: Bert) -> None:
        self.train, self.model = train, model
        self._objective = train.objective.build(model, train)
        self._compute = train.precision.calls(self._objective)

    def __call__(self, batch: MicroBatch) -> Tensor:
        """A scalar; the batch is on the model's device."""
        with self.train.precision.arithmetic(batch[0].device.type):
            return self._compute(*batch)

    def compile(self) -> None:
        """Compile with the next call."""
        # The inner forward, not the LightningModule: compiling that one breaks on self.log.
        self._compute = torch.compile(self.train.precision.compiles(self._objective), dynamic=False)

    def attempt(self, batch: MicroBatch) -> None:
        """Forward and backward without a trace: no random number is drawn and no gradient stays."""
        device = batch[0].device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            loss = self(batch)
        loss.backward()
        self.model.zero_grad(set_to_none=True)

    def warm_up(self, batch: MicroBatch) -> list[str]:
        """Compile, and let the device load its kernels, before the clock starts; no weight changes.

        Returns a warning where the model cannot be compiled on this machine; it then runs uncompiled.
        """
        told: list[str] = []
        if self.train.compile:
            self.compile()
            try:
                self.attempt(batch)
            except torch._dynamo.exc.TorchDynamoException as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                told.append(f"the model runs uncompiled, because compiling it failed here: {first}")
                self._compute = self.train.precision.calls(self._objective)
        if batch[0].device.type == "cuda":
            self.attempt(batch)
            torch.cuda.synchronize()
        return told


class Step:
    """An optimizer step: `begin`, `loss` and `backward` of each micro-batch, `update`; then the next.

    The model is on its device. `backward` is torch's own, or Lightning's, which tells of it.
    """

    def __init__(self, forward: Forward, backward: Backward = torch.Tensor.backward) -> None:
        train, model = forward.train, forward.model
        self.forward = forward
        self.parameters = list(model.parameters())  # walking the modules takes longer than clipping
        groups = train.optimizer.groups(model, train.weight_decay, *train.decays)
        self.optimizer = train.precision.optimizer(train.optimizer, groups, train.lr, train.weight_decay)
        self.scaling = train.precision.scaling(self.parameters[0].device.type)
        self.noise = train.batch_rule.build() if train.batch_rule else None
        self.average = train.averaging.build(self.parameters) if train.averaging else None
        self.micro_batches, self.rows, self.lr = 1, 0, train.lr  # of the running step
        self.done = 0  # micro-batches of it
        self.sequences = self.cut = 0  # rows of the last step, and micro-batches that it lacked when it ended
        self.grad_norm: Tensor = torch.zeros(())  # of the last step, before clipping
        self._base_lrs = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._backward = _with_graph(backward) if train.optimizer.second_order else backward
        # An infinite bound only measures the norm.
        self._clip = float("inf") if train.clip is None else train.clip
        self._modifier = train.modifier
        self._again = train.passes > 1
        self._kept: list[MicroBatch] = []  # of the running step, where its micro-batches are computed again
        self._loss: Tensor | None = None  # summed over the running step
        self._first_norm: Tensor | None = None  # of its first gradient, where the batch follows noise

    def begin(self, micro_batches: int, rows: int, factor: float = 1.0) -> None:
        """Fix the size of a step, in micro-batches of `rows` sequences, and its share of the peak rate."""
        self.micro_batches, self.rows = micro_batches, rows
        self.lr = self.forward.train.lr * factor
        for group, base in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
            if isinstance(group["lr"], Tensor):  # torchao's optimizers keep it on the device
                group["lr"].fill_(base * factor)
            else:
                group["lr"] = base * factor

    def loss(self, batch: MicroBatch) -> Tensor:
        """Of one more micro-batch."""
        if self._again:
            self._kept.append(batch)
        return self.forward(batch)

    def backward(self, loss: Tensor) -> None:
        """Add its share of the mean gradient."""
        self._backward(self.scaling.scale(loss / self.micro_batches))
        loss = loss.detach()
        self._loss = loss if self._loss is None else self._loss + loss
        self.done += 1
        if self.noise is not None and self.done == 1:
            self._first_norm = self.micro_batches * total_norm(self.parameters)

    def second_pass(self) -> None:
        """Where SAM asks for it, put the gradient at its perturbed weights in the place of the one so far."""
        if self._modifier is None or not self._kept:
            return
        moves = self._modifier.climb(self.parameters)
        for p in self.parameters:
            if p.grad is not None:
                p.grad.zero_()
        for batch in self._kept:
            self._backward(self.forward(batch) / len(self._kept))
        self._modifier.descend(self.parameters, moves)
        self._kept.clear()

    def update(self) -> Tensor:
        """Clip the mean gradient by its global norm and update the weights. Returns the step's mean loss.

        A step that ends before all its micro-batches has the mean of those that it has.
        """
        assert self._loss is not None
        self.cut = max(0, self.micro_batches - self.done)
        self.second_pass()
        if self.cut and not self._again:  # SAM's gradient is the mean already
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            torch._foreach_mul_(gradients, self.micro_batches / self.done)
        self.scaling.unscale(self.optimizer)
        # Clipped here and not by the Trainer: Lightning 2.6.6 refuses gradient_clip_val with a fused AdamW
        # under bf16-mixed.
        self.grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters, self._clip)
        self.sequences = self.done * self.rows
        if self.noise is not None and self._first_norm is not None and self.done > 1:
            small, large = float(self._first_norm) ** 2, float(self.grad_norm) ** 2
            self.noise.update(small, large, self.rows, self.sequences)
        if self._modifier is not None:
            self._modifier.before(self.optimizer.param_groups)
        if self.scaling.accepts(self.grad_norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss / self.done
        self._loss, self.done = None, 0
        return loss

    # --- checkpoints -------------------------------------------------------------------------------------

    def state(self) -> dict[str, dict[str, float]]:
        """Numbers that a checkpoint keeps."""
        return {"scaling": self.scaling.state_dict(), "noise": self.noise.state_dict() if self.noise else {}}

    def tensors(self) -> dict[str, Tensor]:
        """The average that a checkpoint keeps."""
        kept = self.average.tensors() if self.average else {}
        return {f"average.{name}": tensor for name, tensor in kept.items()}

    def restore(self, kept: Checkpoint) -> None:
        """Go on from a checkpoint."""
        assert kept.optimizer is not None
        self.optimizer.load_state_dict(kept.optimizer)
        if kept.state.get("scaling"):
            self.scaling.load_state_dict(kept.state["scaling"])
        if self.noise is not None:
            self.noise.load_state_dict(kept.state["noise"])
        if self.average is not None:
            averages = {name: t for name, t in kept.tensors.items() if name.startswith("average.")}
            self.average.restore({name.removeprefix("average."): t for name, t in averages.items()})


def _with_graph(backward: Backward) -> Backward:
    """Leaves the graph of the gradient too, for an optimizer that takes second derivatives."""

    def call(loss: Tensor) -> None:
        with warnings.catch_warnings():
            # The cycle between a parameter and its gradient ends with every step's zero_grad.
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            backward(loss, create_graph=True)

    return call
