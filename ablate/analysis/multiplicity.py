"""Several contrasts at once: Holm's step-down over a family declared beforehand."""

from __future__ import annotations

from collections.abc import Mapping


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm-adjusted p per member; controls the family-wise error under any dependence (Holm 1979).

    A member without a p-value (no block completed, no spread) still counts: the family keeps the size
    it was declared with, so losing an arm never makes the others look better.
    """
    known = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    running = 0.0
    for rank, (p, name) in enumerate(known):
        running = max(running, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = running
    return adjusted
