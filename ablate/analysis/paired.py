"""Arm against reference in the same blocks: paired t, exact sign-flip, equivalence.

The t and noncentral t distributions come from `scipy.special`: importing `scipy.stats` and `statsmodels`
costs 2 s of the 1.5 s that `ablate table` may take. The tests hold every number here against them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtr, stdtrit

# A spread below this share of the values themselves is rounding, not spread: dividing by it would
# turn equal differences into p = 1e-15. Metrics that passed through float32 carry 6e-8.
ROUNDING = 1e-7
EXACT_BLOCKS = 22  # 2^21 sign patterns by symmetry: 16 MB and 0.05 s; beyond it the t test stands alone


@dataclass(frozen=True)
class Effect:
    """Mean within-block difference (arm − reference), with a t interval and an exact sign-flip p-value.

    Assumes blocks drawn independently and differences near normal (t); the sign-flip p assumes only
    that a difference is as likely to point either way. None where a number does not exist; `note` says why.
    """

    metric: str
    """`family/name`"""
    n: int
    """blocks that both have; of unpaired arms the trials of the smaller"""
    estimate: float | None = None
    """mean of arm − reference, in the metric's unit"""
    low: float | None = None
    """lower end of the t interval, in the metric's unit; under a stopping rule of the one for every look"""
    high: float | None = None
    """upper end of the t interval, in the metric's unit; under a stopping rule of the one for every look"""
    level: float = 0.95
    """coverage of the interval: 0.95 at alpha 0.05"""
    p: float | None = None
    """of the t test, two-sided, not corrected"""
    sign_flip_p: float | None = None
    """exact, two-sided, not corrected; null: unpaired, one block, or more than 22"""
    sd: float | None = None
    """of the differences, in the metric's unit; of unpaired arms the standard error times √n"""
    se: float | None = None
    """of the estimate, in the metric's unit"""
    df: float | None = None
    """of the t distribution that interval and tests are read from"""
    correlation: float | None = None
    """of the pairs, in [−1, 1]: what pairing bought"""
    differences: Mapping[int, float] = field(default_factory=dict)
    """block → difference, in the metric's unit"""
    note: str = ""
    """why a number is missing"""

    @property
    def testable(self) -> bool:
        return self.p is not None

    @property
    def freedom(self) -> float:
        """Degrees of freedom per block after the first: 1 of pairs, up to 2 of arms that share no blocks."""
        return 1.0 if self.df is None else self.df / (self.n - 1)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t tests against ±margin; equivalent when the 1 − 2α interval lies inside it."""

    margin: float
    """in the outcome's unit"""
    p: float
    """the larger of the two one-sided, not corrected"""
    low: float
    """lower end of the interval, in the outcome's unit"""
    high: float
    """upper end of the interval, in the outcome's unit"""
    level: float
    """coverage of the interval: 1 − 2α; under a stopping rule at every look"""


def effect(
    metric: str, arm: Mapping[int, float], reference: Mapping[int, float], *, alpha: float = 0.05
) -> Effect:
    """The effect over the blocks that both have; values are keyed by block."""
    blocks = sorted(set(arm) & set(reference))
    found = {block: arm[block] - reference[block] for block in blocks}
    n, level = len(blocks), 1 - alpha
    if n == 0:
        return Effect(metric, 0, level=level, note="no block has both the arm and its reference")
    d = list(found.values())
    mean = math.fsum(d) / n
    if n == 1:
        return Effect(metric, 1, mean, level=level, differences=found, note="one block: no interval, no test")
    sd = math.sqrt(math.fsum((x - mean) ** 2 for x in d) / (n - 1))
    common = {
        "sign_flip_p": sign_flip_p(np.array(d)),
        "correlation": correlation([arm[b] for b in blocks], [reference[b] for b in blocks]),
        "differences": found,
        "level": level,
    }
    scale = max(abs(v) for b in blocks for v in (arm[b], reference[b]))
    if sd <= ROUNDING * scale:
        return Effect(metric, n, mean, sd=0.0, note=_no_spread(mean, scale, n), **common)  # type: ignore[arg-type]
    se = sd / math.sqrt(n)
    df = n - 1
    reach = float(stdtrit(df, 1 - alpha / 2)) * se
    p = float(2 * stdtr(df, -abs(mean) / se))
    return Effect(metric, n, mean, mean - reach, mean + reach, p=p, sd=sd, se=se, df=df, **common)  # type: ignore[arg-type]


def _no_spread(mean: float, scale: float, n: int) -> str:
    if abs(mean) <= ROUNDING * scale:
        return (
            f"identical in all {n} blocks: the change does not reach this metric, or the metric is too coarse"
        )
    return f"the same difference in all {n} blocks: no spread to test against"


def correlation(arm: Sequence[float], reference: Sequence[float]) -> float | None:
    """Pearson correlation of the pairs; None below three blocks or without spread."""
    if len(arm) < 3 or len(set(arm)) == 1 or len(set(reference)) == 1:
        return None
    # NumPy's takes ten times as long for a few blocks, and there are thousands of effects.
    means = [math.fsum(values) / len(values) for values in (arm, reference)]
    a, b = ([v - mean for v in values] for values, mean in zip((arm, reference), means, strict=True))
    norms = math.hypot(*a), math.hypot(*b)  # of any unit: squares of 1e-200 would be zero
    if not all(norms):
        return None
    return max(-1.0, min(1.0, math.fsum(x / norms[0] * (y / norms[1]) for x, y in zip(a, b, strict=True))))


def sign_flip_p(differences: np.ndarray) -> float | None:
    """Exact two-sided p of the mean under all 2^n sign patterns; None beyond 22 blocks."""
    if len(differences) == 0 or len(differences) > EXACT_BLOCKS:
        return None
    sums = np.array([differences[0]])  # the other half of the patterns is its mirror image
    for d in differences[1:]:
        sums = np.concatenate([sums + d, sums - d])
    observed = abs(float(differences.sum()))
    slack = 1e-9 * float(np.abs(differences).sum())  # equal sums added in another order
    return int(np.count_nonzero(np.abs(sums) >= observed - slack)) / len(sums)


def equivalence(found: Effect, margin: float | None, *, alpha: float = 0.05) -> Equivalence | None:
    """TOST of an effect against ±margin; None without a margin or a spread."""
    if not margin or margin <= 0 or found.estimate is None or not found.se or found.df is None:
        return None
    below = float(stdtr(found.df, (found.estimate - margin) / found.se))
    above = float(stdtr(found.df, -(found.estimate + margin) / found.se))
    reach = float(stdtrit(found.df, 1 - alpha)) * found.se
    return Equivalence(
        margin, max(below, above), found.estimate - reach, found.estimate + reach, 1 - 2 * alpha
    )
