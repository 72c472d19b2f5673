"""The front between the two outcomes of a search: arms that no other arm beats on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.analysis.observed import Observed, value
from ablate.records import FrozenStudy


def front(points: Mapping[str, Sequence[float]], higher: Sequence[bool]) -> list[str]:
    """The names of points that no other is at least as good as everywhere and better somewhere; best first
    on the first outcome."""
    scored = {
        name: tuple(v if up else -v for v, up in zip(p, higher, strict=True)) for name, p in points.items()
    }
    kept = [
        name
        for name, mine in scored.items()
        if not any(theirs != mine and all(t >= m for t, m in zip(theirs, mine, strict=True))
                   for theirs in scored.values())
    ]  # fmt: skip
    return sorted(kept, key=lambda name: scored[name], reverse=True)


def front_note(study: FrozenStudy, observed: Observed) -> str | None:
    """The front in a sentence, its numbers means over blocks; None without a second outcome."""
    if not study.tradeoff:
        return None
    outcomes = [study.outcome, study.tradeoff]
    metrics = [str(o["metric"]) for o in outcomes]
    points = {}
    for arm in study.arms:
        blocks = [observed.metric(arm.name, metric) for metric in metrics]
        if all(blocks):
            points[arm.name] = [value(b).mean for b in blocks]
    if not points:
        return None
    best = front(points, [bool(o.get("higher_is_better", True)) for o in outcomes])
    told = "; ".join(f"{name} ({', '.join(f'{v:.4g}' for v in points[name])})" for name in best)
    return f"Pareto front of {metrics[0]} and {metrics[1]}, {len(best)} of {len(points)} arms: {told}"
