"""What a trial has spent so far, and whether it may go on: a clock, three counters, a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ablate.budget import Budget, Spent, TrainingClock

Charge = Literal["training", "occupied"]


class Ledger:
    """The one place where time, sequences and steps are charged, so that every schedule reads one progress.

    `now` is a monotonic clock; tests pass their own. `occupied` is what the process had used before (imports,
    preparing data); it counts only under `charge: occupied`.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        length: int,
        flops_per_token: float = 0.0,
        charge: Charge = "training",
        occupied: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget, self.charge, self.length, self.flops_per_token = budget, charge, length, flops_per_token
        self.now = now
        self.clock = TrainingClock(now, occupied=occupied)
        self.steps = 0
        self.sequences = 0
        self.missed = 0  # tokens of those sequences that training did not see
        self.saved = 0.0  # FLOPs that shorter rows saved

    @property
    def tokens(self) -> int:
        return self.sequences * self.length - self.missed

    @property
    def spent(self) -> Spent:
        tokens = self.tokens
        return Spent(
            seconds=self.clock.charged,
            occupied=self.clock.occupied,
            steps=self.steps,
            tokens=tokens,
            flops=self.sequences * self.length * self.flops_per_token - self.saved,
        )

    @property
    def progress(self) -> float:
        """The share of the budget that is used, in [0, 1]."""
        return self.budget.progress(self.spent, self.charge)

    @property
    def exhausted(self) -> bool:
        return self.progress >= 1.0

    def eta_seconds(self) -> float | None:
        """Charged seconds until the budget is spent, at the mean pace so far; None before the first."""
        used, progress = self.clock.charged, self.progress
        return used * (1 - progress) / progress if progress > 0 and used > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the clock and the counters."""
        return {
            "charged": self.clock.charged, "occupied": self.clock.occupied,
            "steps": self.steps, "sequences": self.sequences, "missed": self.missed, "saved": self.saved,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint. What this process has occupied is kept on top of the stored seconds."""
        occupied = self.clock.occupied + float(state["occupied"])
        self.clock = TrainingClock(self.now, charged=float(state["charged"]), occupied=occupied)
        self.steps, self.sequences = int(state["steps"]), int(state["sequences"])
        self.missed, self.saved = int(state["missed"]), float(state["saved"])
