"""The forest plot as a plain SVG, for READMEs and papers: needs no browser, reads on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from ablate.analysis.findings import Findings
from ablate.report import numbers
from ablate.report.series import Bar

Axis = Callable[[float], float]  # value → horizontal position

WIDTH, ROW, TOP = 760, 44, 34
LEFT, RIGHT = 20, 240  # room for the numbers at the right
COLOURS = {"helps": "#009e73", "hurts": "#d55e00", "equivalent": "#3a9bd8", "inconclusive": "#b8860b"}
INK = "#6e7781"  # mid grey: 4.5 : 1 on white and on GitHub's dark


def forest(found: Findings, bars: Sequence[Bar], places: int) -> str:
    """Rows as in the table: name, interval with a point, numbers and verdict; the margin shaded."""
    low, high = _range(found, bars)
    bottom = TOP + ROW * len(bars)

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    parts = [*_frame(found, x, bottom, _ticks(low, high))]
    for i, bar in enumerate(bars):
        parts += _row(bar, TOP + ROW * i, x, places)
    unit = f" ({found.outcome.unit})" if found.outcome.unit else ""
    better = "higher is better" if found.outcome.higher_is_better else "lower is better"
    parts.append(_text(LEFT, bottom + 40, f"Δ {found.outcome.label}{unit}, {better}"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 52}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">\n<title>{escape(found.answer)}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _range(found: Findings, bars: Sequence[Bar]) -> tuple[float, float]:
    """What the axis shows: every interval, zero and the margin, with some air."""
    margin = found.outcome.margin or 0.0
    values = [0.0, -margin, margin]
    for bar in bars:
        values += [v for v in (bar.estimate, bar.low, bar.high) if v is not None]
    air = 0.05 * (max(values) - min(values)) or 1.0
    return min(values) - air, max(values) + air


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _frame(found: Findings, x: Axis, bottom: float, ticks: Iterable[float]) -> Iterable[str]:
    m = found.outcome.margin
    if m:
        yield (
            f'<rect x="{x(-m)}" y="{TOP - 14}" width="{x(m) - x(-m):.1f}" height="{bottom - TOP + 14}" '
            'fill="#56b4e9" opacity="0.25"/>'
        )
        yield _text(x(0), TOP - 20, f"margin ±{m:g}", anchor="middle")
    for tick in ticks:
        yield _line(x(tick), TOP - 14, x(tick), bottom, INK, 1 if tick == 0 else 0.3)
        yield _text(x(tick), bottom + 18, f"{tick:g}".replace("-", numbers.MINUS), anchor="middle")


def _row(bar: Bar, top: float, x: Axis, places: int) -> Iterable[str]:
    colour, y = COLOURS.get(bar.verdict, INK), top + 26
    yield _text(LEFT, top + 8, bar.arm)
    if bar.low is not None and bar.high is not None:
        yield _line(x(bar.low), y, x(bar.high), y, colour, 1, 3)
    for point in bar.points:
        yield f'<circle cx="{x(point)}" cy="{y + 8}" r="2" fill="{colour}" opacity="0.6"/>'
    yield f'<circle cx="{x(bar.estimate)}" cy="{y}" r="5.5" fill="{colour}"/>'
    shown = numbers.estimate(bar.estimate, bar.low, bar.high, places)
    yield _text(WIDTH - RIGHT + 16, top + 18, shown)
    yield _text(WIDTH - RIGHT + 16, top + 34, bar.verdict, colour=colour, weight="bold")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, opacity: float, width: float = 1) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" '
        f'stroke-width="{width}" opacity="{opacity}"/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = INK, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
