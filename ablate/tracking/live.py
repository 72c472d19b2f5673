"""The tracker of the local page: one JSON line per logged row, beside the record. No account, no network."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ablate.tracking.interface import Kept, RunInfo

TIME = "time"  # when a row was logged, in seconds of the Unix clock


class LiveFile:
    """Appends to `live.jsonl`. A full disk costs the live view and a warning, never the trial.

    An attempt that resumes writes its steps again; readers take the later line of a step and drop what an
    earlier attempt had reached beyond it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._warnings: list[str] = []

    @property
    def warnings(self) -> list[str]:
        return list(self._warnings)

    def start(self, run: RunInfo) -> None:
        pass

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        if self._warnings:
            return
        line = {"step": step, TIME: round(time.time(), 3)}
        line |= {k: v for k, v in metrics.items() if math.isfinite(v)}
        try:
            if self._file is None:
                torn = _torn(self.path)
                self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  closed by finish
                self._file.write("\n" if torn else "")
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            self._warnings.append(f"the live page lacks the curve of this trial: {error}")

    def summary(self, metrics: Mapping[str, float]) -> None:
        pass

    def keep(self, kept: Kept) -> None:
        pass

    def finish(self, state: str = "complete") -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def describe(self) -> dict[str, Any]:
        return {}


def read(path: Path) -> dict[str, list[float | None]]:
    """The columns that a trial has logged so far, by metric name and `step`; empty before the first row."""
    found = rows(path)
    names = {name for row in found for name in row} - {TIME}
    return {name: [row.get(name) for row in found] for name in sorted(names)}


def rows(path: Path) -> list[dict[str, Any]]:
    """What a trial has logged so far: `step`, TIME and metrics; every step once, in order.

    The last line may still be being written; it is left for the next reading.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")  # a torn line is no JSON either way
    except OSError:
        return []
    found: list[dict[str, Any]] = []
    for line in text.split("\n")[:-1]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # torn by a kill in mid-line
        if not isinstance(row, dict) or "step" not in row:
            continue
        while found and found[-1]["step"] >= row["step"]:
            found.pop()
        found.append(row)
    return found


def _torn(path: Path) -> bool:
    """Whether the last line has no end: the attempt that wrote it was killed with the machine."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # not there, or empty
        return False
