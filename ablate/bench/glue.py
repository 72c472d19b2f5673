"""`ablate bench glue`: fine-tuning one checkpoint on its tasks, against transformers' Trainer, task by task.

Ours is `ablate.evaluation.evaluate` as a trial calls it. The peer is the Trainer as `run_glue.py` sets it up,
every text padded to the longest allowed, and once more with its best flags against padding. All have the same
weights, rows, batches, epochs, optimizer, learning rates, arithmetic and metrics. Timed is everything from
reading a task to its scores, tokenising included; loading the model is not. Each round has a fine-tuning seed
of its own, so that scores have a spread.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import ValidationError

from ablate.bench.errors import BenchError
from ablate.bench.glue_report import OURS, Report, Row
from ablate.bench.run import circumstances, clock_of, place
from ablate.bench.subjects import synchronizer
from ablate.bench.trainer import GROUPED, PADDED, Padding, Peer, quiet, require_packages
from ablate.evaluation import EvaluateSpec, check
from ablate.evaluation.batching import epoch_groups, steps, window_for
from ablate.evaluation.config import GlueSpec
from ablate.evaluation.encode import encode
from ablate.evaluation.glue import AX
from ablate.evaluation.suite import evaluate
from ablate.evaluation.tasks import EvaluationError, glue_names, load, resolve
from ablate.export.write import Pretrained, read_checkpoint, write
from ablate.knobs import replace
from ablate.recipe import Recipe
from ablate.records import TrialPaths
from ablate.study import Study, explain


def bench(
    given: Path,
    spec: EvaluateSpec,
    *,
    changes: Mapping[str, Any] | None = None,
    device: str | None = None,
    threads: int = 1,
    rounds: int = 3,
    grouped: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Fine-tune a checkpoint on every task of `spec`, ours and the peers' in turns. Raises BenchError.

    `changes`: knobs of fine-tuning that are set for all, such as {"finetune.lr": 1e-4}.
    """
    require_packages()
    problems = check(spec)
    if problems:
        raise BenchError("\n".join(problems))
    where = place(device, threads)
    found = read_checkpoint(given)
    pretrained, notes = comparable(dataclasses.replace(found, recipe=changed(found.recipe, changes or {})))
    specs = one_by_one(spec)
    with tempfile.TemporaryDirectory(prefix="ablate-bench-") as scratch:
        with quiet():
            folder = write(pretrained, Path(scratch) / "exported")
        contest = Contest(pretrained, folder, where, (PADDED, GROUPED) if grouped else (PADDED,))
        for who in contest.names:  # what is imported or allocated on first use
            tell(f"warming up: {who}")
            contest.run(who, limited(specs[0], 2 * pretrained.recipe.finetune.batch), seed=rounds)
        rows = [contest.row(one) for one in specs]
        for turn in range(rounds):
            for number, (one, row) in enumerate(zip(specs, rows, strict=True)):
                for who in contest.names if (turn + number) % 2 == 0 else contest.names[::-1]:
                    seconds, score = contest.run(who, one, seed=turn)
                    row.seconds[who].append(seconds)
                    row.scores[who].append(score)
                    tell(f"round {turn + 1} of {rounds}: {row.task}, {who}: {seconds:.1f} s, {score:.1f}")
    precision = "bf16" if pretrained.recipe.train.precision.finetunes_in_bf16 else "fp32"
    return Report(
        checkpoint=str(given),
        family=contest.family,
        rounds=rounds,
        finetune=pretrained.recipe.finetune.model_dump(mode="json"),
        longest=longest(pretrained.recipe),
        notes=notes,
        rows=rows,
        **circumstances(where, contest.clock, precision),
    )


# --- what was asked for ------------------------------------------------------------------------------


def section(tasks: str | None, study: Path | None, max_train: int | None) -> EvaluateSpec:
    """The tasks of a command line: of GLUE, or of a study file. Raises BenchError, StudyError."""
    names = tuple(name.strip() for name in tasks.split(",")) if tasks is not None else None
    if study is None:
        return EvaluateSpec(glue=GlueSpec(tasks=names, max_train=max_train))
    whole = Study.load(study).file.evaluate
    found = whole if max_train is None else limited(whole, max_train)
    return found if names is None else _chosen(found, names)


def _chosen(spec: EvaluateSpec, names: tuple[str, ...]) -> EvaluateSpec:
    known = [task.name for task in resolve(spec)]
    for name in names:
        if name not in known:
            raise BenchError(f"--tasks: the study has no task '{name}'; it has {', '.join(known)}")

    def cut(group: Any) -> Any:
        own = tuple(name for name in glue_names(group) if name in names) if group else ()
        return group.model_copy(update={"tasks": own}) if own else None

    return EvaluateSpec(
        glue=cut(spec.glue),
        grammar=cut(spec.grammar),
        tasks={name: user for name, user in spec.tasks.items() if name in names},
    )


def assignments(given: Sequence[str]) -> dict[str, Any]:
    """Knobs and values of `PATH=VALUE`, values as in YAML. Raises BenchError."""
    found = {}
    for text in given:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise BenchError(f"--set takes PATH=VALUE, such as finetune.lr=1e-4; got '{text}'")
        try:
            found[path] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise BenchError(f"--set {path}: '{value}' is no value of YAML; quote it") from None
    return found


# --- what is compared --------------------------------------------------------------------------------


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with other knobs of fine-tuning. Raises BenchError, UnknownKnobError."""
    for path in changes:
        if not path.startswith("finetune.") and path != "train.precision":
            raise BenchError(
                f"--set sets what fine-tuning reads, finetune.… and train.precision; {path} belongs to the "
                "checkpoint; pretrain another one"
            )
    try:
        return replace(recipe, changes)
    except ValidationError as error:
        told = [f"--set {'.'.join(map(str, where))}: {message}" for where, message in explain(error, Recipe)]
        raise BenchError("\n".join(told)) from None


def comparable(pretrained: Pretrained) -> tuple[Pretrained, list[str]]:
    """The same checkpoint with a head and dropouts that the peer has too; and what was changed or differs."""
    family, config = pretrained.family, pretrained.recipe.finetune
    if family is None:
        return pretrained, []
    width, hidden = pretrained.recipe.model.width, config.dropout
    if family.name == "BERT":
        theirs = {"pooler": "cls", "head_width": width}
        if config.embedding_dropout not in (None, hidden):
            theirs["embedding_dropout"] = hidden
    else:
        theirs = {"pooler": config.pooler if config.pooler in ("cls", "mean") else "cls"}
    odd = {name: value for name, value in theirs.items() if getattr(config, name) != value}
    notes = [f"finetune.{name} is {value} for all, as {family.name} has it" for name, value in odd.items()]
    if family.name != "BERT":
        notes.append(f"{family.name}'s head is its own: a dense layer, a norm and a product, not ours")
    recipe = replace(pretrained.recipe, {f"finetune.{name}": value for name, value in odd.items()})
    return dataclasses.replace(pretrained, recipe=recipe), notes


def one_by_one(spec: EvaluateSpec) -> list[EvaluateSpec]:
    """A section for each task, with one fine-tuning seed; diagnostic sets without labels are left out."""
    found: list[EvaluateSpec] = []
    if spec.glue:
        for name in glue_names(spec.glue):
            if name != AX:
                found.append(EvaluateSpec(glue=GlueSpec(tasks=(name,), max_train=spec.glue.limit(name))))
    if spec.grammar:
        for name in spec.grammar.tasks:
            own = {"tasks": (name,), "seeds": 1, "max_train": spec.grammar.limit(name)}
            found.append(EvaluateSpec(grammar=spec.grammar.model_copy(update=own)))
    for name, user in spec.tasks.items():
        found.append(EvaluateSpec(tasks={name: user.model_copy(update={"seeds": 1})}))
    return found


def limited(spec: EvaluateSpec, most: int) -> EvaluateSpec:
    """The same tasks with at most so many training examples each."""

    def cut(group: Any) -> Any:
        return group and group.model_copy(update={"max_train": most})

    return EvaluateSpec(
        glue=cut(spec.glue), grammar=cut(spec.grammar), tasks={k: cut(v) for k, v in spec.tasks.items()}
    )


def longest(recipe: Recipe) -> int:
    """Tokens of the longest text that is fine-tuned on."""
    return min(recipe.finetune.max_length, recipe.data.length)


# --- who fine-tunes ----------------------------------------------------------------------------------


class Contest:
    """All who fine-tune one checkpoint, each with a clock around it."""

    def __init__(
        self, pretrained: Pretrained, folder: Path, device: torch.device, peers: tuple[Padding, ...]
    ) -> None:
        from tokenizers import Tokenizer

        self._recipe, self._device = pretrained.recipe, device
        self.tokenizer = Tokenizer.from_file(str(pretrained.tokenizer))
        self.model = pretrained.model.to(device)
        self._recipe.train.precision.prepare(self.model, device)
        self.peer = Peer(folder, self._recipe, device.type)
        self._peers = {padding.name: padding for padding in peers}
        self._wait = synchronizer(device)
        self.names = [OURS, *self._peers]
        self.family = pretrained.family.name if pretrained.family else "the package's own sources"
        self.clock = clock_of(device)

    def run(self, who: str, spec: EvaluateSpec, seed: int) -> tuple[float, float]:
        """Seconds of one fine-tuning run, and its score."""
        if who == OURS:
            return self._timed(lambda: self._ours(spec, seed))
        (task,) = resolve(spec)
        outputs = load(task).outputs  # a head needs to know
        model = self.peer.model(outputs, seed)
        return self._timed(lambda: self.peer.finetune(model, task, self._peers[who], seed).scores)

    def row(self, spec: EvaluateSpec) -> Row:
        """What is known of a task before it is fine-tuned on."""
        (task,), config = resolve(spec), self._recipe.finetune
        data = load(task)
        lengths = encode(self.tokenizer, data.train, longest(self._recipe)).lengths
        window = window_for(lengths, data.train.labels, config.batch)
        batches = epoch_groups(lengths, config.batch, 0, window, split=self._device.type == "cpu")
        computed = sum(len(rows) * int(lengths[rows].max()) for groups in batches for rows in groups)
        return Row(
            task=task.name,
            metric=task.metric,
            train_rows=len(data.train),
            validation_rows=sum(map(len, data.validation.values())),
            steps=steps(len(data.train), config.batch, config.epochs),
            tokens=float(lengths.mean()),
            computed=computed / len(lengths),
            seconds={who: [] for who in self.names},
            scores={who: [] for who in self.names},
        )

    def _ours(self, spec: EvaluateSpec, seed: int) -> dict[str, float]:
        """As a trial evaluates, with nothing kept from before: neither tokens nor predictions."""
        with tempfile.TemporaryDirectory(prefix="ablate-bench-") as scratch:
            paths = TrialPaths(Path(scratch))
            try:
                found = evaluate(self.model, self._recipe, self.tokenizer, spec, seed=seed, paths=paths)
            except EvaluationError as error:
                raise BenchError(str(error)) from error
        (task,) = resolve(spec)
        return {name: found.metrics[f"{task.family}/{name}"] for name in task.validation}

    def _timed(self, act: Callable[[], dict[str, float]]) -> tuple[float, float]:
        now = time.process_time if self.clock == "cpu" else time.perf_counter
        started = now()
        scores = act()
        self._wait()
        return now() - started, float(np.mean(list(scores.values())))
