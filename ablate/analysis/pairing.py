"""What sharing blocks bought, over all contrasts of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ablate.analysis.findings import Pairing
from ablate.analysis.paired import correlation


def pairing(pairs: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]]) -> Pairing | None:
    """Mean correlation (Fisher z, weighted by blocks − 3 where it can) and ratio of variances.

    `pairs`: contrast → (arm, reference) by block. None where no contrast has three blocks and a spread.
    """
    correlations, weights, ratios = [], [], []
    for arm, reference in pairs.values():
        blocks = sorted(set(arm) & set(reference))
        a, b = (np.array([side[k] for k in blocks]) for side in (arm, reference))
        r = correlation(a.tolist(), b.tolist())
        if r is None:
            continue
        correlations.append(math.atanh(max(-0.9999, min(0.9999, r))))
        weights.append(max(0.5, len(blocks) - 3))
        ratios.append(float((a - b).var(ddof=1) / (a.var(ddof=1) + b.var(ddof=1))))
    if not correlations:
        return None
    mean = sum(z * w for z, w in zip(correlations, weights, strict=True)) / sum(weights)
    return Pairing(math.tanh(mean), len(correlations), float(np.mean(ratios)))
