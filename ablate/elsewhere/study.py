"""Runs made by other programs as a study directory that report, table, verify and negative results accept."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ablate.analysis import metrics as names
from ablate.records import FrozenArm, FrozenStudy, Record, StudyPaths, write_json

FAMILY = "runs"  # a metric without a family of its own: `accuracy` becomes `runs/accuracy`


class RunsError(ValueError):
    """Everything wrong with runs that were to be imported, one line each."""


@dataclass(frozen=True)
class ImportedRun:
    """One run: `where` names its origin for messages; block None means that it shares nothing with others."""

    where: str
    arm: str
    block: str | None
    metrics: Mapping[str, float]
    state: Literal["complete", "diverged", "failed"] = "complete"
    reason: str = ""
    spent: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    hardware: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Declared:
    """What the user fixes: the question's terms."""

    name: str
    baseline: str
    outcome: str
    margin: float
    direction: str | None = None  # maximize, minimize; None: by the metric's name
    question: str = ""
    alpha: float = 0.05


def metric_name(name: str) -> str:
    """`family/name`, with a family put before a bare name."""
    return name if "/" in name.strip("/") else f"{FAMILY}/{name}"


def write_study(
    runs: Sequence[ImportedRun], declared: Declared, folder: Path, *, source: str, created: str
) -> Path:
    """Write `<folder>/<name>/`: study.json and a record per run. Raises RunsError, having written nothing."""
    root = folder / declared.name
    problems = [*_problems(runs, declared), *_taken(root)]
    if problems:
        raise RunsError("\n".join(f"{source}: {problem}" for problem in problems))
    study = _study(runs, declared, source, created)
    by_cell = {tuple(cell): trial for trial, cell in study.trials.items()}
    records = [_record(run, cell, by_cell[cell], study) for run, cell in _cells(runs, declared.baseline)]
    for record in records:
        write_json(StudyPaths(root).trial(record.trial).record, record)
    write_json(StudyPaths(root).study, study)  # last: a torn import is no study
    return root


def _taken(root: Path) -> list[str]:
    if not root.exists():
        return []
    return [f"{root} exists already; give the study another --name, or remove that folder"]


def _problems(runs: Sequence[ImportedRun], declared: Declared) -> list[str]:
    """All at once: what is missing, what is doubled, what cannot be compared."""
    if not runs:
        return ["there is no run in it"]
    found = []
    arms = list(dict.fromkeys(run.arm for run in runs))
    if declared.baseline not in arms:
        found.append(f"no run is of the baseline '{declared.baseline}'{_near(declared.baseline, arms)}")
    metrics = list(dict.fromkeys(metric_name(m) for run in runs for m in run.metrics))
    outcome = metric_name(declared.outcome)
    if outcome not in metrics:
        found.append(f"no run has the outcome '{declared.outcome}'{_near(outcome, metrics)}")
    if not declared.margin > 0:
        found.append(f"the margin must be above 0; got {declared.margin:g}")
    if len({run.block is None for run in runs}) > 1:
        bare = next(run.where for run in runs if run.block is None)
        found.append(f"{bare}: no block, while other runs have one; give all of them a block, or none")
    cells = Counter((run.arm, run.block) for run in runs if run.block is not None)
    for (arm, block), count in cells.items():
        if count > 1:
            places = ", ".join(run.where for run in runs if (run.arm, run.block) == (arm, block))
            found.append(f"{count} runs of arm '{arm}' on block {block} ({places}); keep one")
    return found


def _near(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{hint} There are {', '.join(known[:20])}"


def _cells(runs: Sequence[ImportedRun], baseline: str) -> list[tuple[ImportedRun, tuple[str, int]]]:
    """Each run's arm and block index: shared blocks in order, else counted within the arm."""
    blocks = {b: i for i, b in enumerate(_block_names(runs))}
    counted: Counter[str] = Counter()
    found = []
    for run in runs:
        index = blocks[run.block] if run.block is not None else counted[run.arm]
        counted[run.arm] += 1
        found.append((run, (run.arm, index)))
    return found


def _block_names(runs: Iterable[ImportedRun]) -> list[str]:
    """Blocks in the order of their numbers where they are numbers, else as they come."""
    seen = list(dict.fromkeys(run.block for run in runs if run.block is not None))
    return sorted(seen, key=int) if all(b.lstrip("-").isdigit() for b in seen) else seen


def _study(runs: Sequence[ImportedRun], declared: Declared, source: str, created: str) -> FrozenStudy:
    others = [a for a in dict.fromkeys(run.arm for run in runs) if a != declared.baseline]
    outcome = metric_name(declared.outcome)
    higher = (
        names.higher_is_better(outcome) if declared.direction is None else declared.direction == "maximize"
    )
    cells = [cell for _, cell in _cells(runs, declared.baseline)]
    paired = all(run.block is not None for run in runs)
    count = 1 + max(index for _, index in cells)
    seeds = (
        [int(b) if b.isdigit() else i for i, b in enumerate(_block_names(runs))]
        if paired
        else list(range(count))
    )
    question = (
        declared.question or f"Which of {len(others)} arms differ from {declared.baseline} on {outcome}?"
    )
    return FrozenStudy(
        schema=1, name=declared.name, question=question, created=created, source=_short(source),
        source_sha256=hashlib.sha256(repr(runs).encode()).hexdigest(),
        outcome={"metric": outcome, "margin": declared.margin, "higher_is_better": higher},
        family=others, alpha=declared.alpha, design="one-factor", budget={}, blocks=seeds, paired=paired,
        arms=[_arm(name, runs, declared.baseline) for name in (declared.baseline, *others)],
        notes=[_note(source, paired)],
        trials={_trial(declared.name, *cell): list(cell) for cell in cells},
    )  # fmt: skip


def _short(source: str) -> str:
    """A file by its name, a project as it was given."""
    return source if source.startswith("wandb:") else Path(source).name


def _note(source: str, paired: bool) -> str:
    told = f"imported from {source}: outcome, margin and family were declared at import, after the runs"
    return told if paired else f"{told}; the runs share no blocks, so arms are compared unpaired"


def _trial(study: str, arm: str, block: int) -> str:
    return hashlib.sha256(f"{study}\0{arm}\0{block}".encode()).hexdigest()[:12]


def _arm(name: str, runs: Sequence[ImportedRun], baseline: str) -> FrozenArm:
    changes = {} if name == baseline else _changes(name, runs, baseline)
    group = next(iter(changes), None) if len(changes) == 1 else None
    reference = None if name == baseline else baseline
    config = _common(runs, name)
    return FrozenArm(name=name, changes=changes, recipe=config, budget={}, group=group, reference=reference)


def _changes(name: str, runs: Sequence[ImportedRun], baseline: str) -> dict[str, list[Any]]:
    """What the configurations say; without any, what a name like `knob=level` says."""
    own, base = _common(runs, name), _common(runs, baseline)
    found = {k: [base.get(k), own.get(k)] for k in sorted({*own, *base}) if own.get(k) != base.get(k)}
    knob, sign, level = name.partition("=")
    return found or ({knob: ["baseline", level]} if sign else {})


def _common(runs: Sequence[ImportedRun], arm: str) -> dict[str, Any]:
    """Settings that all runs of an arm share; what varies within it (a seed) is not what it is."""
    configs = [_flat(run.config) for run in runs if run.arm == arm]
    first = configs[0] if configs else {}
    return {k: v for k, v in first.items() if all(k in c and c[k] == v for c in configs)}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= _flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = item
    return found


def _record(run: ImportedRun, cell: tuple[str, int], trial: str, study: FrozenStudy) -> Record:
    return Record(
        schema=1, study=study.name, trial=trial, arm=cell[0], block=cell[1], seed=study.blocks[cell[1]],
        state=run.state, reason=run.reason, recipe=dict(run.config), budget={}, started=run.started,
        spent=dict(run.spent), hardware=dict(run.hardware),
        metrics={metric_name(m): v for m, v in run.metrics.items()},
    )  # fmt: skip
