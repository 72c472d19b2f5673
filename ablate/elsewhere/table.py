"""Runs from a CSV file: columns `arm`, `block` (or none), then one column per metric."""

from __future__ import annotations

import csv
from pathlib import Path

from ablate.elsewhere.study import ImportedRun, RunsError

STATES = ("complete", "diverged", "failed")
SPENT = {"seconds": "seconds", "occupied": "occupied", "tokens": "tokens", "steps": "steps"}


def read_csv(path: Path) -> list[ImportedRun]:
    """Every row as a run; an empty cell is a metric that was not measured. Raises RunsError, all at once."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = [c.strip() for c in reader.fieldnames or []]
        reader.fieldnames = columns
        if "arm" not in columns:
            raise RunsError(
                f"{path}:1: a table of runs needs a column 'arm'; it has {', '.join(columns) or 'none'}"
            )
        if len(set(columns)) < len(columns):
            raise RunsError(f"{path}:1: two columns have the same name")
        problems: list[str] = []
        runs = [_run(row, f"line {reader.line_num}", path, reader.line_num, problems) for row in reader]
    if problems:
        raise RunsError("\n".join(problems))
    return runs


def _run(
    row: dict[str | None, str | list[str] | None], where: str, path: Path, line: int, problems: list[str]
) -> ImportedRun:
    if None in row:
        problems.append(f"{path}:{line}: more cells than columns")
    cells = {
        k.strip(): (v or "").strip() for k, v in row.items() if k is not None and not isinstance(v, list)
    }
    arm, block, state = cells.pop("arm"), cells.pop("block", ""), cells.pop("state", "") or "complete"
    reason = cells.pop("reason", "")
    if not arm:
        problems.append(f"{path}:{line}: the arm is empty")
    if state not in STATES:
        problems.append(f"{path}:{line}: state: one of {', '.join(STATES)}; got '{state}'")
        state = "failed"
    metrics: dict[str, float] = {}
    spent: dict[str, float] = {}
    for name, text in cells.items():
        if not text:
            continue
        try:
            (spent if name in SPENT else metrics)[name] = float(text)
        except ValueError:
            problems.append(f"{path}:{line}: {name}: a number, or nothing; got '{text}'")
    return ImportedRun(where, arm, block or None, metrics, state, reason, spent)  # type: ignore[arg-type]
