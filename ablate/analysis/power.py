"""What a paired design can resolve, before it is run and after: power of the t test and of TOST.

Spread (`sd`) always means the standard deviation of the within-block differences, in the outcome's unit;
from two arms with spread σ and correlation ρ it is σ·√(2(1−ρ)). `freedom` is the degrees of freedom per block
after the first: 1 of pairs, up to 2 of arms that share no blocks, whose t has those of both.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, nctdtr, ndtr, stdtrit

MOST_BLOCKS = 1000  # beyond it the answer is "not with seeds"


def t_power(effect: float, sd: float, n: int, *, alpha: float = 0.05, freedom: float = 1.0) -> float:
    """Power of the two-sided paired t test with n blocks when the true difference is `effect`."""
    if n < 2:
        return 0.0
    df, shift = freedom * (n - 1), abs(effect) / sd * math.sqrt(n)
    bar = float(stdtrit(df, 1 - alpha / 2))
    lower = 0.0 if shift > 5 else _below(df, shift, -bar)  # far out zero to any digit that matters
    return min(1.0, 1.0 - _below(df, shift, bar) + lower)


def _below(df: float, shift: float, bar: float) -> float:
    found = float(nctdtr(df, shift, bar))
    return 0.0 if math.isnan(found) else found  # the lower tail underflows to nan


def tost_power(margin: float, sd: float, n: int, *, alpha: float = 0.05, freedom: float = 1.0) -> float:
    """Power of TOST against ±margin with n blocks when the true difference is 0.

    Integrates over the sampled spread s, in units of the true one, whose df · s² is chi-square (error below
    1e-5 down to one degree of freedom).
    """
    if n < 2:
        return 0.0
    df, reach = freedom * (n - 1), margin / sd * math.sqrt(n)
    bar = float(stdtrit(df, 1 - alpha))
    s, weights = spreads(df, reach / bar)  # above, no interval fits the margin
    return min(1.0, float(weights @ (2 * ndtr(reach - bar * s) - 1)))


def spreads(df: float, most: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
    """Where to evaluate a function of s = sampled / true spread, and the weights whose sum with its values is
    its integral over the distribution of s up to `most`: df · s² is chi-square.

    Gauss-Legendre: 64 points, not the 1,000 quantiles that cost 1.4 ms for every df.
    """
    beyond = 9 / math.sqrt(2 * df)  # nine standard deviations of s
    low = max(0.0, 1 - beyond)
    half = max(0.0, min(1 + beyond, most) - low) / 2
    nodes, weights = gauss(64)
    s = low + half * (nodes + 1)
    if not half:
        return s, np.zeros_like(s)
    log = math.log(2) + df / 2 * math.log(df / 2) - gammaln(df / 2) + (df - 1) * np.log(s) - df * s * s / 2
    return s, half * weights * np.exp(log)


@functools.cache
def gauss(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes on (−1, 1) and weights of Gauss-Legendre quadrature."""
    return np.polynomial.legendre.leggauss(points)


def resolvable(
    n: int, sd: float, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1, freedom: float = 1.0
) -> float | None:
    """The smallest true difference that n blocks detect with the given power; None below two blocks.

    `comparisons` is the size of the family: its hardest step tests at alpha / comparisons.
    """
    if n < 2:
        return None
    if sd == 0:
        return 0.0
    return _resolvable_spreads(n, alpha / comparisons, power, freedom) * sd


@functools.lru_cache(maxsize=1024)  # arms differ in their spread alone
def _resolvable_spreads(n: int, level: float, power: float, freedom: float) -> float:
    return _smallest(lambda size: t_power(size, 1.0, n, alpha=level, freedom=freedom) >= power)


def equivalence_margin(
    n: int, sd: float, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1
) -> float | None:
    """The smallest margin within which n blocks can show equivalence of equal arms; None below two blocks."""
    if n < 2:
        return None
    level = alpha / comparisons
    return _smallest(lambda size: tost_power(size, 1.0, n, alpha=level) >= power) * sd


def _smallest(enough: Callable[[float], bool]) -> float:
    """The least size for which a monotone condition holds, to six digits."""
    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, high * 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def blocks_needed(
    margin: float, sd: float, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1,
    freedom: float = 1.0,
) -> int | None:  # fmt: skip
    """Blocks that settle an arm either way: detect a difference of one margin, or show equivalence of equals.

    None when more than 1,000 would be needed.
    """
    if sd <= 0:
        return 2
    level = alpha / comparisons

    def settled(n: int) -> bool:
        powers = (f(margin, sd, n, alpha=level, freedom=freedom) for f in (t_power, tost_power))
        return all(found >= power for found in powers)

    if not settled(MOST_BLOCKS):
        return None
    low, high = 1, MOST_BLOCKS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high


def smallest_sign_flip_p(n: int) -> float:
    """The least two-sided p that a sign-flip or Wilcoxon test can give with n blocks."""
    return min(1.0, 2.0 ** (1 - n))


def blocks_for_sign_flip(family: int, alpha: float = 0.05) -> int:
    """Blocks from which a sign-flip test can pass Holm's first step in a family of this size."""
    return 1 + math.ceil(math.log2(max(1, family) / alpha))


def warnings(blocks: int, family: int, *, alpha: float = 0.05) -> list[str]:
    """What a design with so many blocks cannot say, for `plan` to tell before anything is spent."""
    if blocks < 2:
        return [
            "1 block gives estimates without an interval: every verdict will be inconclusive; use 3 or more"
        ]
    found = []
    if blocks == 2:
        found.append(
            f"2 blocks leave 1 degree of freedom: a {100 * (1 - alpha):g} % interval is "
            f"{float(stdtrit(1, 1 - alpha / 2)):.3g} standard errors wide on each side"
        )
    least, needed = smallest_sign_flip_p(blocks), blocks_for_sign_flip(family, alpha)
    if least > alpha:
        found.append(
            f"{blocks} blocks can never reach {alpha:g} with a sign-flip or Wilcoxon test "
            f"(smallest p {least:g}); verdicts rest on the paired t test, "
            "which assumes near-normal differences"
        )
    elif least > alpha / max(1, family):
        found.append(
            f"with {family} contrasts under Holm a sign-flip or Wilcoxon test needs {needed} blocks; "
            f"with {blocks} verdicts rest on the paired t test alone"
        )
    return found
