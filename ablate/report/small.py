"""A negative result as a picture: the arm's effect on the outcome and on every task, a dot for each block; of
arms without shared blocks a dot for each trial and a ring for each of the reference, less the latter's mean.

Plain SVG, written by hand: a study may have a hundred negative results, and matplotlib takes 0.3 s for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ablate.analysis import metrics as names
from ablate.analysis.findings import ArmFindings, Contrast, Findings
from ablate.analysis.paired import Effect
from ablate.report import numbers, series, strips
from ablate.report.figures import SKY, VERDICTS
from ablate.report.tables import effect_places

WIDTH, LEFT, RIGHT = 720, 150, 500  # the axis lies between LEFT and RIGHT, names before it, numbers behind it
ROW, RINGS, HEAD, KEY = 30, 8, 34, 26  # rings lie below the dots: 200 of each on one line hid each other
INK, DIM = "#16191d", "#57606a"
RING = f'fill="none" stroke="{DIM}" stroke-opacity=".7"'


@dataclass(frozen=True)
class _Row:
    label: str
    effect: Effect
    dots: tuple[float, ...]
    rings: tuple[float, ...] = ()


def forest(found: Findings, arm: ArmFindings, c: Contrast) -> str:
    """The outcome with its margin, and below it, on an axis of their own, the tasks in points."""
    metric = found.outcome.metric
    tasks = [m for m in names.tasks(c.secondary) if m != metric]
    color = VERDICTS[c.verdict]
    parts: list[str] = []
    outcome = [_row(found, arm, metric, f"Δ {found.outcome.label}", c.effect)]
    panels = [
        (outcome, found.outcome.unit, found.outcome.margin or 0.0, effect_places(found), color),
        ([_row(found, arm, m, names.label(m), c.secondary[m]) for m in tasks], "points", 0.0, 1, DIM),
    ]
    top = 0
    for rows, unit, margin, places, ink in panels:
        shown = [row for row in rows if row.effect.estimate is not None]
        if shown:
            parts.append(
                f'<text x="0" y="{top + HEAD - 9}" font-size="11" fill="{DIM}">{escape(unit)}</text>'
            )
            parts += _panel(shown, top, margin, places, ink)
            top += HEAD + _height(shown) * len(shown)
    parts += _legend(found, top + KEY - 8)
    top += KEY
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">'
        f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _row(found: Findings, arm: ArmFindings, metric: str, label: str, e: Effect) -> _Row:
    shown = (series.points, series.reference_points)
    return _Row(label, e, *(tuple(of(found, arm, metric).values()) for of in shown))


def _height(rows: Sequence[_Row]) -> int:
    return ROW + (RINGS if any(row.rings for row in rows) else 0)


def _legend(found: Findings, y: int) -> Iterator[str]:
    """What a dot is, and a ring."""
    dot, ring = f'fill="{DIM}"', "one trial of the reference, likewise"
    marks = [
        (LEFT, dot, 2, series.point_words(found)),
        *([] if found.paired else [(LEFT + 327, RING, 3, ring)]),
    ]
    for x, look, radius, text in marks:
        yield _marks([f"{x + 3}"], y - 4, look, radius)
        yield f'<text x="{x + 12}" y="{y}" font-size="11" fill="{DIM}">{text}</text>'


def _panel(rows: Sequence[_Row], top: int, margin: float, places: int, color: str) -> Iterator[str]:
    drawn = [
        v
        for row in rows
        for v in (row.effect.estimate, row.effect.low, row.effect.high, *row.dots, *row.rings)
    ]
    axis = strips.span([*(v for v in drawn if v is not None), -margin, margin])
    height = _height(rows)
    base, bottom = top + HEAD, top + HEAD + height * len(rows)

    def at(value: float) -> str:
        return f"{LEFT + (RIGHT - LEFT) * (value - axis.low) / (axis.high - axis.low):.1f}"

    if margin:
        width = float(at(margin)) - float(at(-margin))
        size = f'x="{at(-margin)}" y="{base}" width="{width:.1f}" height="{bottom - base}"'
        yield f'<rect {size} fill="{SKY}" opacity=".25"/>'
    for tick in strips.ticks(axis.low, axis.high):
        text = f"{tick:g}".replace("-", numbers.MINUS)
        style = f'text-anchor="middle" font-size="11" fill="{DIM}"'
        yield f'<text x="{at(tick)}" y="{base - 9}" {style}>{text}</text>'
        yield _line(at(tick), at(tick), base - 5, base, DIM)
    yield _line(at(0), at(0), base, bottom, DIM)
    for i, row in enumerate(rows):
        e = row.effect
        assert e.estimate is not None
        y = base + height * i + 13
        yield f'<text x="0" y="{y + 4}">{escape(row.label)}</text>'
        if e.low is not None and e.high is not None:
            yield _line(at(e.low), at(e.high), y, y, color, 2.5)
        yield f'<circle cx="{at(e.estimate)}" cy="{y}" r="5" fill="{color}"/>'
        yield _marks([at(v) for v in row.rings], y + 11 + RINGS, RING)
        yield _marks([at(v) for v in row.dots], y + 11, f'fill="{color}" fill-opacity=".6"', 2)
        text = numbers.estimate(e.estimate, e.low, e.high, places)
        yield f'<text x="{WIDTH}" y="{y + 4}" text-anchor="end" font-size="12">{text}</text>'


def _marks(places: Sequence[str], y: int, look: str, radius: int = 3) -> str:
    """Circles in a row; what they look like is said once, as there may be hundreds."""
    circles = "".join(f'<circle cx="{x}" cy="{y}" r="{radius}"/>' for x in places)
    return f"<g {look}>{circles}</g>" if circles else ""


def _line(x1: str, x2: str, y1: int, y2: int, color: str, width: float = 1) -> str:
    return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}" stroke="{color}" stroke-width="{width:g}"/>'
