"""Numbers as readers want them: digits follow the standard error, a true minus sign, no false precision."""

from __future__ import annotations

import math
from collections.abc import Iterable

MISSING = "–"
MINUS = "−"


def decimals(errors: Iterable[float | None], *, default: int = 1, most: int = 4) -> int:
    """Decimals by the typical standard error: its first digit, two where that is 1 or 2 (0.13, but 0.4).

    `default` where no error is known.
    """
    known = sorted(e for e in errors if e is not None and e > 0)
    if not known:
        return default
    typical = known[len(known) // 2]
    order = math.floor(math.log10(typical))
    return min(most, max(0, -order + (typical / 10.0**order < 2.95)))


def number(value: float | None, places: int, *, sign: bool = False) -> str:
    """`−1.20`; a dash for nothing."""
    if value is None:
        return MISSING
    text = f"{value:{'+' if sign else ''},.{places}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # never −0.0
    return text.replace("-", MINUS).replace(",", "\u202f")  # narrow space between thousands


def estimate(value: float | None, low: float | None, high: float | None, places: int) -> str:
    """`+0.31 [−0.10, +0.72]`, or the estimate alone where there is no interval."""
    if value is None:
        return MISSING
    if low is None or high is None:
        return number(value, places, sign=True)
    shown = [number(x, places, sign=True) for x in (value, low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def p_value(p: float | None) -> str:
    """`.012`, `<.001`, `1`; a dash for nothing."""
    if p is None:
        return MISSING
    if p < 0.001:
        return "<.001"
    return "1" if p > 0.9995 else f"{p:.3f}".lstrip("0")


def percent(share: float | None) -> str:
    """A relative difference: `+3.1 %`."""
    return MISSING if share is None else f"{number(100 * share, 1, sign=True)} %"


def quantity(value: float | None, *, measured: bool = False) -> str:
    """A count in three digits: `12.3 M`, `20 M`; a measured one keeps its noughts, `18.0 k`."""
    if value is None:
        return MISSING
    digits = "#.3g" if measured else ".3g"
    for size, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:{digits}}".rstrip(".") + f" {name}"
    return f"{value:{digits}}".rstrip(".")


def prefixed(metric: str) -> bool:
    """Whether a metric is a count or a rate, which `quantity` writes."""
    return metric.startswith(("throughput/tokens", "spent/"))


def duration(seconds: float) -> str:
    """`42 s`, `3.5 min`, `1.2 h`."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    if seconds < 5400:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.3g} h" if seconds < 3.6e6 else f"{seconds / 3600:,.0f} h"
