"""Runs from a CSV file: columns `arm`, `block` (or none), then one column per metric."""

from __future__ import annotations

import codecs
import csv
import io
import math
from pathlib import Path

from ablate.elsewhere.study import ImportedRun, RunsError

STATES = ("complete", "diverged", "failed")
SPENT = {"seconds": "seconds", "occupied": "occupied", "tokens": "tokens", "steps": "steps"}


def read_csv(path: Path, encoding: str | None = None) -> list[ImportedRun]:
    """Every row as a run; an empty cell is a metric that was not measured. Raises RunsError, all at once.

    Without `encoding` the text is UTF-8, or UTF-16 where its byte order mark says so.
    """
    reader = csv.DictReader(io.StringIO(_text(path, encoding), newline=""))
    try:
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
    except csv.Error as error:
        raise RunsError(f"{path}:{reader.line_num}: cannot be read as a CSV table: {error}") from None
    if problems:
        raise RunsError("\n".join(problems))
    return runs


def _text(path: Path, encoding: str | None) -> str:
    """The file's text; which of a dozen one-byte encodings it is in cannot be seen, so it is not guessed."""
    data = path.read_bytes()
    marked = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding or marked)
    except LookupError:
        raise RunsError(
            f"{path}: there is no encoding '{encoding}'; such are utf-8, cp1252, utf-16"
        ) from None
    except UnicodeError as error:
        where = data[: error.start].count(b"\n") + 1 if isinstance(error, UnicodeDecodeError) else 1
        raise RunsError(
            f"{path}:{where}: not {encoding or marked.removesuffix('-sig').upper()}; save the table as UTF-8 "
            "(in Excel: CSV UTF-8), or name what it is in: --encoding cp1252"
        ) from None


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
            number = float(text)
        except ValueError:
            problems.append(f"{path}:{line}: {name}: a number, or nothing; got '{text}'")
            continue
        if name in SPENT and not (math.isfinite(number) and number >= 0):
            problems.append(f"{path}:{line}: {name}: a finite number from 0, or nothing; got '{text}'")
        (spent if name in SPENT else metrics)[name] = number
    return ImportedRun(where, arm, block or None, metrics, state, reason, spent)  # type: ignore[arg-type]
