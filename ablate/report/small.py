"""A negative result as a picture: the arm's effect on the outcome and on every task, a dot for each block.

Plain SVG, written by hand: a study may have a hundred negative results, and matplotlib takes 0.3 s for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ablate.analysis import metrics as names
from ablate.analysis.findings import Contrast, Findings
from ablate.analysis.paired import Effect
from ablate.report import numbers, strips
from ablate.report.figures import SKY, VERDICTS
from ablate.report.tables import effect_places

WIDTH, LEFT, RIGHT = 720, 150, 500  # the axis lies between LEFT and RIGHT, names before it, numbers behind it
ROW, HEAD = 30, 34
INK, DIM = "#16191d", "#57606a"


def forest(found: Findings, c: Contrast) -> str:
    """The outcome with its margin, and below it, on an axis of their own, the tasks in points."""
    metric = found.outcome.metric
    tasks = [m for m in names.tasks(c.secondary) if m != metric]
    color = VERDICTS[c.verdict]
    parts: list[str] = []
    outcome = [(f"Δ {found.outcome.label}", c.effect)]
    panels = [
        (outcome, found.outcome.unit, found.outcome.margin or 0.0, effect_places(found), color),
        ([(names.label(m), c.secondary[m]) for m in tasks], "points", 0.0, 1, DIM),
    ]
    top = 0
    for rows, unit, margin, places, ink in panels:
        shown = [(label, e) for label, e in rows if e.estimate is not None]
        if shown:
            parts.append(
                f'<text x="0" y="{top + HEAD - 9}" font-size="11" fill="{DIM}">{escape(unit)}</text>'
            )
            parts += _panel(shown, top, margin, places, ink)
            top += HEAD + ROW * len(shown)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">'
        f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _panel(
    rows: Sequence[tuple[str, Effect]], top: int, margin: float, places: int, color: str
) -> Iterator[str]:
    ends = [v for _, e in rows for v in (e.estimate, e.low, e.high, *e.differences.values()) if v is not None]
    axis = strips.span([*ends, -margin, margin])
    base, bottom = top + HEAD, top + HEAD + ROW * len(rows)

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
    for i, (label, e) in enumerate(rows):
        assert e.estimate is not None
        y = base + ROW * i + 13
        yield f'<text x="0" y="{y + 4}">{escape(label)}</text>'
        if e.low is not None and e.high is not None:
            yield _line(at(e.low), at(e.high), y, y, color, 2.5)
        yield f'<circle cx="{at(e.estimate)}" cy="{y}" r="5" fill="{color}"/>'
        for value in e.differences.values():
            yield f'<circle cx="{at(value)}" cy="{y + 11}" r="2" fill="{color}" opacity=".6"/>'
        text = numbers.estimate(e.estimate, e.low, e.high, places)
        yield f'<text x="{WIDTH}" y="{y + 4}" text-anchor="end" font-size="12">{text}</text>'


def _line(x1: str, x2: str, y1: int, y2: int, color: str, width: float = 1) -> str:
    return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}" stroke="{color}" stroke-width="{width:g}"/>'
