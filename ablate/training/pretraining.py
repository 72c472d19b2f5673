"""train(): pretrain one recipe on one block under a budget, from nothing or from the last good checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

from ablate.budget import Budget, Spent
from ablate.data import Prepared
from ablate.model import Bert
from ablate.recipe import Recipe
from ablate.records import TrialPaths
from ablate.records.store import write_bytes
from ablate.streams import replica
from ablate.tracking.interface import Tracker
from ablate.tracking.names import CURVE, OPTIONAL
from ablate.tracking.null import Null
from ablate.training import checkpoint as checkpoints
from ablate.training import curve, heldout
from ablate.training.attempts import Attempts
from ablate.training.checkpoint import Checkpoint, CheckpointError
from ablate.training.initial import build, vocabulary_of
from ablate.training.ledger import Charge, Ledger
from ablate.training.memory import keep_freed_memory
from ablate.training.meters import Meters, peak_memory_gib
from ablate.training.objective import flops_per_token
from ablate.training.progress import Progress

if TYPE_CHECKING:
    from ablate.training.step import Step

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What pretraining gives back."""

    model: Bert
    spent: Spent
    metrics: dict[str, float]  # "family/name" → number
    state: Literal["complete", "diverged"]
    reason: str  # why it diverged
    attempts: list[dict[str, Any]]  # {started, ended, reason, refunded_seconds, …}, the last one is this
    epochs: float  # passes over the training rows
    losses: list[float] = field(default_factory=list, repr=False)  # of every optimizer step
    chosen: dict[str, Any] = field(default_factory=dict)  # knobs that were left to the device
    warnings: list[str] = field(default_factory=list)


def train(
    recipe: Recipe,
    *,
    seed: int,
    budget: Budget,
    data: Prepared,
    paths: TrialPaths,
    charge: Charge = "training",
    tracker: Tracker | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint_seconds: float = 60.0,
    threads: int | None = None,
    device: str | None = None,
    occupied: float = 0.0,
    peak_flops: float | None = None,
    replicate: int = 0,
    micro_batch: int | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Trained:
    """Pretrain until the budget is spent, and measure the held-out loss.

    Goes on from the newest whole checkpoint below `paths.checkpoint`; when that one is finished, only the
    held-out loss is measured again. A budget of 0 gives the initialised model. `occupied` is what the process
    had used before. A `replicate` above 0 has weights and dropout of its own on the block's data and masks.
    `micro_batch` replaces a larger one of the recipe or the checkpoint: the same batches in smaller parts.
    Raises CheckpointError for a checkpoint of another recipe, seed or corpus; GpuMemoryError.
    """
    if threads:
        torch.set_num_threads(threads)
    run = _Run(recipe, seed, budget, data, paths, charge, occupied, now, device, peak_flops, replicate)
    if micro_batch:
        run.lessen(micro_batch)
    if run.resumed is not None and run.resumed.finished:
        run.attempts.finished(run.ledger.clock.charged)
    elif budget.amount <= 0:
        run.attempts.begin(0.0)
        run.finish()
    else:
        run.attempts.begin(run.ledger.clock.charged)
        try:
            run.fit(tracker or Null(), on_progress or (lambda progress: None), checkpoint_seconds)
        except BaseException as error:
            run.attempts.end(f"{type(error).__name__}: {error}", run.ledger.clock.charged)
            if isinstance(error, torch.OutOfMemoryError):
                raise GpuMemoryError(str(error), run.micro_batch) from error
            raise
    return run.result()


class GpuMemoryError(RuntimeError):
    """A GPU ran out of memory; carries the micro-batch that was too large."""

    def __init__(self, message: str, micro_batch: int | None) -> None:
        super().__init__(f"with micro-batches of {micro_batch}: {message}")
        self.micro_batch = micro_batch


class _Run:
    """One call of train(): the ledger, the model and what is known so far."""

    def __init__(
        self, recipe: Recipe, seed: int, budget: Budget, data: Prepared, paths: TrialPaths, charge: Charge,
        occupied: float, now: Callable[[], float], device: str | None, peak_flops: float | None,
        replicate: int,
    ) -> None:  # fmt: skip
        self.recipe, self.seed, self.data, self.paths, self.peak_flops = recipe, seed, data, paths, peak_flops
        self.replicate, self.own_seed = replicate, replica(seed, replicate)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.device.type == "cpu":
            keep_freed_memory()
        self.vocabulary = vocabulary_of(data)
        self.ledger = Ledger(
            budget,
            length=recipe.data.length,
            flops_per_token=flops_per_token(recipe, self.vocabulary),
            charge=charge,
            occupied=occupied,
            now=now,
        )
        self.attempts = Attempts(paths.checkpoint / "attempts.json")
        self.warnings: list[str] = []
        self.rows: list[curve.Row] = []
        self.losses: list[float] = []
        self.reason = ""
        self.cut = 0
        self.micro_batch = recipe.train.micro_batch  # None until the device is known
        self.energy_kwh = 0.0  # of earlier attempts
        self.metrics: dict[str, float] = {}
        self.model = build(recipe, seed=self.own_seed, vocabulary=self.vocabulary)
        self.resumed = self._resume()
        self.model.to(self.device)
        recipe.train.precision.prepare(self.model, self.device)
        for warning in recipe.train.precision.warnings(self.device):
            self.warn(warning)
        self.meters = Meters(self.device, self.ledger, peak_flops=peak_flops, energy_kwh=self.energy_kwh)

    # --- resuming ----------------------------------------------------------------------------------------

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be continued."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "data": self.data.fingerprint,
            **({"replicate": self.replicate} if self.replicate else {}),
        }

    def _resume(self) -> Checkpoint | None:
        found, torn = checkpoints.newest(self.paths.checkpoint)
        checkpoints.set_aside(torn)
        for damage in torn:
            after = "pretraining starts anew" if found is None else f"going on from {found.path.name}"
            self.warn(f"a checkpoint was torn and is passed over ({damage.reason}); {after}")
        if found is None:
            return None
        for key, value in self.identity.items():
            if found.state[key] != value:
                raise CheckpointError(
                    f"{found.path} belongs to another {key}; a trial goes on only from its own checkpoint:"
                    f" remove {self.paths.checkpoint} to start anew"
                )
        checkpoints.load_weights(self.model, found.model)
        self.ledger.restore(found.state["ledger"])
        self.rows = list(found.state["curve"])
        self.losses = found.tensors["losses"].tolist()
        self.metrics, self.cut = dict(found.state["metrics"]), found.state["cut"]
        self.micro_batch = found.state["micro_batch"]  # as before, wherever the trial goes on
        self.energy_kwh = float(found.state.get("energy_kwh") or 0.0)
        return found

    def lessen(self, most: int) -> None:
        """Micro-batches of at most `most` rows that make up the same batches."""
        before, batch = self.micro_batch or self.recipe.train.batch, self.recipe.train.batch
        if most >= before:
            return
        self.micro_batch = next(size for size in range(max(most, 1), 0, -1) if batch % size == 0)
        self.warn(
            f"the GPU ran out of memory: trains in micro-batches of {self.micro_batch} rows instead of "
            f"{before}, with the same batch of {batch}"
        )

    # --- training ----------------------------------------------------------------------------------------

    def fit(self, tracker: Tracker, tell: Callable[[Progress], None], checkpoint_seconds: float) -> None:
        """Train until the budget is spent or the loss diverges, then mark pretraining finished."""
        # Imported here: Lightning takes seconds, and a finished or untrained trial needs none of it.
        from ablate.training.loop import fit

        step, self.reason = fit(self, tracker, tell, checkpoint_seconds)
        self.model.to(self.device)  # Lightning leaves it on the host
        if step is not None:
            self.cut = step.cut
            if step.average is not None and not self.reason:
                with torch.no_grad():
                    for parameter, mean in zip(step.parameters, step.average.weights(), strict=True):
                        parameter.copy_(mean)
        self.model.zero_grad(set_to_none=True)
        self.finish()

    def finish(self) -> None:
        """Measure what training cost, and write the last checkpoint: from here on only evaluation is left."""
        self.metrics = self._measured()
        if not self.reason:
            self._guarded(lambda: self._save(None, finished=True))
        self._guarded(lambda: curve.write(self.paths.curve, self.rows))
        self.attempts.end(self.reason or "complete", self.ledger.clock.charged, kept=True)

    def save(self, step: Step) -> None:
        """A checkpoint in mid-training, and the curve so far. Raises CheckpointError."""
        self.cut = step.cut
        self._save(step, finished=False)
        self._guarded(lambda: curve.write(self.paths.curve, self.rows))

    def _save(self, step: Step | None, *, finished: bool) -> None:
        self._keep_tokenizer()
        tensors = {"losses": torch.tensor(self.losses, dtype=torch.float32), "rng.cpu": torch.get_rng_state()}
        if step is not None:
            tensors |= step.tensors()
        if self.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoints.save(
            self.paths.checkpoint,
            step=self.ledger.steps,
            model=self.model,
            optimizer=step.optimizer if step else None,
            state={
                **self.identity, "vocabulary": self.vocabulary, "ledger": self.ledger.to_dict(),
                "cut": self.cut, "metrics": self.metrics, "curve": self.rows, "micro_batch": self.micro_batch,
                "energy_kwh": self.meters.energy_kwh(),
                **(step.state() if step else {}),
            },
            tensors=tensors,
            finished=finished,
        )  # fmt: skip

    def _keep_tokenizer(self) -> None:
        """Weights are no use without it, and the cache that it comes from may be gone some day."""
        file = self.paths.checkpoint / checkpoints.TOKENIZER
        if not file.exists():
            try:
                write_bytes(file, self.data.tokenizer.to_str().encode())
            except OSError as error:
                raise CheckpointError(f"the tokenizer could not be written to {file}: {error}") from error

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write something without which the trial can go on."""
        try:
            write()
        except (OSError, CheckpointError) as error:
            self.warn(f"{error}; the trial goes on without it")

    def warn(self, text: str) -> None:
        log.warning(text)
        if text not in self.warnings:
            self.warnings.append(text)

    # --- results -----------------------------------------------------------------------------------------

    def _measured(self) -> dict[str, float]:
        spent = self.ledger.spent
        found: dict[str, float] = {"cost/peak_memory_gib": peak_memory_gib(self.device)}
        if self.losses:
            found["pretrain/loss"] = curve.tail_mean(self.losses)
        if spent.seconds > 0:
            found["throughput/tokens_per_second"] = spent.tokens / spent.seconds
            if self.peak_flops:
                found["throughput/mfu"] = spent.flops / spent.seconds / self.peak_flops
        energy = self.meters.energy_kwh()
        if energy is not None:
            found["cost/energy_kwh"] = energy
        return found

    def _tell_of_repeats(self) -> None:
        rows, batch, read = len(self.data.train), self.recipe.train.batch, self.ledger.sequences
        if rows < batch:
            self.warn(
                f"a batch of {batch} rows should fit into the corpus; it holds {rows} rows: full steps "
                "see rows twice; add text, or lower train.batch or data.length"
            )
        elif read > rows:
            self.warn(f"the data ran out: the {rows} rows of the corpus were read {read / rows:.1f} times")

    def result(self) -> Trained:
        self._tell_of_repeats()
        metrics = dict(self.metrics)
        if not self.reason:
            loss = heldout.mlm_loss(
                self.model,
                self.data,
                vocabulary=self.data.vocabulary,
                precision=self.recipe.train.precision,
            )
            if math.isfinite(loss):
                metrics["eval/mlm_loss"] = loss
        return Trained(
            model=self.model,
            spent=self.ledger.spent,
            metrics=metrics,
            state="diverged" if self.reason else "complete",
            reason=self.reason,
            attempts=self.attempts.entries,
            epochs=self.ledger.sequences / len(self.data.train),
            losses=self.losses,
            chosen=(
                {"train.micro_batch": self.micro_batch}
                if self.micro_batch is not None and self.micro_batch != self.recipe.train.micro_batch
                else {}
            ),
            warnings=self.warnings,
        )


def tracked(row: Mapping[str, float], progress: float) -> dict[str, float]:
    """A curve row under the names that trackers show; what the device did not tell is left out."""
    shown = {name: row[column] for column, name in CURVE.items() if column in row}
    finite = {name: value for name, value in shown.items() if name not in OPTIONAL or math.isfinite(value)}
    return {**finite, "budget/progress": progress}
