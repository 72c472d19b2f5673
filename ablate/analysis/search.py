"""What a search says: the best of k trials, and which of its knobs the outcome followed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.analysis.findings import BestOfK


def best_of_k(name: str, scores: Sequence[float], *, higher_is_better: bool = True) -> BestOfK | None:
    """Expected best of k trials drawn without replacement from those that were run, exactly; None of none.

    E[best] = Σ_i C(i−1, k−1) / C(n, k) · v_(i) over the scores in order, worst first. The form with
    replacement (Dodge et al. 2019) is biased; this is the unbiased one (Tang et al. 2020).
    """
    sign = 1.0 if higher_is_better else -1.0
    ordered = sorted(sign * s for s in scores if math.isfinite(s))
    n = len(ordered)
    if not n:
        return None
    expected, spread = [], []
    for k in range(1, n + 1):
        weights = [math.comb(i, k - 1) / math.comb(n, k) for i in range(n)]
        mean = math.fsum(w * v for w, v in zip(weights, ordered, strict=True))
        square = math.fsum(w * (v - mean) ** 2 for w, v in zip(weights, ordered, strict=True))
        expected.append(sign * mean)
        spread.append(math.sqrt(max(0.0, square)))
    return BestOfK(name, n, tuple(range(1, n + 1)), tuple(expected), tuple(spread))
