"""Several contrasts at once: Holm over a family declared beforehand, Benjamini–Hochberg for screens."""

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


def benjamini_hochberg(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Benjamini–Hochberg-adjusted p per member: the expected share of false discoveries, for screens only.

    A screen picks what a confirmation will test; its verdicts are labelled and never stand alone.
    """
    known = sorted(((p, name) for name, p in p_values.items() if p is not None), reverse=True)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    running = 1.0
    for rank, (p, name) in enumerate(known):
        running = min(running, p * len(p_values) / (len(known) - rank))
        adjusted[name] = running
    return adjusted
