"""What a task is, which ones a study asks for, and its examples: GLUE, grammar and user tasks alike.

After `resolve` nothing distinguishes a built-in task from a user's own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ablate.data.grammar import TASKS as GRAMMAR
from ablate.evaluation.config import EvaluateSpec, GlueSpec, GrammarSpec, Metric, UserTask
from ablate.evaluation.glue import AX, GLUE, HUB, OUTSIDE_AVERAGE, SUITE, results
from ablate.evaluation.metrics import REGRESSION
from ablate.evaluation.sources import (
    FileSplit,
    GrammarSplit,
    HubSplit,
    Split,
    TaskError,
    data_root,
    in_folder,
    user_file,
)

if TYPE_CHECKING:
    import pandas as pd


# What is kept beside a grammar task's metric, as GLUE does.
_ALSO: dict[Metric, tuple[Metric, ...]] = {
    "mcc": ("accuracy",),
    "f1": ("accuracy",),
    "pearson": ("spearman",),
    "spearman": ("pearson",),
}


class EvaluationError(RuntimeError):
    """A task could not be evaluated; carries its name. Tasks finished before it stay on disk."""

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(f"task '{task}': {reason}")
        self.task = task


@dataclass(frozen=True)
class Task:
    """One fine-tuning task: a training split, and validation splits that are scored by name."""

    family: str  # glue, grammar, tasks
    name: str
    text: tuple[str, ...]  # one column, or two for a pair
    train: Split
    validation: dict[str, Split]  # result name → split
    metric: Metric = "accuracy"
    also: tuple[Metric, ...] = ()  # kept in the scores, not in the metrics
    label: str = "label"
    classes: int | None = None  # None: counted in the training labels
    seeds: int = 1
    max_train: int | None = None
    unlabelled: dict[str, Split] = field(default_factory=dict)  # predicted and kept, not scored

    @property
    def regression(self) -> bool:
        return self.metric in REGRESSION

    @property
    def index(self) -> int:
        """A number of the name alone: the task's random streams are its own, whatever runs beside it."""
        return zlib.crc32(self.name.encode())

    @property
    def metrics(self) -> list[str]:
        return [f"{self.family}/{result}" for result in self.validation]


@dataclass(frozen=True)
class Examples:
    """Texts of one split (`second` for pairs) and labels: class numbers, or float values of a regression."""

    first: list[str]
    second: list[str] | None
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Loaded:
    """A task's examples; `outputs` is the number of classes, 1 for a regression."""

    train: Examples
    validation: dict[str, Examples]
    unlabelled: dict[str, Examples]
    outputs: int


# --- which tasks -------------------------------------------------------------------------------------


def resolve(spec: EvaluateSpec) -> list[Task]:
    """The tasks that a study asks for, unknown names left out (`check` reports them)."""
    found: list[Task] = []
    if spec.glue:
        found += [glue_task(name, spec.glue) for name in glue_names(spec.glue) if name in GLUE]
    if spec.grammar:
        found += [grammar_task(name, spec.grammar) for name in spec.grammar.tasks if name in GRAMMAR]
    return found + [user_task(name, own) for name, own in spec.tasks.items()]


def glue_names(spec: GlueSpec) -> tuple[str, ...]:
    """The names asked for; by default all of the paper's eight that are present."""
    return spec.tasks if spec.tasks is not None else tuple(name for name in SUITE if glue_present(name))


def glue_present(name: str) -> bool:
    """Whether training and validation files are there; without ABLATE_DATA the hub is trusted."""
    splits = [glue_split(name, "train"), *(glue_split(name, split) for _, split in results(name))]
    return all(not isinstance(split, FileSplit) or split.path.is_file() for split in splits)


def glue_split(name: str, split: str) -> Split:
    """Below `$ABLATE_DATA/glue` when that is set, else on the hub."""
    root = data_root()
    return (
        HubSplit(HUB, name, split) if root is None else FileSplit(root / "glue" / name / f"{split}.parquet")
    )


def glue_task(name: str, spec: GlueSpec) -> Task:
    known = GLUE[name]
    with_ax = name == "mnli" and AX in (spec.tasks or ())
    return Task(
        "glue", name, known.text, glue_split(name, "train"),
        {result: glue_split(name, split) for result, split in results(name)},
        known.metric, known.also, classes=None if known.metric in REGRESSION else known.outputs,
        seeds=spec.seeds, max_train=spec.limit(name),
        unlabelled={AX: glue_split(AX, "test")} if with_ax else {},
    )  # fmt: skip


def grammar_task(name: str, spec: GrammarSpec) -> Task:
    known = GRAMMAR[name]
    splits = {split: GrammarSplit(name, split, spec.seed) for split in ("train", "validation")}
    return Task(
        "grammar", name, known.columns, splits["train"], {name: splits["validation"]},
        known.metric, _ALSO.get(known.metric, ()), classes=known.classes,
        seeds=spec.seeds, max_train=spec.limit(name),
    )  # fmt: skip


def user_task(name: str, own: UserTask) -> Task:
    if own.path is not None:
        train, validation = (in_folder(user_file(own.path), split) for split in ("train", "validation"))
    else:
        assert own.train is not None  # both are given: UserTask refuses anything else
        assert own.validation is not None
        train, validation = user_file(own.train), user_file(own.validation)
    return Task(
        "tasks", name, own.text, FileSplit(train), {name: FileSplit(validation)}, own.metric,
        label=own.label, classes=own.classes, seeds=own.seeds, max_train=own.limit(name),
    )  # fmt: skip


# --- names of what is measured -----------------------------------------------------------------------


def metric_names(spec: EvaluateSpec) -> list[str]:
    """Every number that a trial measures: one per validation split, and the averages."""
    tasks = resolve(spec)
    averages = [f"{family}/average" for family in averaged(tasks)]
    return [name for task in tasks for name in task.metrics] + averages


def averaged(tasks: Iterable[Task]) -> dict[str, list[str]]:
    """Family → the results in its average: MNLI-m and -mm both count, WNLI and a user's own tasks do not."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        if task.family != "tasks" and task.name not in OUTSIDE_AVERAGE:
            found.setdefault(task.family, []).extend(task.validation)
    return found


# --- examples ----------------------------------------------------------------------------------------


def load(task: Task) -> Loaded:
    """Read every split of a task. Raises TaskError naming task, fact and way out."""
    columns = (*task.text, task.label)
    train = task.train.read(columns)
    values = None if task.regression else _classes(task, train[task.label])
    examples = _examples(task, train, values)
    if task.max_train is not None:
        examples = _cut(examples, task.max_train, task.index)
    return Loaded(
        train=examples,
        validation={k: _examples(task, split.read(columns), values) for k, split in task.validation.items()},
        unlabelled={k: _examples(task, split.read(columns), None) for k, split in task.unlabelled.items()},
        outputs=1 if values is None else len(values),
    )


def _classes(task: Task, labels: pd.Series) -> list[object]:
    """The class values in order: 0 … k−1 where `classes` says so, else the sorted training labels."""
    values = sorted(labels.dropna().unique().tolist())
    if task.classes is not None and set(values) <= set(range(task.classes)):
        values = list(range(task.classes))  # a class may be missing from a small training set
    if task.classes not in (None, len(values)):
        raise TaskError(
            f"task '{task.name}' has {task.classes} classes, its training labels have {len(values)} values "
            f"({', '.join(map(str, values[:5]))}…); correct `classes` or leave it out"
        )
    if not 2 <= len(values) <= 1000:
        raise TaskError(
            f"task '{task.name}' needs 2 to 1000 classes, column '{task.label}' has {len(values)} values; "
            "for a regression choose the metric pearson or spearman"
        )
    if task.metric == "f1" and len(values) != 2:
        raise TaskError(f"task '{task.name}': f1 is for two classes, it has {len(values)}; choose macro-f1")
    return values


def _examples(task: Task, frame: pd.DataFrame, values: list[object] | None) -> Examples:
    texts = [frame[column] for column in task.text]
    empty = [(column.name, int(column.isna().sum())) for column in texts if column.isna().any()]
    if empty or frame.empty:
        fact = f"{empty[0][1]} rows without '{empty[0][0]}'" if empty else "a split without rows"
        raise TaskError(f"task '{task.name}' needs a text in every row, it has {fact}; fill or drop them")
    first, second = texts[0].astype(str).tolist(), texts[1].astype(str).tolist() if len(texts) == 2 else None
    return Examples(first, second, _labels(task, frame[task.label], values))


def _labels(task: Task, labels: pd.Series, values: list[object] | None) -> np.ndarray:
    if values is None:
        try:
            numbers = labels.to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if not np.isfinite(numbers).all():
            raise TaskError(
                f"task '{task.name}' is a regression, column '{task.label}' must hold finite numbers"
            )
        return numbers
    mapped = labels.map({value: index for index, value in enumerate(values)})
    if mapped.isna().any():
        strange = labels[mapped.isna()].iloc[0]
        raise TaskError(
            f"task '{task.name}': column '{task.label}' holds '{strange}', which is none of its classes "
            f"({', '.join(map(str, values[:8]))}); GLUE's −1 marks unlabelled rows, which cannot be used"
        )
    return mapped.to_numpy(dtype=np.int64)


def _cut(examples: Examples, count: int, seed: int) -> Examples:
    """The same random `count` examples for every arm, block and fine-tuning seed, in file order."""
    if count >= len(examples):
        return examples
    kept = np.sort(np.random.default_rng(seed).permutation(len(examples))[:count])
    return Examples(
        [examples.first[i] for i in kept],
        None if examples.second is None else [examples.second[i] for i in kept],
        examples.labels[kept],
    )
