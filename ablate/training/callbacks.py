"""What happens around a micro-batch: the budget ends training, divergence too; curve, heartbeat, checkpoints.

Each callback has a pace of its own, because reading a loss waits for a GPU. None uses `self.log`: it costs
0.3 ms a call, and the curve is ours.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ablate.training.attempts import Attempts
from ablate.training.checkpoint import CheckpointError
from ablate.training.curve import Row
from ablate.training.ledger import Ledger
from ablate.training.meters import Meters
from ablate.training.module import MaskedLanguageModel
from ablate.training.progress import Progress

log = logging.getLogger(__name__)

# A model that has learned nothing sits a little above log V: its logits have a variance v, which costs v / 2
# (0.15 at width 768 with a tied embedding of std 0.02). Half a nat tells that from divergence.
ROOM = 0.5


class _AroundMicroBatches(Callback):
    """Calls `after` once per micro-batch with the module and its ledger."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.after(trainer, pl_module, pl_module.ledger)

    def after(self, trainer: Trainer, module: MaskedLanguageModel, ledger: Ledger) -> None:
        raise NotImplementedError


class Together(Callback):
    """Several callbacks as one, in their order: Lightning asks each of them for each of its dozen hooks."""

    def __init__(self, *parts: Callback) -> None:
        self.parts = parts

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        for part in self.parts:
            part.on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for part in self.parts:
            part.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        for part in self.parts:
            part.on_train_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        for part in self.parts:
            part.on_exception(trainer, pl_module, exception)


class Pace:
    """True at most every `seconds`."""

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self.seconds, self.now, self.last = seconds, now, now()

    def due(self) -> bool:
        if self.now() - self.last < self.seconds:
            return False
        self.last = self.now()
        return True


class Speed:
    """Tokens per charged second since it was last asked."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.tokens, self.seconds = ledger, ledger.tokens, ledger.clock.charged

    def read(self) -> float | None:
        tokens, seconds = self.ledger.tokens, self.ledger.clock.charged
        done, took = tokens - self.tokens, seconds - self.seconds
        self.tokens, self.seconds = tokens, seconds
        return done / took if took > 0 else None


class BudgetStop(_AroundMicroBatches):
    """Charges the clock while training runs, and ends it when the budget is spent."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.ledger.clock.start()

    def after(self, trainer: Trainer, module: MaskedLanguageModel, ledger: Ledger) -> None:
        if ledger.exhausted:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.settle()  # what a GPU has queued is training too
        pl_module.ledger.clock.stop()


class Divergence(_AroundMicroBatches):
    """Ends a trial whose loss is not a number, or after warm-up above a uniform guess (log V).

    Warm-up is the schedule's, at least a tenth of the budget and 20 steps; the mean of ten steps counts, so
    that one spike ends nothing.
    """

    def __init__(self, vocabulary: int, uniform: float, warmup: float, pace: Pace) -> None:
        self.uniform = uniform
        self.limit = uniform * (1 + ROOM / math.log(vocabulary))
        self.warmup, self.pace = max(0.1, warmup), pace
        self.reason = ""
        self._seen = 0

    def after(self, trainer: Trainer, module: MaskedLanguageModel, ledger: Ledger) -> None:
        if module.stepped and self.pace.due():
            self.check(module.settle(), ledger.progress)
            trainer.should_stop |= bool(self.reason)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.check(pl_module.settle(), pl_module.ledger.progress)

    def check(self, losses: list[float], progress: float) -> None:
        """Judge the losses of all steps so far; sets `reason` once."""
        fresh, self._seen = losses[self._seen :], len(losses)
        if self.reason:
            return
        bad = next((i for i, loss in enumerate(fresh) if not math.isfinite(loss)), None)
        if bad is not None:
            self.reason = f"the loss is {fresh[bad]} at step {len(losses) - len(fresh) + bad + 1}"
        elif progress >= self.warmup and len(losses) >= 20:
            mean = math.fsum(losses[-10:]) / 10
            if mean > self.limit:
                self.reason = (
                    f"after warm-up, at step {len(losses)}, the loss {mean:.2f} is above that of a uniform"
                    f" guess, {self.uniform:.2f}"
                )


class CurveLog(_AroundMicroBatches):
    """A row for the curve and the tracker at every per cent of the budget, and at least every 30 seconds."""

    def __init__(
        self, rows: list[Row], ledger: Ledger, meters: Meters, emit: Callable[[Row], None],
        every: float = 0.01,
    ) -> None:  # fmt: skip
        self.rows, self.meters, self.emit, self.every = rows, meters, emit, every
        self.pace, self.speed = Pace(30.0, ledger.now), Speed(ledger)
        self.progress = ledger.progress
        self.steps = ledger.steps

    def after(self, trainer: Trainer, module: MaskedLanguageModel, ledger: Ledger) -> None:
        if not module.stepped:
            return
        progress = ledger.progress
        if progress - self.progress >= self.every - 1e-12 or progress >= 1 or self.pace.due():
            self.progress = progress
            self._row(module, ledger)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if pl_module.ledger.steps > self.steps:
            self._row(pl_module, pl_module.ledger)

    def _row(self, module: MaskedLanguageModel, ledger: Ledger) -> None:
        since = module.settle()[self.steps :]
        self.steps = ledger.steps
        spent = ledger.spent
        self.rows.append({
            "step": spent.steps, "tokens": spent.tokens, "seconds": spent.seconds, "flops": spent.flops,
            "loss": math.fsum(since) / len(since), "lr": module.step.lr, "batch": module.step.sequences,
            "grad_norm": float(module.step.grad_norm), "tokens_per_second": self.speed.read() or math.nan,
            **self.meters.read(),
        })  # fmt: skip
        self.emit(self.rows[-1])


class Heartbeat(_AroundMicroBatches):
    """Tells, at most once a second, that the trial lives and how far it is."""

    def __init__(
        self, ledger: Ledger, attempts: Attempts, tell: Callable[[Progress], None], seconds: float = 1.0
    ) -> None:
        self.attempts, self.tell = attempts, tell
        self.pace, self.speed = Pace(seconds, ledger.now), Speed(ledger)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.tell(Progress("pretrain", pl_module.ledger.progress, spent=pl_module.ledger.spent))

    def after(self, trainer: Trainer, module: MaskedLanguageModel, ledger: Ledger) -> None:
        if self.pace.due() or trainer.should_stop:
            self.beat(module, ledger)

    def beat(self, module: MaskedLanguageModel, ledger: Ledger) -> None:
        losses = module.settle()
        spent = ledger.spent
        self.attempts.beat(spent.seconds)
        self.tell(
            Progress(
                "pretrain",
                ledger.progress,
                loss=losses[-1] if losses else None,
                tokens_per_second=self.speed.read(),
                spent=spent,
                eta_seconds=ledger.eta_seconds(),
            )
        )


class Checkpoints(_AroundMicroBatches):
    """Saves after an optimizer step when the last save is old enough; the clock stands still meanwhile.

    A checkpoint that cannot be written (a full disk) is a warning, and the next is tried in its turn.
    """

    def __init__(
        self, save: Callable[[], None], ledger: Ledger, seconds: float, warn: Callable[[str], None]
    ) -> None:
        self.save, self.warn = save, warn
        self.pace = Pace(seconds, ledger.now)

    def after(self, trainer: Trainer, module: MaskedLanguageModel, ledger: Ledger) -> None:
        if module.stepped and not trainer.should_stop and self.pace.due():
            self.write(module, ledger)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        # Lightning raises this one between two micro-batches, so after a step nothing is half done.
        if isinstance(exception, SIGTERMException) and pl_module.stepped:
            self.write(pl_module, pl_module.ledger)

    def write(self, module: MaskedLanguageModel, ledger: Ledger) -> None:
        module.settle()
        ledger.clock.stop()
        try:
            self.save()
        except CheckpointError as error:
            self.warn(f"{error}; training goes on, and a crash would lose what came after the last good one")
        finally:
            ledger.clock.start()


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's notes on devices and bare bones; its warnings about our use of it stay."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        with warnings.catch_warnings():
            # Lightning 2.6.6 asks torch 2.13 for a tree node in the old way, once per process.
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
            # A trial is one process, whatever else the machine offers.
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            yield
    finally:
        logger.setLevel(level)
