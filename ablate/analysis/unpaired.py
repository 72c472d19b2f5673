"""Arms whose blocks have nothing in common: Welch's t for one, Dunnett's many-to-one test beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from ablate.analysis.findings import Unpaired
from ablate.analysis.paired import ROUNDING, Effect
from ablate.analysis.power import gauss, spreads


def unpaired(arm: Sequence[float], reference: Sequence[float], *, alpha: float = 0.05) -> Unpaired:
    """Difference of means with Welch's interval: normal values, spreads may differ."""
    a, b = np.asarray(arm, dtype=float), np.asarray(reference, dtype=float)
    sizes, level = (len(a), len(b)), 1 - alpha
    if not len(a) or not len(b):
        return Unpaired(sizes, level=level)
    estimate = float(a.mean() - b.mean())
    if min(sizes) < 2:
        return Unpaired(sizes, estimate, level=level)
    parts = [x.var(ddof=1) / len(x) for x in (a, b)]
    se = math.sqrt(sum(parts))
    if se <= ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        return Unpaired(sizes, estimate, level=level)
    df = float(sum(parts) ** 2 / sum(v * v / (len(x) - 1) for v, x in zip(parts, (a, b), strict=True)))
    reach = float(stdtrit(df, 1 - alpha / 2)) * se
    p = float(2 * stdtr(df, -abs(estimate) / se))
    return Unpaired(sizes, estimate, estimate - reach, estimate + reach, level, p, df)


def as_effect(found: Unpaired, metric: str, *, alpha: float = 0.05) -> Effect:
    """The same numbers in the form of a paired effect, for tables; n is the smaller arm's."""
    n = min(found.n)
    if found.p is None:
        note = "no trial of the arm or of its reference" if n == 0 else (
            "one trial: no interval, no test" if n == 1 else "no spread to test against"
        )  # fmt: skip
        return Effect(metric, n, found.estimate, level=found.level, note=note)
    assert found.estimate is not None and found.high is not None and found.df is not None  # noqa: PT018
    se = (found.high - found.estimate) / float(stdtrit(found.df, 1 - alpha / 2))
    # `sd` is what a difference of two single trials would spread: se·√n, so that power is asked of it.
    return Effect(
        metric, n, found.estimate, found.low, found.high, found.level, found.p,
        sd=se * math.sqrt(n), se=se, df=found.df,
    )  # fmt: skip


def dunnett(arms: Mapping[str, Sequence[float]], reference: Sequence[float]) -> dict[str, float]:
    """Simultaneous p per arm against one reference (Dunnett 1955); arms with fewer than two values left out.

    Arms are correlated through the reference's mean alone: given it and the sampled spread they are
    independent, which leaves two integrals however many arms there are. `scipy.stats.dunnett` integrates over
    one dimension per arm; of 199 arms it is not done after ten minutes.
    """
    b = np.asarray(reference, dtype=float)
    usable = {name: np.asarray(v, dtype=float) for name, v in arms.items() if len(v) >= 2}
    every = [*usable.values(), b]
    if not usable or len(b) < 2 or not any(np.ptp(v) > 0 for v in every):
        return {}
    df = sum(len(v) - 1 for v in every)
    spread = math.sqrt(math.fsum(float(((v - v.mean()) ** 2).sum()) for v in every) / df)
    sizes = np.array([len(v) for v in usable.values()])
    t = np.array([v.mean() - b.mean() for v in usable.values()]) / (spread * np.sqrt(1 / sizes + 1 / len(b)))
    return {
        name: max(0.0, 1.0 - _all_within(abs(x), sizes, len(b), df))
        for name, x in zip(usable, t, strict=True)
    }


def _all_within(bar: float, sizes: np.ndarray, reference: int, df: int) -> float:
    """The probability that no arm's t exceeds `bar` in size when all means are equal."""
    nodes, weights = gauss(256)
    z, density = 9 * nodes, 9 * weights * np.exp(-((9 * nodes) ** 2) / 2) / math.sqrt(2 * math.pi)
    s, of_spread = spreads(df)
    inside = np.ones((len(s), len(z)))
    for size, arms in zip(*np.unique(sizes, return_counts=True), strict=True):
        shared = math.sqrt(size / (size + reference))  # correlation with the reference's mean
        own = math.sqrt(1 - shared**2)
        middle, reach = shared * z, bar * s[:, None]
        inside *= (ndtr((middle + reach) / own) - ndtr((middle - reach) / own)) ** int(arms)
    return float(of_spread @ inside @ density)
