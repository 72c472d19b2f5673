"""The front between the two outcomes of a search: arms that no other arm beats on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.analysis.findings import Front, FrontPoint, Outcome
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


def between(
    study: FrozenStudy, observed: Observed, outcome: Outcome, tradeoff: Outcome | None
) -> Front | None:
    """Every arm that has both outcomes, and which of them no other beats; None without a second outcome.

    Means over one block and over five stand side by side: a screened arm may owe its place to luck.
    """
    if tradeoff is None:
        return None
    means: dict[str, tuple[float, float]] = {}
    blocks: dict[str, int] = {}
    for arm in study.arms:
        scored = [observed.metric(arm.name, o.metric) for o in (outcome, tradeoff)]
        if all(scored):
            means[arm.name] = (value(scored[0]).mean, value(scored[1]).mean)
            blocks[arm.name] = min(len(s) for s in scored)
    best = front(means, [outcome.higher_is_better, tradeoff.higher_is_better])
    phases = {arm.name: str(arm.phase) for arm in study.arms}
    rest = [name for name in means if name not in best]
    points = tuple(
        FrontPoint(name, *means[name], blocks[name], phases[name], name in best) for name in [*best, *rest]
    )
    return Front(tradeoff, points) if points else None
