"""Speeds relative to a default that is measured again and again, and what explains the low ones. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ablate.bench.candidates import Candidate

Why = Literal["", "emulated", "arithmetic", "second derivatives", "few tokens", "unexplained"]


@dataclass(frozen=True)
class Cost:
    """Seconds of one subject's parts, and what does not depend on the clock."""

    gradient: float  # forward and backward of one micro-batch
    update: float  # clipping and the optimizer
    tokens: int  # per micro-batch
    flops_per_token: float
    parameters: int
    second_order: bool = False  # the update differentiates the gradients of all its micro-batches

    def per_token(self, micro_batches: float) -> float:
        """Seconds, in steps of so many micro-batches."""
        if self.second_order:
            return (self.gradient + self.update) / self.tokens
        return (micro_batches * self.gradient + self.update) / (micro_batches * self.tokens)


@dataclass(frozen=True)
class Row:
    """What was measured of one level; medians over rounds."""

    level: str  # model.position[rope].fraction=0.5
    beside: str
    tokens_per_second: float  # on the report's clock
    ratio: float  # of the default's tokens per second, in steps of a full batch
    first_steps: float  # the same where an update has one micro-batch of the recipe's, as a ramp begins
    spread: float  # half of what lies between the rounds' least and largest ratio
    flops: float  # per token, relative to the default's
    ratio_per_flop: float
    parameters: int
    tokens: int  # per micro-batch
    gradient_seconds: float  # of one micro-batch
    update_seconds: float
    emulated: str  # why speed is no claim
    below: Why  # what explains a ratio below the threshold


Turn = list[tuple[str | None, float]]  # (level, seconds per token) in the order of time; None: the default


def ratios(turn: Turn) -> dict[str, float]:
    """Speed of each level relative to the default: its seconds between the two measurements of the default
    around it, read off the line through those. The turn begins and ends with the default.
    """
    marks = [i for i, (name, _) in enumerate(turn) if name is None]
    found = {}
    for left, right in zip(marks, marks[1:], strict=False):
        for i in range(left + 1, right):
            name, seconds = turn[i]
            assert name is not None
            found[name] = _between(turn, left, right, i) / seconds
    return found


def itself(turn: Turn) -> list[float]:
    """The same of each measurement of the default that has others on both sides."""
    marks = [i for i, (name, _) in enumerate(turn) if name is None]
    return [
        _between(turn, left, right, i) / turn[i][1]
        for left, i, right in zip(marks, marks[1:], marks[2:], strict=False)
    ]


def _between(turn: Turn, left: int, right: int, i: int) -> float:
    share = (i - left) / (right - left)
    return (1 - share) * turn[left][1] + share * turn[right][1]


class Table:
    """Rows from the turns that were measured. `full` and `first` are micro-batches per update; `emulated`
    says why a level's speed is no claim.
    """

    def __init__(
        self,
        turns: Sequence[list[tuple[str | None, Cost]]],
        full: float,
        first: float,
        threshold: float,
        emulated: Callable[[Candidate], str],
    ) -> None:
        self.full, self.threshold, self.emulated = full, threshold, emulated
        self.costs: dict[str | None, list[Cost]] = {}
        for turn in turns:
            for name, cost in turn:
                self.costs.setdefault(name, []).append(cost)
        seconds = [[(name, cost.per_token(full)) for name, cost in turn] for turn in turns]
        self.ratios = [ratios(turn) for turn in seconds]
        self.first_steps = [ratios([(name, cost.per_token(first)) for name, cost in turn]) for turn in turns]
        self.itself = [value for turn in seconds for value in itself(turn)]

    def row(self, one: Candidate, name: str | None) -> Row:
        """Of a level, or of the default, whose name is None."""
        full = [1.0] if name is None else [ratio[name] for ratio in self.ratios]
        first = [1.0] if name is None else [ratio[name] for ratio in self.first_steps]
        costs, default = self.costs[name], self.costs[None][0]
        ratio, first_steps, cost = statistics.median(full), statistics.median(first), costs[0]
        flops = cost.flops_per_token / default.flops_per_token
        emulated = self.emulated(one)
        least = min(ratio, first_steps)
        why = explained(least, least * flops, emulated, self.threshold)
        if why == "unexplained" and cost.second_order:
            why = "second derivatives"
        elif why == "unexplained" and cost.tokens < default.tokens / 2:
            why = "few tokens"
        return Row(
            level=one.name,
            beside=one.beside,
            tokens_per_second=1 / statistics.median(cost.per_token(self.full) for cost in costs),
            ratio=ratio,
            first_steps=first_steps,
            spread=(max(full) - min(full)) / 2,
            flops=flops,
            ratio_per_flop=ratio * flops,
            parameters=cost.parameters,
            tokens=cost.tokens,
            gradient_seconds=statistics.median(cost.gradient for cost in costs),
            update_seconds=statistics.median(cost.update for cost in costs),
            emulated=emulated,
            below=why,
        )


def explained(ratio: float, per_flop: float, emulated: str, threshold: float) -> Why:
    """What explains a ratio; empty where it needs no explanation."""
    if ratio >= threshold:
        return ""
    if emulated:
        return "emulated"
    return "arithmetic" if per_flop >= threshold else "unexplained"
