"""Runs made by other programs as a study directory that report, table, verify and negative results accept."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ablate.analysis import metrics as names
from ablate.elsewhere.levels import parts, read
from ablate.records import FrozenArm, FrozenStudy, Record, StudyPaths, write_json
from ablate.records.paths import told_path

HUGE = 1e100  # squares of larger differences overflow
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
    knob: str = ""  # what the arm is a level of, where its column or setting says so

    def of_knob(self, knob: str) -> ImportedRun:
        """The run of an arm that was read from this column or setting; a number is told with its knob."""
        return replace(self, knob=knob, arm=level_name(knob, self.arm))


def level_name(knob: str, level: str) -> str:
    """What an arm is called that is a level of a knob: `lr=0.001`, but `lion`, which is a name already."""
    bare = isinstance(read(level), float) or level.lower() in ("true", "false", "none", "nan", "inf", "-inf")
    return f"{knob}={level}" if bare else level


def by_value(name: str) -> str:
    """The name with its number as such, so that `lr=1e-3` is `lr=0.001`."""
    knob, _, level = name.partition("=")
    number = read(level)
    return f"{knob}={number!r}" if isinstance(number, float) else name


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
    """`family/name`, with a family put before a bare name, and tasks called as tables call them."""
    return names.canonical(name) if "/" in name.strip("/") else f"{FAMILY}/{name}"


def write_study(
    runs: Sequence[ImportedRun],
    declared: Declared,
    folder: Path,
    *,
    source: str,
    created: str,
    command: str,
    sha256: str = "",
    remarks: Sequence[str] = (),
) -> Path:
    """Write `<folder>/<name>/`: study.json and a record per run. Raises RunsError, having written nothing.

    `command` is the line that imports them again; `sha256` is the source file's, without one that of the runs
    as they were read. `remarks` are notes more.
    """
    outcome = metric_name(declared.outcome)
    runs = [_ended(replace(run, block=run.block and _whole(run.block)), outcome) for run in runs]
    runs, again = _run_again(runs, outcome)
    root = folder / declared.name
    problems = [*_problems(runs, declared), *_taken(root)]
    if problems:
        raise RunsError("\n".join(f"{source}: {problem}" for problem in problems))
    study = _study(runs, declared, source, created, sha256)
    study = study.model_copy(update={
        "command": command,
        "notes": [*study.notes, *remarks, *again, *_repeated(runs), *_not_finite(runs, outcome),
                  *_scale(runs, outcome, declared.margin)],
    })  # fmt: skip
    by_cell = {tuple(cell): trial for trial, cell in study.trials.items()}
    records = [_record(run, cell, by_cell[cell], study) for run, cell in _cells(runs, declared.baseline)]
    for record in records:
        write_json(StudyPaths(root).trial(record.trial).record, record)
    write_json(StudyPaths(root).study, study)  # last: a torn import is no study
    return root


def _whole(block: str) -> str:
    """A whole number as such: what pandas writes as 1.0 is block 1."""
    return re.sub(r"(-?[0-9]+)\.0+", r"\1", block) if re.fullmatch(r"-?[0-9]+\.0+", block) else block


def _outcome(run: ImportedRun, outcome: str) -> float | None:
    return next((value for metric, value in run.metrics.items() if metric_name(metric) == outcome), None)


def _ended(run: ImportedRun, outcome: str) -> ImportedRun:
    """A run that ended with an outcome of infinity or not a number has diverged, whatever it says."""
    value = _outcome(run, outcome)
    if run.state != "complete" or value is None or math.isfinite(value):
        return run
    return replace(run, state="diverged", reason=run.reason or f"{outcome} is {value:g}")


def _run_again(runs: Sequence[ImportedRun], outcome: str) -> tuple[list[ImportedRun], list[str]]:
    """Without the failed runs whose block the arm has completed in another run, and a remark on them.

    A process that was lost and started again is one run; one that diverged is a result, and stays.
    """
    done = {(run.arm, run.block) for run in runs if run.block is not None and run.state == "complete"}
    gone = [
        run for run in runs
        if run.state == "failed" and (run.arm, run.block) in done
        and math.isfinite(_outcome(run, outcome) or 0.0)
    ]  # fmt: skip
    if not gone:
        return list(runs), []
    shown = f"{', '.join(run.where for run in gone[:10])}{' …' if len(gone) > 10 else ''}"
    return [run for run in runs if run not in gone], [
        f"{len(gone)} failed run(s) left out, as another run of the arm completed the block: {shown}"
    ]


def _not_finite(runs: Sequence[ImportedRun], outcome: str) -> list[str]:
    """Which runs `_ended` counts as diverged."""
    found = [
        run.where for run in runs
        if run.state == "diverged" and not math.isfinite(_outcome(run, outcome) or 0.0)
    ]  # fmt: skip
    if not found:
        return []
    shown = f"{', '.join(found[:10])}{' …' if len(found) > 10 else ''}"
    return [
        f"{len(found)} run(s) whose {outcome} is infinite or not a number are counted as diverged: {shown}; "
        "one that was not measured is to have no number"
    ]


def _scale(runs: Sequence[ImportedRun], outcome: str, margin: float) -> list[str]:
    """Numbers that may be in another unit than their margin or their name is."""
    found = []
    measured: dict[str, list[float]] = {}
    for run in runs:
        for metric, value in run.metrics.items():
            if math.isfinite(value):
                measured.setdefault(metric_name(metric), []).append(value)
    values = measured.get(outcome, [])
    if len(values) > 1 and max(values) - min(values) < margin:
        found.append(
            f"the margin, {margin:g}, is wider than all that {outcome} varies, from {min(values):g} to "
            f"{max(values):g}: no arm can be more than equivalent by it; is it in the same unit?"
        )
    fractions = [
        m for m, v in measured.items() if names.unit(m) == "points" and any(v) and 0 <= min(v) <= max(v) <= 1
    ]
    if fractions:
        found.append(
            f"{', '.join(fractions[:10])} lie(s) between 0 and 1 and is told in points of 100; if these are "
            "fractions, import them times 100"
        )
    return found


def _repeated(runs: Sequence[ImportedRun]) -> list[str]:
    """Runs of one arm, without blocks, that have every number in common: likely a row that is there twice."""
    places: dict[tuple[str, Any], list[str]] = {}
    for run in runs:
        if run.block is None and run.metrics:
            places.setdefault((run.arm, tuple(sorted(run.metrics.items()))), []).append(run.where)
    twice = [where for where in places.values() if len(where) > 1]
    if not twice:
        return []
    shown = "; ".join(", ".join(where[:4]) for where in twice[:5]) + (" …" if len(twice) > 5 else "")
    extra = sum(len(where) - 1 for where in twice)
    return [
        f"{extra} run(s) repeat every number of another run of their arm, and are counted all the same: "
        f"{shown}"
    ]


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
        found.append(f"no run is of the baseline '{declared.baseline}'{near(declared.baseline, arms)}")
    elif len(arms) == 1:
        found.append(
            f"every run is of the baseline '{declared.baseline}', and nothing is left to compare with it; "
            "add the runs of another arm"
        )
    metrics = list(dict.fromkeys(metric_name(m) for run in runs for m in run.metrics))
    outcome = metric_name(declared.outcome)
    if declared.direction is None and outcome in metrics and names.direction(outcome) is None:
        found.append(
            f"the name '{declared.outcome}' does not tell whether more of it is better: "
            "--direction maximize or --direction minimize"
        )
    if outcome not in metrics:
        spent = any(declared.outcome in run.spent for run in runs)
        why = (
            f"; '{declared.outcome}' is read as what a run used, give that column another name"
            if spent
            else ""
        )
        found.append(f"no run has a number for '{declared.outcome}'{why or near(outcome, metrics)}")
    if not 0 < declared.margin <= HUGE:
        found.append(
            "the margin is the largest difference that would not matter, a finite number above 0; "
            f"got {declared.margin:g}"
        )
    if not 0 < declared.alpha < 0.5:
        found.append(f"alpha must lie between 0 and 0.5; got {declared.alpha:g}")
    found += [*_unprintable(runs), *_alike(runs), *_same_metric(runs)]
    found += [
        f"{run.where}: {metric}: {value:g} is beyond ±{HUGE:g}; leave it empty and say diverged as the state"
        for run in runs
        for metric, value in run.metrics.items()
        if HUGE < abs(value) < math.inf
    ]
    if len({run.block is None for run in runs}) > 1:
        bare = next(run.where for run in runs if run.block is None)
        found.append(f"{bare}: no block, while other runs have one; give all of them a block, or none")
    found += _doubled(runs)
    return found


def _doubled(runs: Sequence[ImportedRun]) -> list[str]:
    """A block is one run of every arm; what is measured of one run again is no block more."""
    cells: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        if run.block is not None:
            cells.setdefault((run.arm, run.block), []).append(run.where)
    twice = {cell: places for cell, places in cells.items() if len(places) > 1}
    told = [
        f"{len(places)} runs of arm '{arm}' on block {block} ({', '.join(places[:4])}"
        f"{' …' if len(places) > 4 else ''})"
        for (arm, block), places in list(twice.items())[:3]
    ]
    if not told:
        return []
    more = f"; and so of {len(twice) - 3} arms and blocks more" if len(twice) > 3 else ""
    return [
        f"{'; '.join(told)}{more}. A block is one run of each arm: keep one, average what was measured of "
        "one run again (such as fine-tuning seeds), make its tasks columns of one row; or name with --block "
        "what was drawn anew for each"
    ]


def near(given: str, known: Sequence[str]) -> str:
    """What a name may have meant, and what there is."""
    known = [" ".join(name.split())[:80] for name in known]
    found = difflib.get_close_matches(given, known, n=1, cutoff=0.4)
    hint = f"; did you mean '{found[0]}'?" if found else "."
    return f"{hint} There are {', '.join(known[:20]) or 'none'}"


def _unprintable(runs: Sequence[ImportedRun]) -> list[str]:
    """Names with line breaks, control or invisible characters: no table can hold them, no reader see them."""
    found: dict[tuple[str, str], str] = {}
    for run in runs:
        named = [("arm", run.arm), ("block", run.block or ""), *(("metric", m) for m in run.metrics)]
        for what, name in named:
            bad = next((c for c in name if unicodedata.category(c) in _INVISIBLE), None)
            if bad is not None:
                told = (
                    f"the {what} {name!a} has a character that does not print (U+{ord(bad):04X}); rename it"
                )
                found.setdefault((what, name), f"{run.where}: {told}")
    return list(found.values())


_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, surrogate, line and paragraph separators


def _alike(runs: Sequence[ImportedRun]) -> list[str]:
    """Arms and blocks whose names differ in capitals, spaces, coding or as `1e-3` does from `0.001`."""
    found = []
    for what in ("arm", "block"):
        first: dict[str, ImportedRun] = {}
        told = set()
        for run in runs:
            name = getattr(run, what)
            if name is None:
                continue
            key = by_value(" ".join(unicodedata.normalize("NFC", name).casefold().split()))
            other = first.setdefault(key, run)
            if getattr(other, what) != name and name not in told:
                told.add(name)
                found.append(
                    f"{run.where}: the {what} {name!a} is {getattr(other, what)!a} ({other.where}) written "
                    "otherwise (capitals, spaces, coding or form of a number); give both one name, or others"
                )
    return found


def _same_metric(runs: Sequence[ImportedRun]) -> list[str]:
    """Metrics that become one, of which one would be lost; and those that are what a run used."""
    given = dict.fromkeys(m for run in runs for m in run.metrics)
    by_name: dict[str, list[str]] = {}
    for metric in given:
        by_name.setdefault(metric_name(metric), []).append(metric)
    found = [
        f"{' and '.join(own)} are the same metric, {name}; keep one"
        for name, own in by_name.items()
        if len(own) > 1
    ]
    return found + [
        f"{name} is what a run used; call it '{name.removeprefix('spent/')}'"
        for name in by_name if name.startswith("spent/")
    ]  # fmt: skip


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
    return sorted(seen, key=int) if all(_NUMBER.fullmatch(b) for b in seen) else seen


_NUMBER = re.compile(r"-?[0-9]{1,18}")


def _seeds(blocks: Sequence[str]) -> list[int]:
    """A number for each block: its own where all are numbers, and different ones, else its place."""
    own = [int(b) for b in blocks if _NUMBER.fullmatch(b)]
    return own if len(set(own)) == len(blocks) and min(own) >= 0 else list(range(len(blocks)))


def _study(
    runs: Sequence[ImportedRun], declared: Declared, source: str, created: str, sha256: str
) -> FrozenStudy:
    others = [a for a in dict.fromkeys(run.arm for run in runs) if a != declared.baseline]
    outcome = metric_name(declared.outcome)
    higher = declared.direction == "maximize" if declared.direction else names.direction(outcome)
    cells = [cell for _, cell in _cells(runs, declared.baseline)]
    paired = all(run.block is not None for run in runs)
    count = 1 + max(index for _, index in cells)
    blocks = _block_names(runs)
    seeds = _seeds(blocks) if paired else list(range(count))
    question = declared.question or _question(others, declared.baseline, outcome)
    return FrozenStudy(
        schema=1, name=declared.name, question=question, created=created, source=_short(source),
        source_sha256=sha256 or hashlib.sha256(repr(runs).encode()).hexdigest(),
        outcome={"metric": outcome, "margin": declared.margin, "higher_is_better": higher},
        family=others, alpha=declared.alpha, design="imported runs", budget={},
        charge="not recorded", rules="not recorded", blocks=seeds, paired=paired,
        arms=[_arm(name, runs, declared.baseline) for name in (declared.baseline, *others)],
        notes=[_note(source, paired), *_named_blocks(blocks)],
        trials={_trial(declared.name, *cell): list(cell) for cell in cells},
    )  # fmt: skip


def _question(others: Sequence[str], baseline: str, outcome: str) -> str:
    if len(others) == 1:
        return f"Does {others[0]} differ from {baseline} on {outcome}?"
    return f"Which of {len(others)} arms differ from {baseline} on {outcome}?"


def _named_blocks(blocks: Sequence[str]) -> list[str]:
    """Pages count blocks from 0; what they are called in the source must be told where that differs."""
    if list(blocks) == [str(i) for i in range(len(blocks))]:
        return []
    shown = [f"{i} is '{name}'" for i, name in enumerate(blocks[:20])]
    return [f"blocks by their names in the source: {', '.join(shown)}{' …' if len(blocks) > 20 else ''}"]


def _short(source: str) -> str:
    """A file by the path that finds it again, a project as it was given."""
    return source if source.startswith("wandb:") else told_path(Path(source))


def _note(source: str, paired: bool) -> str:
    told = f"imported from {source}: outcome, margin and family were declared at import, after the runs"
    return told if paired else f"{told}; no blocks were given, so arms are compared unpaired"


def _trial(study: str, arm: str, block: int) -> str:
    return hashlib.sha256(f"{study}\0{arm}\0{block}".encode()).hexdigest()[:12]


def _arm(name: str, runs: Sequence[ImportedRun], baseline: str) -> FrozenArm:
    changes = {} if name == baseline else _changes(name, runs, baseline)
    group = next(iter(changes), None) if len(changes) == 1 else None
    reference = None if name == baseline else baseline
    config = _common(runs, name)
    return FrozenArm(name=name, changes=changes, recipe=config, budget={}, group=group, reference=reference)


def _changes(name: str, runs: Sequence[ImportedRun], baseline: str) -> dict[str, list[Any]]:
    """What the configurations say; without any, what a name says: `knob=level`, or several with commas.

    A name that says neither is a level of the column that the arms were read from.
    """
    own, base = _common(runs, name), _common(runs, baseline)
    unlike = _unlike(runs, name) | _unlike(runs, baseline)
    found = {
        k: [base.get(k), own.get(k)] for k in sorted({*own, *base} - unlike) if own.get(k) != base.get(k)
    }
    if found:
        return found
    knob = next((run.knob for run in runs if run.knob), "")
    said, usual = _said(name, knob), _said(baseline, knob)
    return {k: [usual.get(k, "baseline"), level] for k, level in said.items() if usual.get(k) != level}


def _said(name: str, knob: str) -> dict[str, str]:
    """Knob → level of a name in this form; of any other, the level of `knob`, where there is one."""
    pairs = [part.partition("=") for part in parts(name)]
    if not all(sign for _, sign, _ in pairs):  # one level that is a list: `betas=0.9,0.98`
        pairs = [name.partition("=")]
    said = {knob.strip(): level.strip() for knob, _, level in pairs if knob.strip() and level.strip()}
    return said or ({knob: name} if knob else {})


def _common(runs: Sequence[ImportedRun], arm: str) -> dict[str, Any]:
    """Settings that all runs of an arm share; what varies within it (a seed) is not what it is."""
    configs = [_flat(run.config) for run in runs if run.arm == arm]
    first = configs[0] if configs else {}
    return {k: v for k, v in first.items() if all(k in c and c[k] == v for c in configs)}


def _unlike(runs: Sequence[ImportedRun], arm: str) -> set[str]:
    """Settings that some runs of an arm have and others lack or have otherwise: no change of the arm."""
    return {k for run in runs if run.arm == arm for k in _flat(run.config)} - set(_common(runs, arm))


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
        state=run.state, reason=" ".join(run.reason.split()), recipe=dict(run.config), budget={},
        started=run.started, spent=dict(run.spent), hardware=dict(run.hardware),
        metrics={metric_name(m): v for m, v in run.metrics.items()},
    )  # fmt: skip
