"""What a trial may spend, and how far it is: pure values, the clock passed in from outside.

The training clock charges monotonic time inside training steps, data waits included. Start-up,
compilation, validation and checkpoint writing are outside it (occupied, not charged), because a fixed
wall clock is meant to buy training; `charge: occupied` restores the paper's strict reading (24 h of the
machine). Every schedule is a function of progress = spent / budget, clipped to [0, 1].
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["seconds", "tokens", "steps", "flops"]

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS: dict[str, Unit] = {word: word for word in ("tokens", "steps", "flops")}
_WORDS |= {"token": "tokens", "step": "steps", "flop": "flops"}
# A comma parts thousands: 1,5 h is no budget, rather than 15 hours.
_BUDGET = re.compile(
    r"^\s*((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+)\s*$"
)


@dataclass(frozen=True)
class Spent:
    """What a trial has used so far; the zero of a fresh trial by default."""

    seconds: float = 0.0  # charged: inside training steps
    occupied: float = 0.0  # everything, start-up and validation included
    steps: int = 0  # optimizer steps
    tokens: int = 0  # tokens that went through the model in training
    flops: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds, "occupied": self.occupied, "steps": self.steps,
            "tokens": self.tokens, "flops": self.flops,
        }  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """An amount of one unit. `Budget.parse("24h")`, `Budget.parse("2.5e9 tokens")`."""

    unit: Unit
    amount: float

    @classmethod
    def parse(cls, text: Any) -> Budget:
        """Read `90s · 24h · 2.5e9 tokens · 4000 steps · 1.3e19 flops` (also `0`).

        Raises ValueError naming what is allowed.
        """
        rule = "a budget is an amount and a unit: 90s, 30m, 24h, 2.5e9 tokens, 4000 steps, 1.3e19 flops"
        if isinstance(text, Budget):
            return text
        if str(text).strip() in ("0", "0.0"):
            return cls("steps", 0)
        match = _BUDGET.match(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{rule}; got {text!r}")
        amount, word = float(re.sub("[_,]", "", match[1])), match[2].lower()
        if not math.isfinite(amount):
            raise ValueError(f"{rule}; got {text!r}, which is more than a number can hold")
        if word in _SECONDS:
            return cls("seconds", amount * _SECONDS[word])
        if word in _WORDS:
            unit = _WORDS[word]
            if unit == "flops":
                return cls(unit, amount)
            if amount % 1:
                raise ValueError(f"{unit} are counted, so a budget of them is a whole number; got {text!r}")
            return cls(unit, int(amount))
        raise ValueError(f"{rule}; got {text!r} with the unknown unit '{match[2]}'")

    def __str__(self) -> str:
        if self.unit == "seconds":
            for name, size in (("h", 3600.0), ("m", 60.0)):
                if self.amount >= size and self.amount % size == 0:
                    return f"{self.amount / size:g}{name}"
            return f"{self.amount:g}s"
        amount = f"{self.amount:g}" if self.amount >= 1e6 else f"{self.amount:.0f}"
        return f"{amount} {self.unit}"

    def spent(self, spent: Spent, charge: Literal["training", "occupied"] = "training") -> float:
        """How much of this budget's unit has been used."""
        if self.unit == "seconds":
            return spent.occupied if charge == "occupied" else spent.seconds
        return float(getattr(spent, self.unit))

    def progress(self, spent: Spent, charge: Literal["training", "occupied"] = "training") -> float:
        """The share that is used, in [0, 1]; an empty budget is spent from the start."""
        if self.amount <= 0:
            return 1.0
        return min(1.0, self.spent(spent, charge) / self.amount)


class TrainingClock:
    """Charged and occupied seconds of a trial, resumable, on a monotonic source.

    Monotonic time does not jump with NTP or a changed date and stands still during a suspend.
    """

    def __init__(self, now: Callable[[], float], *, charged: float = 0.0, occupied: float = 0.0) -> None:
        self._now = now
        self._charged, self._occupied = charged, occupied
        self._born = now()
        self._started: float | None = None

    @property
    def charged(self) -> float:
        running = 0.0 if self._started is None else self._now() - self._started
        return self._charged + running

    @property
    def occupied(self) -> float:
        return self._occupied + self._now() - self._born

    @property
    def running(self) -> bool:
        return self._started is not None

    def start(self) -> None:
        """Begin charging; harmless when already charging."""
        if self._started is None:
            self._started = self._now()

    def stop(self) -> None:
        """Stop charging (validation, checkpoint, evaluation); harmless when stopped."""
        if self._started is not None:
            self._charged += self._now() - self._started
            self._started = None
