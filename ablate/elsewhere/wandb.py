"""Runs of a W&B project as runs to import: the arm is the job type, the block is in the name or the seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ablate.elsewhere.study import ImportedRun, RunsError, near
from ablate.tracking.names import OCCUPIED
from ablate.tracking.runs import TrackedRun, read_runs

_GOING = ("pending", "running", "preempting")
_SPENT = {
    "budget/seconds": "seconds",
    "budget/tokens": "tokens",
    "_runtime": "occupied",
    OCCUPIED: "occupied",
}  # the later one counts


def read_project(
    path: str, *, arm: str | None = None, block: str | None = None, group: str | None = None
) -> tuple[list[ImportedRun], list[str]]:
    """`arm` and `block` name keys of a run's configuration; without, job type, and `arm/block` or the seed.

    Runs that are still going are left out, and a remark says which. Raises RunsError.
    """
    runs = list(read_runs(path, group))
    going = [run.name for run in runs if run.state in _GOING]
    lacking: dict[str, list[str]] = {}
    found = [_run(run, arm, block, lacking) for run in runs if run.state not in _GOING]
    if lacking:
        settings = sorted({name for run in runs for name in run.config})
        raise RunsError("\n".join(_told(path, *problem, settings) for problem in lacking.items()))
    shown = f"{', '.join(going[:10])}{' …' if len(going) > 10 else ''}"
    return found, [f"{len(going)} run(s) that had not ended were left out: {shown}"] if going else []


def _told(path: str, setting: str, runs: Sequence[str], known: Sequence[str]) -> str:
    """That runs lack a setting, or what would tell their arm (no setting), and the way out."""
    of = f"wandb:{path}: {', '.join(runs[:3])}{f' and {len(runs) - 3} runs more' if len(runs) > 3 else ''}: "
    if not setting:
        there = ", ".join(known[:20]) or "none"
        return f"{of}neither a job type nor a setting 'arm'; name one with --arm. There are {there}"
    usual = "without --arm the arm is the job type, and the block stands in the run's name or its seed"
    return f"{of}no setting '{setting}'{near(setting, known)}; {usual}"


def _run(run: TrackedRun, arm: str | None, block: str | None, lacking: dict[str, list[str]]) -> ImportedRun:
    """`lacking`: setting → runs without it, added to."""
    name, place = _arm(run, arm), f"run {run.name} ({run.id})"
    if name is None:
        lacking.setdefault(arm or "", []).append(place)
    seed = None if block in ("none", "") else _block(run, block)
    if block and block != "none" and seed is None:
        lacking.setdefault(block, []).append(place)
    # A setting of words that names the arms is no change of its own; one of numbers is what they differ in.
    label = None if arm and _number(run.config.get(arm)) else arm
    ignored = {label, block, "seed", "block", "arm", "study_id"}
    return ImportedRun(
        where=f"run {run.id}", arm=name or "", block=seed, metrics=_metrics(run.summary),
        state="complete" if run.state == "finished" else "failed",
        reason="" if run.state == "finished" else f"{run.state} on W&B",
        spent={ours: float(run.summary[k]) for k, ours in _SPENT.items() if _number(run.summary.get(k))},
        config={k: v for k, v in run.config.items() if k not in ignored}, started=run.created,
    )  # fmt: skip


def _arm(run: TrackedRun, key: str | None) -> str | None:
    value = _setting(run.config, key) if key else run.job_type or _setting(run.config, "arm")
    return None if value in (None, "") else str(value)


def _block(run: TrackedRun, key: str | None) -> str | None:
    if key:
        value = _setting(run.config, key)
        return None if value is None else str(value)
    arm, sign, after = run.name.rpartition("/")
    if sign and arm == run.job_type:
        return after
    for usual in ("block", "seed"):
        if _setting(run.config, usual) is not None:
            return str(_setting(run.config, usual))
    return None


def _setting(config: Mapping[str, Any], path: str) -> Any:
    """A setting by its name, or by its dotted path into nested ones."""
    if path in config:
        return config[path]
    head, _, rest = path.partition(".")
    inner = config.get(head)
    return _setting(inner, rest) if rest and isinstance(inner, Mapping) else None


def _metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of the summary, nested ones as the W&B page writes them; what is not finite is text there."""
    found: dict[str, float] = {}
    for name, value in summary.items():
        if name.startswith("_"):
            continue
        if isinstance(value, Mapping) and "_type" not in value:  # a table or picture has a type
            found |= {f"{name}.{inner}": number for inner, number in _metrics(value).items()}
        elif _number(value):
            found[name] = float(value)
        elif value in ("NaN", "Infinity", "-Infinity"):
            found[name] = math.nan
    return found


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
