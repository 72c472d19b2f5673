"""When to stop adding blocks: `blocks: {min: 3, max: 12, until: settled}`.

The data may be looked at after every block from `least` on. Each look spends part of alpha (`boundaries`), so
that the chance of a false verdict by the last look stays at alpha; an ordinary p-value looked at again and
again would not (ten looks at .05: .19). Each contrast gets one p-value that holds at any look (Liu & Anderson
2008); Holm corrects those over the declared family, which keeps the family-wise error however the looks are
timed (Maurer & Bretz 2013). The same for the two one-sided tests of equivalence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.analysis.boundaries import RHO, bounds
from ablate.analysis.multiplicity import holm
from ablate.analysis.paired import ROUNDING

Settled = Literal["helps", "hurts", "equivalent"]


@dataclass(frozen=True)
class StoppingRule:
    """Fixed before the first trial: the looks, the level, and what the verdicts are held against."""

    least: int  # blocks before the first look
    most: int  # blocks at the last
    alpha: float = 0.05
    margin: float | None = None
    higher_is_better: bool = True
    every: int = 1  # blocks between looks
    rho: float = RHO

    def __post_init__(self) -> None:
        if not 2 <= self.least <= self.most:
            raise ValueError(
                f"a stopping rule needs 2 <= min <= max blocks; got min {self.least}, max {self.most}"
            )

    @property
    def looks(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys([*range(self.least, self.most, self.every), self.most]))

    def level(self, n: int, alpha: float, *, sides: int = 2) -> float:
        """What a look at n blocks may test at, of a contrast that may spend alpha; 0 before the first."""
        return bounds(self.looks, sides=sides, rho=self.rho).at(n, alpha)


@dataclass(frozen=True)
class Progress:
    """Where one contrast stands after the blocks so far."""

    n: int
    """blocks so far"""
    settled: Settled | None
    """null: open"""
    p: float | None
    """sequential: may be read at every look"""
    adjusted_p: float | None
    """sequential, and corrected over the family"""
    equivalence_p: float | None
    """sequential, of the two one-sided tests"""
    adjusted_equivalence_p: float | None
    """sequential, of the two one-sided tests, corrected over the family"""
    estimate: float | None = None
    """mean difference so far, in the outcome's unit"""
    low: float | None = None
    """lower end of the repeated interval, which covers at every look together (Jennison & Turnbull 1989)"""
    high: float | None = None
    """upper end of the repeated interval, in the outcome's unit"""
    nominal: float | None = None
    """the level this look may test at, before the family"""
    stuck: bool = False
    """no spread: more blocks will not settle it"""


@dataclass(frozen=True)
class Decision:
    """What the rule says after a look."""

    contrasts: Mapping[str, Progress]
    next_look: int | None  # blocks at the next one; None: stop

    @property
    def open(self) -> tuple[str, ...]:
        """Contrasts worth another block."""
        return tuple(name for name, c in self.contrasts.items() if c.settled is None and not c.stuck)


def decide(differences: Mapping[str, Sequence[float]], rule: StoppingRule) -> Decision:
    """Settled or open, per contrast of the declared family.

    `differences`: contrast → arm − reference per completed block, in the order of the blocks. The whole
    family belongs in it, also what is settled already or has no data: the family keeps its declared size. A
    contrast whose blocks failed has fewer and is judged at the look that it has reached.
    """
    found = {name: _Walk.of(np.asarray(d, dtype=float), rule) for name, d in differences.items()}
    adjusted = holm({name: w.p for name, w in found.items()})
    equivalent = holm({name: w.equivalence_p for name, w in found.items()})
    contrasts = {
        name: _progress(walk, adjusted[name], equivalent[name], rule) for name, walk in found.items()
    }
    reached = max((len(d) for d in differences.values()), default=0)
    following = next((look for look in rule.looks if look > reached), None)
    decision = Decision(contrasts, following)
    return decision if decision.open else Decision(contrasts, None)


@dataclass(frozen=True)
class _Walk:
    """One contrast over all its looks so far."""

    n: int
    p: float | None = None
    equivalence_p: float | None = None
    estimate: float | None = None
    se: float | None = None
    stuck: bool = False

    @classmethod
    def of(cls, d: np.ndarray, rule: StoppingRule) -> _Walk:
        n = len(d)
        mean = float(d.mean()) if n else None
        looks = np.array([look for look in rule.looks if look <= n])
        if not len(looks):
            return cls(n, estimate=mean)
        means, errors = _running(d, looks)
        spread = errors > 0
        if not spread.any():
            return cls(n, estimate=mean, stuck=True)
        looks, means, errors = looks[spread], means[spread], errors[spread]
        two, one = bounds(rule.looks, rho=rule.rho), bounds(rule.looks, sides=1, rho=rule.rho)
        tests = 2 * stdtr(looks - 1, -np.abs(means) / errors)
        p = min(two.spent(int(k), float(x)) for k, x in zip(looks, tests, strict=True))
        tost = None
        if rule.margin:
            sides = [stdtr(looks - 1, (s * means - rule.margin) / errors) for s in (1, -1)]
            tost = min(one.spent(int(k), float(x)) for k, x in zip(looks, np.maximum(*sides), strict=True))
        return cls(n, p, tost, mean, _last_error(d))


def _running(d: np.ndarray, looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of the first blocks up to each look; 0 where the spread is rounding."""
    means = np.cumsum(d)[looks - 1] / looks
    spreads = np.array([d[:k].std(ddof=1) for k in looks])
    return means, np.where(spreads > ROUNDING * np.abs(d).max(), spreads / np.sqrt(looks), 0.0)


def _last_error(d: np.ndarray) -> float:
    return float(d.std(ddof=1) / math.sqrt(len(d)))


def _progress(walk: _Walk, p: float | None, tost: float | None, rule: StoppingRule) -> Progress:
    settled: Settled | None = None
    if tost is not None and tost <= rule.alpha:
        settled = "equivalent"
    elif p is not None and p <= rule.alpha and walk.estimate:
        settled = "helps" if (walk.estimate > 0) == rule.higher_is_better else "hurts"
    low = high = nominal = None
    if walk.se is not None and walk.estimate is not None:
        nominal = rule.level(walk.n, rule.alpha)
        reach = float(stdtrit(walk.n - 1, 1 - nominal / 2)) * walk.se
        low, high = walk.estimate - reach, walk.estimate + reach
    return Progress(
        walk.n, settled, walk.p, p, walk.equivalence_p, tost, walk.estimate, low, high, nominal, walk.stuck
    )
