"""Figures for papers: PDF, SVG and PNG of a page's width, drawn with matplotlib; the only door to it.

6.75 in is the text width of the usual two-column templates, half of it a column's; text is 8 pt at that size.
Colours are Okabe and Ito's, marks differ in shape too, so the figures survive grey print.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.figure import Figure

from ablate.analysis import metrics as names
from ablate.analysis.findings import Findings, Front
from ablate.report import numbers
from ablate.report.figures import BLUE, GREEN, GREY, ORANGE, RED, SHOWN, SKY, VERDICTS, _axis, _color
from ablate.report.series import Bar, Curve, Heat, by_size, mean_curve
from ablate.report.strips import near, ticks

WIDTH = 6.75
ROWS = 32  # of a figure on one page; the largest effects of more
FORMATS = ("pdf", "svg", "png")
MARKERS = {"helps": "^", "hurts": "v", "equivalent": "D", "inconclusive": "o", "": "o"}
STYLE: Any = {
    "font.size": 8, "axes.labelsize": 8, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "ablate", "figure.dpi": 100,
    "axes.unicode_minus": True, "legend.frameon": False,
}  # fmt: skip


def drawings(
    found: Findings, bars: Sequence[Bar], heat: Heat | None, read: Sequence[Curve],
    speeds: Sequence[tuple[Bar, float]],
) -> dict[str, Callable[[], Figure]]:  # fmt: skip
    """name → what draws it, those without data left out."""
    made: dict[str, Callable[[], Figure]] = {}
    if bars:
        made["forest"] = lambda: forest(found, bars)
    if heat:
        made["tasks"] = lambda: tasks(found, heat)
    if read:
        made["curves"] = lambda: curves(found, read)
    if speeds:
        made["speed"] = lambda: speed(found, speeds)
    if any(c.mechanism for c in found.contrasts.values()):
        made["mechanism"] = lambda: mechanism(found)
    if found.best_of_k:
        made["best-of-k"] = lambda: best_of_k(found)
    front = found.front
    if front:
        made["pareto"] = lambda: pareto(found, front)
    return made


def render(drawn: Mapping[str, Callable[[], Figure]]) -> Iterator[tuple[str, bytes]]:
    """File name and content of every figure in every format; the same bytes for the same findings."""
    with matplotlib.rc_context(STYLE):
        for name, draw in drawn.items():
            figure = draw()
            # Once for all formats: `tight` would draw the figure once more for each.
            around = figure.get_tightbbox().padded(0.03)
            for format in FORMATS:
                out = io.BytesIO()
                stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(format)
                figure.savefig(out, format=format, dpi=200, bbox_inches=around, metadata=stamp)
                yield f"{name}.{format}", out.getvalue()


def forest(found: Findings, bars: Sequence[Bar]) -> Figure:
    """Effects with intervals and a dot per block, numbers at the right, the margin shaded."""
    shown, note = _largest(bars)
    places = _places(found)
    figure = Figure(figsize=(WIDTH, 0.75 + 0.24 * len(shown)))
    axes = figure.add_axes((0.3, 0, 0.42, 1))
    _margin(axes.axvspan, axes.axvline, found)
    for row, bar in enumerate(shown):
        color = VERDICTS[bar.verdict]
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [row, row], color=color, lw=1.6, solid_capstyle="butt")
        axes.plot(bar.points, [row + 0.3] * len(bar.points), ".", color=color, ms=2.4, alpha=0.7)
        axes.plot([bar.estimate], [row], MARKERS[bar.verdict], color=color, ms=4.6)
        text = f"{numbers.estimate(bar.estimate, bar.low, bar.high, places)}  {bar.verdict}"
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    axes.set_yticks(range(len(shown)), [bar.arm for bar in shown])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    beyond = _far(axes, near(found, shown), shown)
    better = "higher" if found.outcome.higher_is_better else "lower"
    axes.set_xlabel(f"{_delta(found)}, {better} is better{note}{beyond}")
    return figure


def _far(axes: Any, half: float | None, bars: Sequence[Bar]) -> str:
    """Where one effect would squeeze all others: linear around the margin, logarithmic beyond; says so."""
    farthest = max(abs(v) for b in bars for v in (b.estimate, b.low, b.high) if v is not None)
    if not half or farthest < 6 * half:
        return ""
    axes.set_xscale("symlog", linthresh=half, linscale=2)
    whole = [k * 10.0**e for e in range(-6, 7) for k in (1, 3) if half < k * 10.0**e <= 2 * farthest]
    inner = [v for v in ticks(-half, half) if abs(v) < 0.75 * half]  # labels nearer the bend would touch
    at = sorted({0.0, *inner, *whole, *(-v for v in whole)})
    low, high = axes.get_xlim()
    axes.set_xticks([v for v in at if low <= v <= high], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}".replace("-", numbers.MINUS))
    return f"; logarithmic beyond ±{half:.2g}"


def tasks(found: Findings, heat: Heat) -> Figure:
    """Effects per task as a heat map with its numbers."""
    rows = heat.rows
    if len(rows) > ROWS:
        kept = {bar.arm for bar in _largest([_bar(found, arm.name) for arm, _ in rows])[0]}
        rows = tuple(row for row in rows if row[0].name in kept)
    figure = Figure(figsize=(WIDTH, 0.5 + 0.22 * len(rows)))
    axes = figure.add_axes((0.3, 0, 0.7, 1))
    colors = matplotlib.colors.LinearSegmentedColormap.from_list("effects", [RED, "#ffffff", BLUE])
    z = [[_signed(tile.strength, tile.good) * 0.7 for tile in tiles] for _, tiles in rows]
    axes.pcolormesh(z, cmap=colors, vmin=-1, vmax=1, edgecolors="white", linewidth=1)
    for y, (_, tiles) in enumerate(rows):
        for x, tile in enumerate(tiles):
            weight = "bold" if tile.clear else "normal"
            text = numbers.number(tile.estimate, 1, sign=True)
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=6.5, weight=weight)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [arm.name for arm, _ in rows])
    axes.set_xticks([x + 0.5 for x in range(len(heat.metrics))], [names.label(m) for m in heat.metrics])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.invert_yaxis()
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def curves(found: Findings, read: Sequence[Curve]) -> Figure:
    """Training loss against time and against tokens: mean over blocks, blocks as thin lines."""
    by_arm: dict[str, list[Curve]] = {}
    for curve in read:
        by_arm.setdefault(curve.arm, []).append(curve)
    order = by_size(found, list(by_arm))[:SHOWN]
    figure = Figure(figsize=(WIDTH, 2.6))
    left, right = figure.subplots(1, 2, sharey=True)
    styles = ("-", "--", "-.", ":")
    for i, arm in enumerate(order):
        color = GREY if arm == found.baseline else _color(i - (found.baseline in by_arm))
        for axes, axis in ((left, "seconds"), (right, "tokens")):
            for curve in by_arm[arm]:
                axes.plot(getattr(curve, axis), curve.loss, color=color, lw=0.5, alpha=0.3)
            style = styles[i % 4] if arm != found.baseline else "-"
            axes.plot(*mean_curve(by_arm[arm], axis), color=color, lw=1.4, ls=style, label=arm)
    left.set_xlabel("charged time (s)")
    left.set_ylabel("training loss (nats)")
    right.set_xlabel("tokens")
    _counts(right.xaxis)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=min(3, len(order)))
    figure.tight_layout()
    return figure


def speed(found: Findings, points: Sequence[tuple[Bar, float]]) -> Figure:
    """Effect over change in tokens per second."""
    figure = Figure(figsize=(WIDTH / 2, 2.4))
    axes = figure.subplots()
    _margin(axes.axhspan, axes.axhline, found)
    axes.axvline(0, color=GREY, lw=0.6)
    for bar, share in points:
        color = VERDICTS[bar.verdict]
        if bar.low is not None and bar.high is not None:
            axes.plot([100 * share] * 2, [bar.low, bar.high], color=color, lw=0.9)
        axes.plot([100 * share], [bar.estimate], MARKERS[bar.verdict], color=color, ms=4)
        if len(points) <= 8 and bar.verdict in ("helps", "hurts"):
            axes.annotate(
                bar.arm, (100 * share, bar.estimate), (4, 3), textcoords="offset points", fontsize=5.5
            )
    axes.set_xlabel("change in tokens per second (%)")
    axes.set_ylabel(_delta(found))
    figure.tight_layout()
    return figure


def mechanism(found: Findings) -> Figure:
    """Effect on the training loss at equal time, at equal tokens, and what speed bought."""
    rows = [(name, c.mechanism) for name, c in found.contrasts.items() if c.mechanism]
    sizes = sorted(rows, key=lambda row: -abs(row[1].equal_time.estimate or 0.0))[:ROWS]
    rows = [row for row in rows if row in sizes]
    figure = Figure(figsize=(WIDTH, 0.7 + 0.36 * len(rows)))
    axes = figure.add_axes((0.3, 0, 0.68, 1))
    axes.axvline(0, color=GREY, lw=0.8)
    parts = (
        ("equal time", BLUE, "o", -0.25),
        ("equal tokens", GREEN, "s", 0.0),
        ("by speed", ORANGE, "D", 0.25),
    )
    for label, color, marker, offset in parts:
        for y, (_, m) in enumerate(rows):
            e = {"equal time": m.equal_time, "equal tokens": m.equal_tokens, "by speed": m.speed}[label]
            if e.low is not None and e.high is not None:
                axes.plot([e.low, e.high], [y + offset] * 2, color=color, lw=1.3)
            if e.estimate is not None:
                name = label if y == 0 else "_nolegend_"
                axes.plot([e.estimate], [y + offset], marker, color=color, ms=3.6, label=name)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("Δ training loss (nats), lower is better")
    figure.legend(loc="lower center", bbox_to_anchor=(0.64, 1.0), ncols=3)
    return figure


def best_of_k(found: Findings) -> Figure:
    """Expected best score of k trials, with its standard deviation as a band."""
    figure = Figure(figsize=(WIDTH / 2, 2.4))
    axes = figure.subplots()
    for i, best in enumerate(found.best_of_k):
        low, high = (
            [e + sign * sd for e, sd in zip(best.expected, best.sd, strict=True)] for sign in (-1, 1)
        )
        axes.fill_between(best.k, low, high, color=_color(i), alpha=0.18, lw=0)
        axes.plot(best.k, best.expected, color=_color(i), lw=1.4, label=best.name)
    axes.set_xlabel("trials k")
    axes.set_ylabel(f"expected best {found.outcome.label}")
    axes.legend()
    figure.tight_layout()
    return figure


def pareto(found: Findings, front: Front) -> Figure:
    """Every arm between the two outcomes of a search, the front as stairs."""
    figure = Figure(figsize=(WIDTH / 2, 2.6))
    axes = figure.subplots()
    steps = sorted(front.front, key=lambda p: p.tradeoff)
    stairs = "steps-pre" if front.tradeoff.higher_is_better else "steps-post"
    axes.plot([p.tradeoff for p in steps], [p.outcome for p in steps], color=BLUE, lw=1, drawstyle=stairs)
    for point in front.points:
        color = BLUE if point.on_front else GREY
        marker, face = ("D", color) if point.phase == "confirm" else ("o", "none")
        axes.plot([point.tradeoff], [point.outcome], marker, color=color, mfc=face, ms=4)
    if numbers.prefixed(front.tradeoff.metric):
        _counts(axes.xaxis)
    axes.set_xlabel(_axis(front.tradeoff))
    axes.set_ylabel(_axis(found.outcome))
    figure.tight_layout()
    return figure


def _counts(axis: Any) -> None:
    """Few ticks with prefixes: seven of `12500` touch one another at half a page's width."""
    axis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    axis.set_major_formatter(lambda value, _: numbers.quantity(value))


def _largest(bars: Sequence[Bar]) -> tuple[list[Bar], str]:
    """What fits on a page, in the table's order, and what to say of the rest."""
    if len(bars) <= ROWS:
        return list(bars), ""
    kept = sorted(bars, key=lambda bar: -abs(bar.estimate))[:ROWS]
    return [bar for bar in bars if bar in kept], f"; the {ROWS} largest of {len(bars)} effects"


def _bar(found: Findings, arm: str) -> Bar:
    contrast = found.contrasts[arm]
    return Bar(arm, contrast.effect.estimate or 0.0, None, None, contrast.verdict, ())


def _margin(span: Callable[..., Any], line: Callable[..., Any], found: Findings) -> None:
    m = found.outcome.margin
    if m:
        span(-m, m, color=SKY, alpha=0.25, lw=0)
    line(0, color=GREY, lw=0.8)


def _delta(found: Findings) -> str:
    return f"Δ {found.outcome.label}" + (f" ({found.outcome.unit})" if found.outcome.unit else "")


def _places(found: Findings) -> int:
    from ablate.report.tables import effect_places

    return effect_places(found)


def _signed(strength: float, good: bool) -> float:
    return strength if good else -strength
