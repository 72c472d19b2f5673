"""Evaluate a pretrained model: every task, every fine-tuning seed, once, and all predictions kept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ablate.evaluation import predictions
from ablate.evaluation.config import EvaluateSpec, Metric
from ablate.evaluation.encode import Tokens, encode
from ablate.evaluation.finetune import Finetuner, Rows
from ablate.evaluation.glue import NUMBERS
from ablate.evaluation.metrics import score
from ablate.evaluation.reference import averages
from ablate.evaluation.sources import TaskError
from ablate.evaluation.tasks import EvaluationError, Loaded, Task, averaged, load, resolve
from ablate.records import TrialPaths
from ablate.records.gathered import gather
from ablate.training.progress import Progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ablate.model import Bert
    from ablate.recipe import Recipe

Scores = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Evaluation:
    """What was measured: `metrics` in points, `scores` task → metric → one value per fine-tuning seed."""

    metrics: dict[str, float] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    average_over: dict[str, list[str]] = field(default_factory=dict)  # family → the results in its average
    warnings: list[str] = field(default_factory=list)


def evaluate(
    model: Bert,
    recipe: Recipe,
    tokenizer: Tokenizer,
    spec: EvaluateSpec,
    *,
    seed: int,
    paths: TrialPaths,
    cache: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Evaluation:
    """Fine-tune on every task of `spec` and score the last epoch. The model given is left as it was.

    A task's result depends on the weights, the block's `seed`, its own data and the recipe, never on which
    tasks run before or beside it. Fine-tuning seeds are averaged. Finished (task, seed) pairs are read back
    from `paths.predictions`. `cache` keeps tokenised splits for all trials. Raises EvaluationError.
    """  # fmt: skip
    tasks = resolve(spec)
    if not tasks:
        return Evaluation()
    work = _Work(model, recipe, tokenizer, seed, paths, cache, _Heartbeat(tasks, on_progress))
    scores: Scores = {}
    for task in tasks:
        try:
            scores |= work.task(task)
        except (torch.OutOfMemoryError, MemoryError, OSError):
            raise  # states of their own: out of memory, disk full
        except Exception as error:
            raise EvaluationError(task.name, _reason(error)) from error
    gather(paths.predictions)
    return _summary(tasks, scores)


def _summary(tasks: list[Task], scores: Scores) -> Evaluation:
    metrics = {
        f"{task.family}/{name}": float(np.mean(scores[name][task.metric]))
        for task in tasks
        for name in task.validation
    }
    metrics |= averages(tasks, metrics)
    return Evaluation(metrics, scores, averaged(tasks), _warnings(tasks))


def _warnings(tasks: list[Task]) -> list[str]:
    """What a reader must know before comparing these numbers with others."""
    told = []
    over = averaged(tasks).get("glue", [])
    missing = [name for name in NUMBERS if name not in over]
    if over and missing:
        told.append(
            f"glue/average is the mean over {', '.join(over)}: {len(over)} of GLUE's {len(NUMBERS)} numbers "
            f"(without {', '.join(missing)}); do not compare it with a full GLUE average"
        )
    cut = [f"{task.name} {task.max_train}" for task in tasks if task.max_train is not None]
    if cut:
        told.append(f"training sets were limited by max_train: {', '.join(cut)} examples")
    return told


def _reason(error: Exception) -> str:
    known = isinstance(error, (TaskError, FloatingPointError))
    return str(error) if known else f"{type(error).__name__}: {error}"


class _Heartbeat:
    """Tells the share of all fine-tuning examples that were seen, at most once a second."""

    def __init__(self, tasks: list[Task], tell: Callable[[Progress], None]) -> None:
        self._weights = {task.name: 1.0 / len(tasks) / task.seeds for task in tasks}
        self._tell, self._done, self._told, self._started = tell, 0.0, 0.0, time.monotonic()

    def add(self, task: Task, share: float, *, now: bool = False) -> None:
        """Advance by a share of one (task, seed) pair."""
        self._done += share * self._weights[task.name]
        clock = time.monotonic()
        if now or clock - self._told >= 1.0:
            self._told, done = clock, min(1.0, self._done)
            eta = (clock - self._started) * (1 - done) / done if done > 0 else None
            self._tell(Progress("evaluate", done, eta_seconds=eta))


class _Work:
    """One evaluation in progress: the encoder, the caches, the predictions on disk."""

    def __init__(
        self,
        model: Bert,
        recipe: Recipe,
        tokenizer: Tokenizer,
        seed: int,
        paths: TrialPaths,
        cache: Path | None,
        heartbeat: _Heartbeat,
    ) -> None:
        self._tokenizer, self._seed, self._folder, self._cache = tokenizer, seed, paths.predictions, cache
        self._heartbeat, self._config = heartbeat, recipe.finetune
        self._max_length = min(recipe.finetune.max_length, recipe.data.length)
        precision = recipe.train.precision
        self._tuner = Finetuner(
            precision.for_finetuning(model.encoder),
            recipe.model.width,
            self._config,
            bf16=precision.finetunes_in_bf16,
            seed=seed,
        )
        self._identity = repr((self._config, precision, seed, _weights(model.encoder)))

    def task(self, task: Task) -> Scores:
        """Result name → metric → value per fine-tuning seed."""
        data = load(task)
        tokens = {
            name: encode(self._tokenizer, split, self._max_length, self._cache)
            for name, split in _splits(data)
        }
        fingerprint = self._fingerprint(task, data, tokens)
        for repeat in range(task.seeds):
            if not self._finished(data, fingerprint, repeat):
                self._run(task, data, tokens, fingerprint, repeat)
            else:
                self._heartbeat.add(task, 1.0, now=True)
        return {name: self._scores(task, name, data, fingerprint) for name in data.validation}

    def _fingerprint(self, task: Task, data: Loaded, tokens: dict[str, Tokens]) -> str:
        digest = hashlib.sha256(f"1 {self._identity} {task.name} {data.outputs}".encode())
        for name, split in _splits(data):
            digest.update(tokens[name].digest.encode() + split.labels.tobytes())
        return digest.hexdigest()

    def _path(self, result: str) -> Path:
        return self._folder / f"{result}.parquet"

    def _finished(self, data: Loaded, fingerprint: str, repeat: int) -> bool:
        return all(
            predictions.of_seed(predictions.read(self._path(name), fingerprint), repeat, len(split))
            is not None
            for name, split in (data.validation | data.unlabelled).items()
        )

    def _run(
        self, task: Task, data: Loaded, tokens: dict[str, Tokens], fingerprint: str, repeat: int
    ) -> None:
        rows = {name: Rows.of(split, self._tuner.device) for name, split in tokens.items()}
        labels, shift, spread = targets(task, data)
        total = len(labels) * self._config.epochs
        tick = lambda used: self._heartbeat.add(task, used / total)  # noqa: E731
        model = self._tuner.run(task.index, repeat, rows["train"], labels, data.outputs, tick)
        for name, split in (data.validation | data.unlabelled).items():
            outputs = self._tuner.predict(model, rows[name]) * spread + shift
            predictions.add(self._path(name), fingerprint, predictions.frame(repeat, split.labels, outputs))
        self._heartbeat.add(task, 0.0, now=True)

    def _scores(self, task: Task, name: str, data: Loaded, fingerprint: str) -> dict[str, list[float]]:
        """From the file, so that a resumed trial and an uninterrupted one report the same."""
        kept = predictions.read(self._path(name), fingerprint)
        found: dict[Metric, list[float]] = {metric: [] for metric in (task.metric, *task.also)}
        for repeat in range(task.seeds):
            own = predictions.of_seed(kept, repeat, len(data.validation[name]))
            if own is None:
                raise TaskError(
                    f"{self._path(name)} lost the predictions of fine-tuning seed {repeat}; run again"
                )
            for metric, values in found.items():
                values.append(score(metric, own["label"].to_numpy(), own["prediction"].to_numpy()))
        return {str(metric): values for metric, values in found.items()}


def _splits(data: Loaded) -> list[tuple[str, Any]]:
    return [("train", data.train), *data.validation.items(), *data.unlabelled.items()]


def targets(task: Task, data: Loaded) -> tuple[np.ndarray, np.float32, np.float32]:
    """Training targets; a regression's are standardised, its outputs put back by x · spread + shift."""
    if not task.regression:
        return data.train.labels, np.float32(0), np.float32(1)
    shift, spread = data.train.labels.mean(), data.train.labels.std() or 1.0
    return (data.train.labels - shift) / spread, np.float32(shift), np.float32(spread)


def _weights(encoder: torch.nn.Module) -> str:
    """A digest of the weights: predictions of a repeated pretraining are not taken for this one's."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
