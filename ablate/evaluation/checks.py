"""What is wrong with an `evaluate:` section, before anything starts; reads names and schemas only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from ablate.data.grammar import TASKS as GRAMMAR
from ablate.evaluation.config import EvaluateSpec, GlueSpec
from ablate.evaluation.glue import AX, GLUE, KNOWN
from ablate.evaluation.sources import FileSplit, HubSplit, Split, TaskError, data_root
from ablate.evaluation.tasks import Task, glue_names, glue_present, resolve


def check(spec: EvaluateSpec) -> list[str]:
    """Every problem as one message (rule, fact, way out); empty when the tasks can run."""
    told: list[str] = []
    if spec.glue:
        told += _names("glue", spec.glue.tasks or (), KNOWN) + _glue(spec.glue)
    if spec.grammar:
        told += _names("grammar", spec.grammar.tasks, GRAMMAR)
    for group in (spec.glue, spec.grammar):
        if group and isinstance(group.max_train, dict):
            told += _names("max_train", group.max_train, KNOWN if group is spec.glue else GRAMMAR)
            told += _idle_limits(group.max_train, group.tasks)
    named = resolve(spec)
    tasks = [task for i, task in enumerate(named) if task not in named[:i]]  # one listed twice is told above
    return [*told, *_clashes(tasks), *(message for task in tasks for message in _splits(task))]


def fetch(spec: EvaluateSpec) -> list[str]:
    """Bring the tasks that are on the hub to this machine; a message for each that cannot be had.

    Before training: a task that is missed after it has cost the trial its whole budget.
    """
    told = []
    for task in resolve(spec):
        splits = (task.train, *task.validation.values(), *task.unlabelled.values())
        try:
            for split in splits:
                if isinstance(split, HubSplit):
                    split.fetch()
        except TaskError as error:
            told.append(str(error))
    return told


def _names(section: str, given: Iterable[str], known: Iterable[str]) -> list[str]:
    known, given = list(known), list(given)
    told = []
    for name in dict.fromkeys(given):
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            told.append(f"{section}: there is no task '{name}'{hint} Known: {', '.join(known)}")
        elif given.count(name) > 1:
            told.append(
                f"{section}: each task runs once, '{name}' is listed {given.count(name)} times; drop the rest"
            )
    return told


def _idle_limits(limits: Iterable[str], tasks: Iterable[str] | None) -> Iterator[str]:
    """Limits of tasks that a section leaves out, although they exist: nothing would read them."""
    tasks = list(KNOWN if tasks is None else tasks)
    for name in limits:
        if name not in tasks and name in (*KNOWN, *GRAMMAR):
            yield f"max_train: '{name}' is not among `tasks` ({', '.join(tasks)}); add it, or drop its limit"


def _glue(spec: GlueSpec) -> list[str]:
    root = data_root()
    if root is not None and not (root / "glue").is_dir():
        return [
            f"glue: ABLATE_DATA is {root}, which has no folder glue; correct it, or unset it to use the hub"
        ]
    if AX in (spec.tasks or ()) and "mnli" not in (spec.tasks or ()):
        return [
            "glue: ax is a diagnostic set without labels, predicted by the MNLI model; add mnli or drop ax"
        ]
    if not glue_names(spec):
        return [
            "glue: no task with train and validation splits is below ABLATE_DATA; use grammar tasks instead"
        ]
    return []


def _clashes(tasks: list[Task]) -> Iterator[str]:
    """Predictions and scores are filed by the result's bare name, so it must be one task's only."""
    seen: dict[str, str] = {}
    for task in tasks:
        for result in (*task.validation, *task.unlabelled):
            if result in seen:
                yield f"tasks: '{result}' already names a task of {seen[result]}; rename yours"
            seen[result] = task.family


def _splits(task: Task) -> Iterator[str]:
    if task.family == "glue" and isinstance(task.train, FileSplit) and not task.train.path.parent.is_dir():
        yield (
            f"glue: task '{task.name}' is not below ABLATE_DATA (no folder {task.train.path.parent}); "
            f"drop it from `tasks`; present: {', '.join(_present()) or 'none'}"
        )
        return
    splits: list[tuple[str, Split]] = [
        ("train", task.train),
        *task.validation.items(),
        *task.unlabelled.items(),
    ]
    for name, split in splits:
        yield from _split(task, "validation" if name == task.name else name, split)


def _split(task: Task, name: str, split: Split) -> Iterator[str]:
    if isinstance(split, FileSplit) and not split.path.is_file():
        way = (
            f"drop it from `tasks`; present: {', '.join(_present())}"
            if task.family == "glue"
            else "correct its path"
        )
        yield f"{task.family}: task '{task.name}' needs a {name} split, {split.path} does not exist; {way}"
        return
    try:
        columns = split.columns()
    except TaskError as error:
        yield f"{task.family}: task '{task.name}': {error}"
        return
    for column in (*task.text, task.label):
        if columns is not None and column not in columns:
            near = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            yield (
                f"{task.family}: task '{task.name}' reads column '{column}', its {name} split has "
                f"{', '.join(columns)}{hint}"
            )


def _present() -> list[str]:
    return [name for name in GLUE if glue_present(name)]
