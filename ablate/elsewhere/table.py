"""Runs from a CSV file: columns `arm`, `block` (or none), then one column per metric."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ablate.elsewhere.study import ImportedRun, RunsError

STATES: Mapping[str, Literal["complete", "diverged", "failed"]] = {
    "complete": "complete", "completed": "complete", "finished": "complete", "diverged": "diverged",
    "failed": "failed", "crashed": "failed", "killed": "failed",
}  # and what W&B's, MLflow's and other programs' tables say  # fmt: skip
SPENT = {"seconds": "seconds", "occupied": "occupied", "tokens": "tokens", "steps": "steps"}
BLOCKS = ("block", "seed")  # columns that look as if they paired runs
_FILES = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "Excel or zip",
    b"\x1f\x8b": "gzip",
    b"\xd0\xcf\x11\xe0": "Excel",
}
NOTHING = {"", "NA", "N/A", ".", "NULL", "null", "None"}  # as R, Excel, Stata, SQL, JSON and Python write it
_INDEX = re.compile(r"|Unnamed: [0-9]+")  # pandas' row numbers, written and read once more


def read_csv(
    path: Path, encoding: str | None = None, *, arm: str | None = None, block: str | None = None
) -> tuple[list[ImportedRun], list[str]]:
    """Every row as a run, and remarks on what was left out; an empty cell is a metric that was not measured.

    `arm` and `block` name the columns; block "none" says that runs share nothing. Cells are separated by
    commas, semicolons or tabs. Without `encoding` the text is UTF-8, or UTF-16 where its byte order mark says
    so. Raises RunsError, all at once.
    """
    text = _text(path, encoding)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text, arm or "arm"))
    try:
        columns = [c.strip() for c in reader.fieldnames or []]
        reader.fieldnames = columns
        named = _columns(path, columns, arm, block)
        cells = _Cells(path)
        # Spreadsheets end a table with rows of separators alone.
        runs = [_run(row, named, cells, reader.line_num) for row in reader if any(map(_filled, row.values()))]
    except csv.Error as error:
        raise RunsError(f"{path}:{reader.line_num}: cannot be read as a CSV table: {error}") from None
    problems = [*cells.problems, *cells.wrong()]
    if problems:
        raise RunsError("\n".join(problems))
    return runs, _left_out(columns)


def _filled(cell: str | list[str] | None) -> bool:
    return any(map(_filled, cell)) if isinstance(cell, list) else bool(cell and cell.strip())


@dataclass(frozen=True)
class _Columns:
    """Which columns are the arm and the block (None: unpaired), and those that are no metric."""

    arm: str
    block: str | None
    state: str
    ignored: frozenset[str]


def _columns(path: Path, columns: list[str], arm: str | None, block: str | None) -> _Columns:
    """Raises RunsError where one is missing, doubled, or may have been meant."""
    there = ", ".join(c[:40] for c in columns[:20]) or "none"
    name = arm or "arm"
    if name not in columns:
        near = next((c for c in columns if c.lower() == name.lower()), None)
        way = f"; name yours: --arm {near or 'COLUMN'}" if arm is None else ""
        raise RunsError(f"{path}:1: a table of runs needs a column '{name}'; it has {there}{way}")
    double = sorted({c for c in columns if columns.count(c) > 1 and not _INDEX.fullmatch(c)})
    if double:
        raise RunsError(f"{path}:1: two columns have the same name, {double[0]}")
    state = next((c for c in columns if c.lower() in ("state", "status") and c not in (name, block)), "state")
    if block == "none":
        return _Columns(name, None, state, frozenset(c for c in columns if c.lower() in BLOCKS))
    if block is not None and block not in columns:
        raise RunsError(f"{path}:1: there is no column '{block}' for --block; it has {there}")
    found = block or ("block" if "block" in columns else None)
    likely = [c for c in columns if c.lower() in BLOCKS]
    if found is None and likely:
        raise RunsError(
            f"{path}:1: there is no column 'block', but '{likely[0]}': --block {likely[0]} where runs of the "
            "same one share data order and masks, --block none where they share nothing"
        )
    return _Columns(name, found, state, frozenset(c for c in likely if c != found))


def _delimiter(text: str, arm: str) -> str:
    """The one that makes the arm a column of its own; a comma where none does."""
    head = text.lstrip("\r\n").partition("\n")[0]
    for delimiter in ",;\t":
        if arm in [c.strip().strip('"').strip() for c in head.split(delimiter)] and delimiter in head:
            return delimiter
    return ","


def _left_out(columns: list[str]) -> list[str]:
    index = [c for c in columns if _INDEX.fullmatch(c)]
    return [f"{len(index)} column(s) without a name left out, as pandas writes row numbers"] if index else []


def _text(path: Path, encoding: str | None) -> str:
    """The file's text; which of a dozen one-byte encodings it is in cannot be seen, so it is not guessed."""
    data = path.read_bytes()
    kind = next((kind for magic, kind in _FILES.items() if data.startswith(magic)), None)
    if kind:
        raise RunsError(
            f"{path} is a file of {kind}, not a table in text; write it as CSV, in pandas: "
            "df.to_csv('runs.csv', index=False)"
        )
    marked = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding or marked).removeprefix("\ufeff")
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


@dataclass
class _Cells:
    """Reads numbers, and gathers what is none: a column of text is one problem, not one per row."""

    path: Path
    problems: list[str] = field(default_factory=list)
    _wrong: dict[tuple[str, str], list[tuple[int, str]]] = field(
        default_factory=dict
    )  # column, rule → line, text
    _right: set[str] = field(default_factory=set)

    def number(self, column: str, text: str, line: int) -> float | None:
        try:
            number = float(text)
        except ValueError:
            self._add(column, _MARKED if _marked(text) else _NUMBER, text, line)
            return None
        self._right.add(column)
        if column in SPENT and not (math.isfinite(number) and number >= 0):
            self._add(column, "a finite number from 0, or nothing", text, line)
        return number

    def state(self, column: str, text: str, line: int) -> None:
        """A word that is no state."""
        rule = (
            f"one of {', '.join(STATES)}, or nothing; leave out runs that have not ended, or call the column "
            "otherwise if it is no state"
        )
        self._add(column, rule, text, line)

    def _add(self, column: str, rule: str, text: str, line: int) -> None:
        self._wrong.setdefault((column, rule), []).append((line, text))

    def wrong(self) -> list[str]:
        """One line for each column and rule, and one for all columns of text."""
        text = {
            column: places[0] for (column, rule), places in self._wrong.items()
            if rule == _NUMBER and column not in self._right and (column, _MARKED) not in self._wrong
        }  # fmt: skip
        told = [self._text(text)] if text else []
        for (column, rule), places in self._wrong.items():
            if column in text and rule == _NUMBER:
                continue
            line, first = places[0]
            more = f", and so {len(places) - 1} times more" if len(places) > 1 else ""
            told.append(f"{self.path}:{line}: {column}: {rule}; got '{first}'{more}")
        return told

    def _text(self, columns: Mapping[str, tuple[int, str]]) -> str:
        """Which they are, and what to do: a row is a run, and a column of text may name parts of one."""
        some = ", ".join(f"{name} ('{text[:40]}')" for name, (_, text) in list(columns.items())[:20])
        more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
        return (
            f"{self.path}:1: text is no metric: {some}{more}; leave it out, in pandas "
            f"df.drop(columns={list(columns)!r}), but where it tells rows of one run apart, such as its "
            "tasks, first make them columns: df.pivot(index=[ARM, BLOCK], columns=TASK, values=SCORE)"
            ".reset_index()"
        )


_NUMBER, _MARKED = "a number, or nothing", "a number with a decimal point and no other mark, or nothing"


def _marked(text: str) -> bool:
    """A number of another country's or of a page: `78,1`, `1 234`, `78.1%`."""
    return re.fullmatch(r"[-+\u2212]?\d[\d.,'\s]*%?", text) is not None


def _run(
    row: Mapping[str | None, str | list[str] | None], named: _Columns, read: _Cells, line: int
) -> ImportedRun:
    if None in row:
        read.problems.append(f"{read.path}:{line}: more cells than columns")
    cells = {k: (v or "").strip() for k, v in row.items() if k is not None and not isinstance(v, list)}
    arm, block = cells.pop(named.arm), cells.pop(named.block, "") if named.block else ""
    state, reason = cells.pop(named.state, "") or "complete", cells.pop("reason", "")
    if not arm:
        read.problems.append(f"{read.path}:{line}: the arm is empty")
    if state.lower() not in STATES:
        read.state(named.state, state, line)
    numbers = {
        name: read.number(name, text, line)
        for name, text in cells.items()
        if text not in NOTHING and name not in named.ignored and not _INDEX.fullmatch(name)
    }
    known = {name: number for name, number in numbers.items() if number is not None}
    return ImportedRun(
        where=f"line {line}", arm=arm, block=block or None, reason=reason,
        state=STATES.get(state.lower(), "failed"),
        metrics={name: number for name, number in known.items() if name not in SPENT},
        spent={SPENT[name]: number for name, number in known.items() if name in SPENT},
    )  # fmt: skip
