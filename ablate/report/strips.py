"""The forest plot of the page: one strip of SVG per row of a real table, all on one axis.

Positions are percentages, so a strip has any width without a distorted mark; it takes its colours from the
page's theme, prints, and needs no script. A table of strips sorts, filters and reads aloud as any table does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ablate.analysis.findings import Findings, Mechanism
from ablate.report.numbers import MINUS
from ablate.report.series import Bar

MARKS = {  # centred on 0,0; shapes differ too, for those who do not see colour
    "helps": "M0-7 6.5 5h-13z",
    "hurts": "M0 7 6.5-5h-13z",
    "equivalent": "M0-7 7 0 0 7-7 0z",
    "inconclusive": "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0z",
    "": "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0z",
}
CENTRE, DOTS = 13, 27  # heights of the interval and of the blocks' dots in a strip of 34


@dataclass(frozen=True)
class Axis:
    """What every strip shows, and the part near the margin that a reader may look at instead."""

    low: float
    high: float
    near: float | None = None  # half the width of the nearer view; None where nothing is squeezed

    def at(self, value: float) -> str:
        return f"{100 * (value - self.low) / (self.high - self.low):.3f}%"

    @property
    def zoom(self) -> float:
        """How much wider a strip becomes in the nearer view."""
        return (self.high - self.low) / (2 * self.near) if self.near else 1.0

    @property
    def left(self) -> float:
        """Where the strip then starts, in widths of what is seen."""
        return (-self.near - self.low) / (2 * self.near) if self.near else 0.0


def axis(found: Findings, bars: Sequence[Bar]) -> Axis:
    """Every interval, every block, zero and the margin, with some air."""
    margin = found.outcome.margin or 0.0
    values = [0.0, -margin, margin]
    for bar in bars:
        values += [v for v in (bar.estimate, bar.low, bar.high) if v is not None]
        values += bar.points
    air = 0.04 * (max(values) - min(values)) or 1.0
    return Axis(min(values) - air, max(values) + air, near(found, bars))


def near(found: Findings, bars: Sequence[Bar]) -> float | None:
    """Half the width of a view around zero, where one large effect would squeeze the others; else None."""
    margin = found.outcome.margin
    if not margin or not bars:
        return None
    ends = [max(abs(v) for v in (b.estimate, b.low, b.high) if v is not None) for b in bars]
    half = 1.2 * max([2 * margin, *(end for end in ends if end < 6 * margin)])
    return half if max(ends) > 2 * half else None


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def strip(found: Findings, bar: Bar, on: Axis) -> str:
    """One row: margin, zero, interval, estimate, and a dot per block."""
    parts = [*_ground(found, on)]
    if bar.low is not None and bar.high is not None:
        parts.append(_line(on.at(bar.low), on.at(bar.high), "interval"))
    dots = "".join(f'<circle cx="{on.at(p)}" cy="{DOTS}" r="2"/>' for p in bar.points)
    mark = f'<svg x="{on.at(bar.estimate)}" y="{CENTRE}"><path d="{MARKS[bar.verdict]}"/></svg>'
    parts.append(f'<g class="dots">{dots}</g>{mark}')
    return f'<svg aria-hidden="true" class="{bar.verdict}">{"".join(parts)}</svg>'


def beyond(bar: Bar, on: Axis) -> str:
    """The side on which a row's estimate leaves the nearer view."""
    if not on.near or abs(bar.estimate) <= on.near:
        return ""
    return "beyond-right" if bar.estimate > 0 else "beyond-left"


def scale(on: Axis) -> str:
    """The numbers above the strips, for both views."""
    views = [("all", on.low, on.high)]
    if on.near:
        views.append(("close", -on.near, on.near))
    groups = [
        f'<g class="ticks-{name}">{"".join(_tick(value, low, high, on) for value in ticks(low, high))}</g>'
        for name, low, high in views
    ]
    return f'<svg aria-hidden="true">{"".join(groups)}</svg>'


def _tick(value: float, low: float, high: float, on: Axis) -> str:
    x, share = on.at(value), (value - low) / (high - low)
    text = f"{value:g}".replace("-", MINUS)
    # At an end of the strip, which cuts what leaves it, a number stands beside its mark.
    side = (
        ' style="text-anchor:start"' if share < 0.03 else ' style="text-anchor:end"' if share > 0.97 else ""
    )
    return f'<text x="{x}" y="11"{side}>{text}</text><line x1="{x}" x2="{x}" y1="15" y2="20"/>'


def _ground(found: Findings, on: Axis) -> Iterable[str]:
    margin = found.outcome.margin
    if margin:
        width = 200 * margin / (on.high - on.low)
        yield f'<rect class="margin" x="{on.at(-margin)}" y="-6" width="{width:.3f}%" height="46"/>'
    yield _zero(on)


def _zero(on: Axis) -> str:
    return f'<line class="zero" x1="{on.at(0)}" x2="{on.at(0)}" y1="-6" y2="40"/>'


def _line(x1: str, x2: str, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1}" x2="{x2}" y1="{CENTRE}" y2="{CENTRE}"/>'


def span(values: Sequence[float]) -> Axis:
    """An axis for other quantities than the outcome: all values and zero, with some air."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.06 * (high - low) or 1.0
    return Axis(low - air, high + air)


def split(found: Mechanism, on: Axis) -> str:
    """The three parts of a mechanism split above each other: equal time, equal tokens, by speed."""
    parts = [_zero(on)]
    for y, kind, e in (
        (5, "time", found.equal_time), (18, "tokens", found.equal_tokens), (31, "speed", found.speed),
    ):  # fmt: skip
        if e.low is not None and e.high is not None:
            parts.append(
                f'<line class="interval {kind}" x1="{on.at(e.low)}" x2="{on.at(e.high)}" y1="{y}" y2="{y}"/>'
            )
        if e.estimate is not None:
            parts.append(f'<circle class="{kind}" cx="{on.at(e.estimate)}" cy="{y}" r="4"/>')
    return f'<svg aria-hidden="true">{"".join(parts)}</svg>'
