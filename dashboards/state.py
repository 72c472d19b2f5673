"""What the local page shows at one moment, from the files of a run folder alone: nothing is ever written.

Files that did not change are not read again, so that watching a study costs its trials little.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ablate.analysis import analyze
from ablate.analysis import metrics as names
from ablate.analysis.assemble import show_budget
from ablate.analysis.findings import NOT_RECORDED, Findings
from ablate.records import FrozenStudy, Record, StudyPaths, TrialPaths, load_records, read_study
from ablate.report import numbers, tables
from ablate.report.series import absent
from ablate.scheduling.status import PAUSED, RUNNING, WAITING, StudyStatus, TrialStatus, status
from ablate.tracking import live
from ablate.tracking.names import CURVE

from .definition import Dashboard, default

POINTS = 200  # of a curve: more than a screen shows
FRESH = 1.0  # seconds for which a state is handed out again, however many pages ask
INTERIM = (
    "Interim. Looking early and often finds differences that are not there: the verdicts are those of the "
    "finished study."
)
OPEN = (WAITING, RUNNING, PAUSED)

Columns = dict[str, list[float | None]]


@dataclass
class _Curve:
    """A trial's curve as it was last read."""

    signature: tuple[str, int, int]
    version: int
    columns: Columns


@dataclass
class Watcher:
    """Watches a run folder. Safe to ask from several threads. Raises RecordError where there is no study."""

    root: Path
    dashboard: Dashboard | None = None
    now: Callable[[], float] = time.monotonic
    session: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._curves: dict[str, _Curve] = {}
        self._version = 0
        self._records_seen: tuple[Any, ...] = ()
        self._records: list[Record] = []
        self._found: Findings | None = None
        self._last: dict[str, Any] = {}
        self._until = -math.inf
        self._study = read_study(self.root)

    def state(self, session: str = "", after: int = -1) -> dict[str, Any]:
        """Everything but the curves that a page of this session has had: those up to version `after`."""
        with self._lock:
            if self.now() >= self._until:
                begun = self.now()
                self._last = self._read()
                # A large study is read less often: a fifth of one core is the most that watching takes.
                self._until = self.now() + max(FRESH, 4 * (self.now() - begun))
            known = after if session == self.session else -1
            curves = {t: c.columns for t, c in self._curves.items() if c.version > known}
            return {**self._last, "curves": curves}

    def _read(self) -> dict[str, Any]:
        self._study = read_study(self.root)
        found = status(self.root)
        self._read_curves()
        self._read_records()
        board = self.dashboard or default_for(self._study, self._records)
        return {
            "session": self.session,
            "version": self._version,
            "at": time.time(),
            "study": _study(self._study, board.title),
            "progress": _progress(found),
            "trials": [_trial(t) for t in found.trials],
            "verdicts": self._verdicts(found),
            "scores": self._scores(),
            "sections": [asdict(section) for section in board.sections],
        }

    # --- curves ------------------------------------------------------------------------------------------

    def _read_curves(self) -> None:
        for trial in self._study.trials:
            path = _curve_file(StudyPaths(self.root).trial(trial))
            seen = self._curves.get(trial)
            signature = _signature(path)
            if signature is None or (seen is not None and seen.signature == signature):
                continue
            columns = read_curve(path)
            if columns:
                self._version += 1
                self._curves[trial] = _Curve(signature, self._version, columns)

    # --- records -----------------------------------------------------------------------------------------

    def _read_records(self) -> None:
        paths = [StudyPaths(self.root).trial(t).record for t in self._study.trials]
        seen = tuple(_signature(p) for p in paths)
        if seen == self._records_seen:
            return
        records, damage = load_records(self.root)
        self._records = [r for r in records if r.trial in self._study.trials]
        self._found = analyze(self._study, records, damage) if records else None
        self._records_seen = seen

    def _verdicts(self, found: StudyStatus) -> dict[str, Any]:
        interim = not over(found)
        if self._found is None:
            return {"interim": interim, "note": INTERIM if interim else "", "answer": "", "rows": []}
        places = tables.effect_places(self._found)
        o, lost = self._found.outcome, absent(self._found)
        return {
            "interim": interim,
            "note": INTERIM if interim else "",
            "answer": self._found.answer,
            "metric": o.metric,
            "unit": o.unit,
            "margin": o.margin,
            "higher_is_better": o.higher_is_better,
            "warnings": list(self._found.warnings),
            "rows": [
                {
                    "arm": arm.name, "reference": c.reference, "n": c.effect.n, "planned": arm.planned,
                    "estimate": _finite(c.effect.estimate), "low": _finite(c.effect.low),
                    "high": _finite(c.effect.high), "verdict": c.verdict, "reason": c.reason,
                    "text": numbers.estimate(c.effect.estimate, c.effect.low, c.effect.high, places),
                    "p": numbers.p_value(c.adjusted_p), "absent": lost.get(arm.name, ""),
                }
                for arm in self._found.arms
                if (c := arm.contrast) is not None
            ],
        }  # fmt: skip

    def _scores(self) -> dict[str, dict[str, float]]:
        """Metric → trial → value, of every trial with a record."""
        scores: dict[str, dict[str, float]] = {}
        for record in self._records:
            for metric, value in record.metrics.items():
                if math.isfinite(value):
                    scores.setdefault(metric, {})[record.trial] = value
        return scores


def over(found: StudyStatus) -> bool:
    """Whether every trial has ended and none will be added, as a search or a verdict still open would."""
    return not found.adds and not any(t.state in OPEN for t in found.trials)


def default_for(study: FrozenStudy, records: list[Record]) -> Dashboard:
    """The default dashboard with the metrics that the records hold."""
    metrics = sorted({name for record in records for name in record.metrics})
    return default(study.title or study.name, outcome=str(study.outcome["metric"]), metrics=metrics)


def _study(study: FrozenStudy, title: str) -> dict[str, Any]:
    budget = show_budget(study.budget)
    return {
        "name": study.name,
        "title": title,
        "question": study.question,
        "design": study.design,
        "budget": f"budget {budget}" if budget == NOT_RECORDED else f"{budget} per trial",
        "metric": study.outcome["metric"],
        "label": names.label(str(study.outcome["metric"])),
        "blocks": len(study.blocks),
        "unit": "block" if study.paired else "trial",  # what a column is: only blocks share anything
        "arms": [arm.name for arm in study.arms],
    }


def _progress(found: StudyStatus) -> dict[str, Any]:
    running = [t for t in found.trials if t.state == RUNNING]
    speeds = [t.tokens_per_second for t in running if t.tokens_per_second and t.phase == "pretrain"]
    return {
        "counts": found.counts,
        "total": len(found.trials),
        "done": sum(t.state not in OPEN for t in found.trials),
        "failed": len(found.failed),
        "finished": over(found),
        "coordinator": found.coordinator,
        "eta_seconds": None if over(found) else _finite(found.eta_seconds),
        "seconds": found.recorded("seconds"),
        "occupied": found.recorded("occupied"),
        "tokens": found.recorded("tokens"),
        "tokens_per_second": sum(speeds) if speeds else None,
    }


def _trial(trial: TrialStatus) -> dict[str, Any]:
    return {
        "trial": trial.trial, "arm": trial.arm, "block": trial.block, "state": trial.state,
        "phase": trial.phase, "progress": _finite(trial.progress) or 0.0, "loss": _finite(trial.loss),
        "tokens_per_second": _finite(trial.tokens_per_second), "eta_seconds": _finite(trial.eta_seconds),
        "outcome": _finite(trial.outcome), "attempts": trial.attempts, "reason": trial.reason,
        "failed": trial.state not in (*OPEN, "complete"),
    }  # fmt: skip


# --- files -------------------------------------------------------------------------------------------------


def _curve_file(paths: TrialPaths) -> Path:
    """The live curve while a trial runs, the recorded one when it is done or has no live one."""
    return paths.live if paths.live.exists() and not paths.record.exists() else paths.curve


def _signature(path: Path) -> tuple[str, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return path.name, stat.st_mtime_ns, stat.st_size


def read_curve(path: Path) -> Columns:
    """A curve's columns by metric name, thinned to 200 points; empty when it cannot be read."""
    columns: dict[str, Any] = live.read(path) if path.suffix == ".jsonl" else _parquet(path)
    return {name: _thinned(values) for name, values in columns.items()} if columns else {}


def _parquet(path: Path) -> dict[str, Any]:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError, arrow.ArrowException):
        return {}  # torn; the report says so
    columns = {
        metric: table.column(column).to_pylist()
        for column, metric in CURVE.items()
        if column in table.column_names
    }
    return {m: values for m, values in columns.items() if any(v is not None and v == v for v in values)}


def _thinned(values: list[float | None]) -> list[float | None]:
    """Means of neighbours, at most 200 of them, to five digits; a gap stays one."""
    numbers_ = np.array([math.nan if v is None else v for v in values], dtype=float)
    return [_short(part) for part in np.array_split(numbers_, min(POINTS, len(numbers_)))] if values else []


def _short(part: np.ndarray) -> float | None:
    known = part[np.isfinite(part)]
    return float(f"{known.mean():.6g}") if len(known) else None


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
