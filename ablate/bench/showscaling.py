"""A scaling report for people: tables for a terminal and a page, and a figure of measured and predicted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from ablate.bench.points import AXES
from ablate.bench.scaling import Report, Row
from ablate.bench.show import marked, printed, threads
from ablate.bench.sidebyside import FLOOR
from ablate.speed.model import WITHIN

HEADS = (
    "", "parameters", "tokens a step", "micro-batch, s", "update, s", "±", "tokens/s", "GFLOP/s", "predicted",
    "its seconds",
)  # fmt: skip
BLUE, GREY = "#0072b2", "#6e7781"


def tables(report: Report) -> list[tuple[str, list[Row]]]:
    """Titles and rows: one table per axis, then the variants, then what was held out."""
    found = [(axis, [row for row in report.rows if row.axis == axis]) for axis in AXES]
    others = [row for row in report.rows if row.axis in ("other", "variant")]
    return [*found, ("other changes, for the fit", others), ("held out of the fit", report.held_out)]


def cells(row: Row) -> tuple[str, ...]:
    """One row as text, in the order of HEADS."""
    return (
        row.level,
        f"{row.parameters / 1e6:.2f} M",
        f"{row.tokens:,}",
        f"{row.micro:.3f}",
        f"{row.update:.3f}",
        f"{row.spread:.1%}",
        f"{row.tokens_per_second:,.0f}",
        f"{row.flops_per_second / 1e9:,.0f}",
        f"{row.predicted:,.0f}",
        f"{row.error:+.1%}",
    )


def facts(report: Report) -> list[str]:
    """What the tables are of, and what they come to."""
    clock = "CPU seconds" if report.clock == "cpu" else "wall seconds"
    worst = max((abs(row.error) for row in report.held_out), default=math.nan)
    found = [
        f"{report.recipe}, {report.precision}, {'compiled' if report.compiled else 'eager'}; "
        f"{report.model.device}, {threads(report.threads)}, load {report.load[0]:g}; "
        f"medians of {report.rounds} rounds in turns, {clock}.",
        f"Held out of the fit: predicted seconds are off by at most {worst:.0%} (floor {WITHIN:.0%}).",
    ]
    if report.model.loop:
        found.append(f"A trial's own loop adds {1e3 * report.model.loop:.1f} ms to each micro-batch.")
    if report.parallel:
        side = report.parallel
        found.append(
            f"{side.processes} processes at once keep {side.kept:.1%} of {side.processes} times one's steps "
            f"per second, {side.kept_cpu:.1%} per CPU-second (floor {FLOOR:.0%})."
        )
    return [*found, *(f"Left out: {line}." for line in report.left_out)]


def terminal(report: Report) -> RenderableType:
    """For a wide terminal."""
    shown: list[RenderableType] = []
    for title, rows in tables(report):
        shown += [printed(HEADS, map(cells, rows), title), Text("")]
    return Group(*shown, *(Text(fact, style="dim") for fact in facts(report)))


def markdown(report: Report) -> str:
    """For docs/performance.md."""
    lines = [f"`{report.command}` ({report.provenance['hardware']['cpu']}, {report.date})", ""]
    for title, rows in tables(report):
        lines += [*marked((title, *HEADS[1:]), map(cells, rows)), ""]
    return "\n".join([*lines, *facts(report)]) + "\n"


def write(report: Report, folder: Path) -> None:
    """bench.json, bench.md and scaling.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n")
    (folder / "bench.md").write_text(markdown(report))
    (folder / "scaling.svg").write_text(figure(report))


# --- the figure ----------------------------------------------------------------------------------------

WIDE, HIGH, LEFT, TOP = 246, 190, 52, 30  # of a panel; margins inside it
PLOT = (WIDE - LEFT - 14, HIGH - TOP - 42)


def figure(report: Report) -> str:
    """A panel per axis, tokens per second measured (dots) and predicted (line), and one of held-out recipes;
    as an SVG that reads on light and on dark.
    """
    unit = "tokens per CPU-second" if report.clock == "cpu" else "tokens per second"
    panels = [_axis(axis, rows) for axis, rows in tables(report) if axis in AXES and rows]
    panels.append(_parity(report.held_out))
    down = -(-len(panels) // 3) * HIGH
    placed = [
        f'<g transform="translate({i % 3 * WIDE},{i // 3 * HIGH})">{panel}</g>'
        for i, panel in enumerate(panels)
    ]
    legend = f"{escape(report.recipe)}, {escape(report.precision)}: {unit}; dots measured, lines predicted"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * WIDE} {down + 24}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="{GREY}">\n<title>{legend}</title>\n'
        + "\n".join(placed)
        + f'\n<text x="{LEFT}" y="{down + 14}">{legend}</text>\n</svg>\n'
    )


def _axis(title: str, rows: Sequence[Row]) -> str:
    measured = [(float(row.level), row.tokens_per_second) for row in rows]
    predicted = [(float(row.level), row.predicted) for row in rows]
    x = _scale([p[0] for p in measured], PLOT[0])
    y = _scale([p[1] for p in measured + predicted], PLOT[1], least=3.0)
    line = " ".join(f"{LEFT + x(a):.1f},{TOP + PLOT[1] - y(b):.1f}" for a, b in predicted)
    parts = [f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>']
    parts += [_dot(LEFT + x(a), TOP + PLOT[1] - y(b), f"{a:g}: {b:,.0f}") for a, b in measured]
    parts += [
        _below(LEFT + x(a), f"{a / 1024:g}k" if a >= 2048 and a % 1024 == 0 else f"{a:g}")
        for a, _ in measured
    ]
    ends = min(b for _, b in measured), max(b for _, b in measured)
    parts += [_beside(TOP + PLOT[1] - y(b), f"{b:,.0f}") for b in ends]
    return _frame(title) + "".join(parts)


def _parity(rows: Sequence[Row]) -> str:
    """Predicted over measured seconds of each held-out recipe, in the band that is promised."""
    low, high = 1 - 2 * WITHIN, 1 + 2 * WITHIN

    def y(value: float) -> float:
        return TOP + PLOT[1] * (high - min(high, max(low, value))) / (high - low)

    parts = [
        f'<rect x="{LEFT}" y="{y(1 + WITHIN):.1f}" width="{PLOT[0]}" '
        f'height="{y(1 - WITHIN) - y(1 + WITHIN):.1f}" fill="{BLUE}" opacity="0.15"/>',
        f'<line x1="{LEFT}" x2="{LEFT + PLOT[0]}" y1="{y(1):.1f}" y2="{y(1):.1f}" stroke="{BLUE}"/>',
    ]
    for i, row in enumerate(rows):
        at = LEFT + PLOT[0] * (i + 0.5) / len(rows)
        ratio = 1 + row.error
        parts += [_dot(at, y(ratio), f"{row.level}: {ratio:.2f}"), _below(at, str(i + 1))]
    parts += [_beside(y(value), f"{value:.1f}") for value in (1 - WITHIN, 1.0, 1 + WITHIN)]
    return _frame("held out: predicted / measured") + "".join(parts)


def _scale(values: Sequence[float], size: float, least: float = 1.0) -> _Scale:
    """Over all values, and over a factor of `least`: noise on a flat axis should not look like a slope."""
    low, high = math.log(min(values)), math.log(max(values))
    more = max(0.0, math.log(least) - (high - low)) / 2
    return _Scale(low - more, high + more, size)


class _Scale:
    """A logarithmic scale with a little room at its ends."""

    def __init__(self, low: float, high: float, size: float) -> None:
        room = 0.08 * (high - low) or 1.0
        self.low, self.high, self.size = low - room, high + room, size

    def __call__(self, value: float) -> float:
        return self.size * (math.log(value) - self.low) / (self.high - self.low)


def _frame(title: str) -> str:
    return (
        f'<text x="{LEFT}" y="{TOP - 10}" font-weight="bold">{escape(title)}</text>'
        f'<path d="M{LEFT} {TOP}v{PLOT[1]}h{PLOT[0]}" fill="none" stroke="{GREY}"/>'
    )


def _dot(x: float, y: float, says: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{BLUE}"><title>{escape(says)}</title></circle>'


def _below(x: float, says: str) -> str:
    return f'<text x="{x:.1f}" y="{TOP + PLOT[1] + 15}" text-anchor="middle">{says}</text>'


def _beside(y: float, says: str) -> str:
    return f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{says}</text>'
