"""Which arm is significantly best, and which are equivalent to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from ablate.analysis.findings import Outcome
from ablate.analysis.paired import effect, equivalence

Standing = Literal["best", "equivalent to the best", ""]


def standings(
    values: Mapping[str, Mapping[int, float]], outcome: Outcome, alpha: float, unfit: Collection[str] = ()
) -> dict[str, Standing]:
    """Per arm. The leader is chosen by looking, so each comparison pays for all pairs (Bonferroni).

    An `unfit` arm (one that diverged somewhere) is never called best on the blocks it survived.
    """
    found: dict[str, Standing] = dict.fromkeys(values, "")
    usable = {name: blocks for name, blocks in values.items() if len(blocks) >= 2}
    if len(usable) < 2:
        return found
    sign = 1 if outcome.higher_is_better else -1
    leader = max(usable, key=lambda name: sign * sum(usable[name].values()) / len(usable[name]))
    pairs = len(usable) * (len(usable) - 1) / 2
    others = [name for name in usable if name != leader]
    effects = {name: effect(outcome.metric, usable[name], usable[leader], alpha=alpha) for name in others}
    if leader not in unfit and all(e.p is not None and e.p * pairs <= alpha for e in effects.values()):
        found[leader] = "best"
    for name, e in effects.items():
        tost = equivalence(e, outcome.margin, alpha=alpha)
        if tost is not None and tost.p * pairs <= alpha:
            found[name] = "equivalent to the best"
    return found
