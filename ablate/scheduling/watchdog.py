"""When a trial is ended from outside: it is silent too long, spends beyond its budget, or takes the memory.

The trial process itself stops at its budget; this is for one that hangs or does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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
    memory_bytes: int | None = None  # of a trial with all its children


@dataclass
class Watch:
    """One trial's watch. Silence is summed up tick by tick, so a suspended machine is no silence."""

    paths: TrialPaths
    budget: Budget
    charge: str
    limits: Limits = field(default_factory=Limits)
    silent: float = 0.0
    _seen: int = 0
    _looked: float = 1.0  # seconds since the memory was looked at

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

    def over_memory(self, used: Callable[[], int | None], tick: float) -> str | None:
        """Why the trial must end for what it holds, looked at about once a second, or None."""
        if self.limits.memory_bytes is None:
            return None
        self._looked += tick
        if self._looked < 1.0:
            return None
        self._looked = 0.0
        bytes_ = used()
        return over_memory(self.limits, bytes_) if bytes_ and bytes_ > self.limits.memory_bytes else None


def over_memory(limits: Limits, used: int | None = None) -> str:
    """What is said of a trial that took more than it may."""
    limit = (limits.memory_bytes or 0) / 2**30
    held = f"held {used / 2**30:.2f} GiB" if used else "held more"
    return f"{held} of a limit of {limit:.2f} GiB (run.memory_gib) and was ended"


class Outage:
    """Something that does not answer: since when, and whether it is time to try it again."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._since, self._next, self._pause = now, 0.0, 0.0, 0.0

    @property
    def lasts(self) -> bool:
        return self._pause > 0

    @property
    def seconds(self) -> float:
        return self._now() - self._since if self.lasts else 0.0

    def begin(self) -> None:
        if not self.lasts:
            self._since, self._pause = self._now(), 0.5
            self._next = self._since + self._pause

    def due(self) -> bool:
        """True when it should be tried now; the pauses grow to fifteen seconds."""
        if self._now() < self._next:
            return False
        self._pause = min(2 * self._pause, 15.0)
        self._next = self._now() + self._pause
        return True

    def end(self) -> None:
        self._pause = 0.0


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
