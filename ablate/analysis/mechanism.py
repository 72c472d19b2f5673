"""Wall-clock effects split in two: effect at equal time = effect at equal tokens + what speed bought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ablate.analysis.evidence import Curve, level_at
from ablate.analysis.findings import Curvature, Mechanism
from ablate.analysis.paired import effect

METRIC = "pretrain/loss"
WORTH = 0.01  # a fall of less than 1 % of the loss in the last doubling counts as flat


def mechanism(
    arm: Mapping[int, Curve], reference: Mapping[int, Curve], *, alpha: float = 0.05
) -> Mechanism | None:
    """The split over the blocks that both have curves for; None without one.

    In each block: equal time is where the earlier of the two ended, equal tokens where the slower one was by
    then. Blocks share data order, so at equal tokens both have read the same text. Losses are means over the
    last 5 % before a point.
    """
    rows = {b: _split(arm[b], reference[b]) for b in sorted(set(arm) & set(reference))}
    usable = {b: row for b, row in rows.items() if row is not None}
    if not usable:
        return None
    n = len(usable)
    zero = dict.fromkeys(usable, 0.0)
    time, tokens, speed = (
        effect(METRIC, {b: row[k] for b, row in usable.items()}, zero, alpha=alpha) for k in range(3)
    )
    ratio = sum(row[5] for row in usable.values()) / n
    return Mechanism(
        metric=METRIC, seconds=sum(row[3] for row in usable.values()) / n,
        tokens=sum(row[4] for row in usable.values()) / n, tokens_ratio=ratio,
        equal_time=time, equal_tokens=tokens, speed=speed, note=_note([row[5] for row in usable.values()]),
    )  # fmt: skip


Row = tuple[float, float, float, float, float, float]


def _split(arm: Curve, reference: Curve) -> Row | None:
    """Differences at equal time, at equal tokens and by speed; seconds, tokens, ratio of tokens."""
    if not len(arm.loss) or not len(reference.loss):
        return None
    at = min(float(arm.seconds[-1]), float(reference.seconds[-1]))
    read = [float(c.tokens[c.seconds <= at * (1 + 1e-9)].max(initial=0.0)) for c in (arm, reference)]
    if min(read) <= 0:
        return None
    by_time = level_at(arm, "seconds", at) - level_at(reference, "seconds", at)
    by_tokens = level_at(arm, "tokens", min(read)) - level_at(reference, "tokens", min(read))
    row = (by_time, by_tokens, by_time - by_tokens, at, min(read), read[0] / read[1])
    return row if all(math.isfinite(x) for x in row) else None


def _note(ratios: Sequence[float]) -> str:
    """`ratios`: tokens of the arm over those of its reference, by block."""
    if all(abs(ratio - 1) < 0.01 for ratio in ratios):
        return "both read the same number of tokens within 1 %: speed bought nothing"
    if min(ratios) < 1 < max(ratios):
        return "which of the two was faster differs from block to block"
    faster = "the arm" if max(ratios) > 1 else "the reference"
    # Schedules follow the share of the budget, so the faster run is read off before its rate had decayed.
    return f"at equal tokens {faster} is read off before its learning rate had decayed to the end"


def curvature(curves: Mapping[int, Curve]) -> Curvature | None:
    """Whether the loss was still falling at the end; None without curves."""
    falls, ends = [], []
    for curve in curves.values():
        if len(curve.tokens) < 20:
            continue
        end = float(curve.tokens[-1])
        before, last = level_at(curve, "tokens", end / 2), level_at(curve, "tokens", end)
        if math.isfinite(before - last):
            falls.append(before - last)
            ends.append(last)
    if not falls:
        return None
    n, mean = len(falls), math.fsum(falls) / len(falls)
    large = mean > WORTH * math.fsum(ends) / n
    if n == 1:
        return Curvature(mean, large, 1)
    se = math.sqrt(math.fsum((x - mean) ** 2 for x in falls) / (n - 1) / n)
    return Curvature(mean, None if large and mean <= 2 * se else large, n)
