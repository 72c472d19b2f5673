"""When a trial is ended from outside: it is silent for too long, or it spends more than its budget.

The trial process itself stops at its budget; this is for one that hangs or does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.budget import Budget, Spent
from ablate.records import TrialPaths, read_json
from ablate.records.store import RecordError


@dataclass(frozen=True)
class Limits:
    """What the watchdog tolerates."""

    silence_seconds: float = 900.0  # the longest compilation seen takes minutes; a step takes seconds
    over_share: float = 0.05
    over_seconds: float = 120.0  # one step plus one checkpoint of the largest recipe on a slow disk


@dataclass
class Watch:
    """One trial's watch. Silence is summed up tick by tick, so a suspended machine is no silence."""

    paths: TrialPaths
    budget: Budget
    charge: str
    limits: Limits = field(default_factory=Limits)
    silent: float = 0.0
    _seen: int = 0

    def verdict(self, tick: float) -> str | None:
        """Why the trial must end now, or None. `tick`: seconds since the last call."""
        try:
            beat = self.paths.progress.stat().st_mtime_ns
        except FileNotFoundError:
            beat = 0
        # A tick much longer than the polling interval means that this process slept too.
        self.silent = 0.0 if beat != self._seen else self.silent + min(tick, 5.0)
        if self.silent > self.limits.silence_seconds:
            return f"no sign of life for {self.silent:.0f} s (limit {self.limits.silence_seconds:.0f} s)"
        if beat == self._seen:
            return None
        self._seen = beat
        return overspent(progress_of(self.paths), self.budget, self.charge, self.limits)


def overspent(progress: Mapping[str, Any], budget: Budget, charge: str, limits: Limits) -> str | None:
    """Whether pretraining has gone beyond its budget and what is tolerated on top."""
    if progress.get("phase") != "pretrain":
        return None
    spent = Spent(**{k: v for k, v in (progress.get("spent") or {}).items() if k in Spent.__annotations__})
    used = budget.spent(spent, "occupied" if charge == "occupied" else "training")
    if budget.unit == "seconds":
        slack = limits.over_seconds
    else:
        slack = 2 * used / max(spent.steps, 1)  # two steps' worth
    limit = budget.amount * (1 + limits.over_share) + slack
    if used <= limit:
        return None
    return f"spent {used:.6g} {budget.unit} of a budget of {budget} and did not stop (limit {limit:.6g})"


def progress_of(paths: TrialPaths) -> dict[str, Any]:
    """The last heartbeat, or nothing."""
    try:
        return read_json(paths.progress)
    except RecordError:
        return {}
