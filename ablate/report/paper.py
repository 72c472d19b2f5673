"""Figures for papers: PDF, SVG and PNG of a page's width, drawn with matplotlib; the only door to it.

6.75 in is the text width of the usual two-column templates, half of it a column's; text is 8 pt at that size.
Colours are Okabe and Ito's, marks differ in shape too, so the figures survive grey print.

A figure is laid out once, inside its size, and saved at that size. Cutting the paper to what is drawn made it
457 to 472 pt wide, and cut the longest label: hinted text is 6 % narrower at one resolution than at another.
So hinting is off: PDF, SVG and PNG measure the same text.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib
import matplotlib.ticker
from fontTools.subset import Options
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from ablate.analysis import metrics as names
from ablate.analysis.findings import Findings, Front, Mechanism
from ablate.analysis.paired import Effect
from ablate.report import numbers
from ablate.report.figures import BLUE, GREEN, GREY, ORANGE, RED, SHOWN, SKY, VERDICTS, _axis, _color
from ablate.report.series import Bar, Curve, Heat, Pace, absent, by_size, mean_curve, point_words
from ablate.report.strips import near, ticks

T = TypeVar("T")

WIDTH = 6.75  # in
ROWS = 32  # of a figure on one page; the largest effects of more
PAD = 0.04  # in, between what is drawn and the edge
TICKS, NUMBERS, NAMES = 7.5, 7.0, 5.5  # pt
FORMATS = ("pdf", "svg", "png")
DPI = 200  # of PNG, and what figures are laid out at
MARKERS = {"helps": "^", "hurts": "v", "equivalent": "D", "inconclusive": "o", "": "o"}
FONT = "DejaVu Sans"  # comes with matplotlib
OTHER_SCRIPTS = (  # the usual fonts of what it has no letters for, the first of them that is installed
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "Source Han Sans", "WenQuanYi Zen Hei",
    "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Arial Unicode MS", "Droid Sans Fallback",
)  # fmt: skip
LAYOUT_TABLES = ("GDEF", "GPOS", "GSUB", "MATH", "kern")
STYLE: Any = {
    "font.size": 8, "axes.labelsize": 8, "xtick.labelsize": TICKS, "ytick.labelsize": TICKS,
    "legend.fontsize": TICKS, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "ablate", "figure.dpi": DPI,
    "axes.unicode_minus": True, "legend.frameon": False, "text.hinting": "no_hinting",
    "text.parse_math": False,  # an arm may be called `$a_1$`
}  # fmt: skip


def style() -> Any:
    """matplotlib's own settings with ours: what a user has set for other figures changes none of these."""
    return {
        **{k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(("backend", "webagg"))},
        **STYLE,
        "font.family": [FONT, *other_scripts()],
    }


def other_scripts(installed: Collection[str] | None = None) -> list[str]:
    """The font for letters that `FONT` lacks, where one is installed."""
    there = set(font_manager.get_font_names() if installed is None else installed)
    return [name for name in OTHER_SCRIPTS if name in there][:1]


def drawings(
    found: Findings, bars: Sequence[Bar], heat: Heat | None, read: Sequence[Curve],
    speeds: Sequence[Pace],
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


def render(
    drawn: Mapping[str, Callable[[], Figure]], lost: set[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """File name and content of every figure in every format; the same bytes for the same findings.

    Letters that no installed font has are added to `lost`; PDF and PNG show a box for each.
    """
    for name, draw in drawn.items():
        with matplotlib.rc_context(style()), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            figure = laid_out(draw)
            files = [(f"{name}.{format}", _saved(figure, format)) for format in FORMATS]
        for warning in told:
            letter = re.match(r"Glyph (\d+) ", str(warning.message))
            if letter is None:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            elif lost is not None:
                lost.add(chr(int(letter[1])))
        yield from files


def laid_out(draw: Callable[[], Figure]) -> Figure:
    """The figure with its axes placed so that all labels are inside; its size stays."""
    figure = draw()
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    # Once for all formats: as the figure's engine it would work it out again for each of them.
    figure.set_layout_engine(None)
    _keep_inside(figure)
    return figure


def _saved(figure: Figure, format: str) -> bytes:
    out = io.BytesIO()
    stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(format)
    # Of level 3 and not 6 a PNG is no larger and takes a third less time.
    packed: Any = {"pil_kwargs": {"compress_level": 3}} if format == "png" else {}
    with _without_layout_tables():
        figure.savefig(out, format=format, dpi=DPI, metadata=stamp, **packed)
    return out.getvalue()


@contextlib.contextmanager
def _without_layout_tables() -> Iterator[None]:
    """A PDF's text is laid out already. Fonts that still hold their tables for that take four times as
    long to cut to the letters used: 1.6 of the 6 s of all figures. matplotlib has no setting for it.
    """
    kept = Options._drop_tables_default
    Options._drop_tables_default = [*kept, *LAYOUT_TABLES]
    try:
        yield
    finally:
        Options._drop_tables_default = kept


def _keep_inside(figure: Figure) -> None:
    """Axis labels stand in the middle of their axis; a long one moves as far as it must.

    The layout does not see how long they are, only how high.
    """
    width, height = figure.get_size_inches()
    for axes in figure.axes:
        box = axes.get_position()
        for label, start, length, whole in (
            (axes.xaxis.label, box.x0 * width, box.width * width, width),
            (axes.yaxis.label, box.y0 * height, box.height * height, height),
        ):
            half = max(breadth(line, label.get_fontsize()) for line in label.get_text().split("\n")) / 2 + PAD
            at = (min(max(start + length / 2, half), whole - half) - start) / length
            label.set(x=at) if label is axes.xaxis.label else label.set(y=at)


def _page(width: float, height: float) -> Figure:
    """An empty figure of that size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=PAD, h_pad=PAD, wspace=0.02)
    return figure


@functools.lru_cache(maxsize=4096)
def breadth(text: str, size: float) -> float:
    """How wide a line of text is, in inches, at a size in points."""
    font = font_manager.FontProperties(size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def shortened(texts: Sequence[str], inches: float, size: float) -> list[str]:
    """The texts, none wider than that: what is too long loses its middle, and no two become one.

    The whole names are in the CSV beside the figure.
    """
    whole = [" ".join(text.split()) for text in texts]
    short = whole
    for share in (0.5, 0.25, 0.75, 0.0, 1.0):  # of what is left, before the gap
        short = [_cut(text, inches, size, share) for text in whole]
        if len(set(short)) == len(set(texts)):
            break
    return short


def _cut(text: str, inches: float, size: float, share: float) -> str:
    if len(text) * size / 72 <= inches or breadth(text, size) <= inches:
        return text

    def kept(n: int) -> str:
        head = round(share * n)
        return text[:head].rstrip() + "…" + text[len(text) - (n - head) :].lstrip()

    fits, over = 0, len(text)
    while over - fits > 1:
        middle = (fits + over) // 2
        fits, over = (middle, over) if breadth(kept(middle), size) <= inches else (fits, middle)
    return kept(fits)


def _lines(text: str, inches: float, size: float = 8) -> str:
    """The text on as many lines as it needs, each no wider than that where its words allow."""
    lines: list[str] = []
    for word in shortened(text.split(), inches, size):
        if lines and breadth(f"{lines[-1]} {word}", size) <= inches:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Above the axes, in as many columns as fit; the figure grows by its rows."""
    width, height = figure.get_size_inches()
    handle = 0.5  # in, with the gaps before and behind it
    short = shortened(names, width / 2 - handle - PAD, TICKS)
    columns = max(1, min(3, len(names), int(width / (max(breadth(n, TICKS) for n in short) + handle))))
    figure.set_size_inches(width, height + 0.16 * -(-len(names) // columns))
    figure.legend(handles, short, loc="outside upper center", ncols=columns)


def forest(found: Findings, bars: Sequence[Bar]) -> Figure:
    """Effects with intervals and a dot per block or trial, numbers at the right, the margin shaded."""
    shown, note = _largest(bars)
    places = _places(found)
    without = list(absent(found).items())[: ROWS - len(shown)]
    rows = len(shown) + len(without)
    figure = _page(WIDTH, 1.15 + 0.24 * rows)
    axes = figure.subplots()
    _margin(axes.axvspan, axes.axvline, found)
    told = [
        f"{numbers.estimate(bar.estimate, bar.low, bar.high, places)}  {bar.verdict}".rstrip()
        for bar in shown
    ] + [f"{why}  inconclusive" for _, why in without]
    for row, text in enumerate(told):
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=NUMBERS)
    for verdict, bars_of in _by_verdict(list(enumerate(shown)), lambda of: of[1].verdict):
        color = VERDICTS[verdict]
        _spans(axes.hlines, [(row, bar.low, bar.high) for row, bar in bars_of], color=color, lw=1.6)
        below = [(point, row + 0.3) for row, bar in bars_of for point in bar.points]
        axes.plot(*_pairs(below), ".", color=color, ms=2.4, alpha=0.7)
        marks = [(bar.estimate, row) for row, bar in bars_of]
        axes.plot(*_pairs(marks), MARKERS[verdict], color=color, ms=4.6)
    right = max(breadth(text, NUMBERS) for text in told)
    room = min(WIDTH / 2, WIDTH - right - 1.6)  # the intervals keep an inch and a half
    arms = shortened([*(bar.arm for bar in shown), *(arm for arm, _ in without)], room, TICKS)
    axes.set_yticks(range(rows), arms)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    left = max(breadth(arm, TICKS) for arm in arms)
    beyond = _far(axes, near(found, shown), shown, WIDTH - left - right - 0.3)
    better = "higher" if found.outcome.higher_is_better else "lower"
    dots = f"; small dots: {point_words(found)}" if any(bar.points for bar in shown) else ""
    axes.set_xlabel(_lines(f"{_delta(found)}, {better} is better{note}{beyond}{dots}", WIDTH - 2 * PAD))
    return figure


def _far(axes: Any, half: float | None, bars: Sequence[Bar], width: float) -> str:
    """Where one effect would squeeze all others: linear around the margin, logarithmic beyond; says so.

    `width`: of the axis, in inches; its labels must not touch.
    """
    farthest = max(abs(v) for b in bars for v in (b.estimate, b.low, b.high) if v is not None)
    if not half or farthest < 6 * half:
        return ""
    axes.set_xscale("symlog", linthresh=half, linscale=2)
    axes.autoscale_view(scaley=False)  # a margin on the new scale: the farthest mark stood half outside
    whole = [k * 10.0**e for e in range(-6, 7) for k in (1, 3) if half < k * 10.0**e <= 2 * farthest]
    inner = [v for v in ticks(-half, half) if abs(v) < 0.75 * half]  # labels nearer the bend would touch
    at = sorted({0.0, *inner, *whole, *(-v for v in whole)}, key=lambda v: (abs(v), v))
    low, high = axes.get_xlim()
    start, end = axes.xaxis.get_transform().transform((low, high))
    kept: list[tuple[float, float, float]] = []  # value, left and right end of its label in inches
    for value in (v for v in at if low <= v <= high):  # from the middle outwards
        place = (axes.xaxis.get_transform().transform(value) - start) / (end - start) * width
        reach = breadth(_plain(value), TICKS) / 2 + 0.03
        if all(place - reach >= right or place + reach <= left for _, left, right in kept):
            kept.append((value, place - reach, place + reach))
    axes.set_xticks(sorted(value for value, _, _ in kept), minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda v, _: _plain(v))
    return f"; logarithmic beyond ±{half:.2g}"


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", numbers.MINUS)


def tasks(found: Findings, heat: Heat) -> Figure:
    """Effects per task as a heat map with its numbers."""
    kept, note = _largest([_bar(found, arm.name) for arm, _ in heat.rows])
    rows = [row for row in heat.rows if row[0].name in {bar.arm for bar in kept}]
    arms = shortened([arm.name for arm, _ in rows], WIDTH / 2, TICKS)
    heads = shortened([names.label(m) for m in heat.metrics], 1.5, TICKS)
    cell = (WIDTH - max(breadth(arm, TICKS) for arm in arms) - 0.2) / len(heads)
    widest = max(breadth(head, TICKS) for head in heads)
    leaning = widest > cell - 0.04
    figure = _page(WIDTH, 1.0 + 0.22 * len(rows) + (0.7 * widest if leaning else 0))
    axes = figure.subplots()
    colors = matplotlib.colors.LinearSegmentedColormap.from_list("effects", [RED, "#ffffff", BLUE])
    z = [[_signed(tile.strength, tile.good) * 0.7 for tile in tiles] for _, tiles in rows]
    axes.pcolormesh(z, cmap=colors, vmin=-1, vmax=1, edgecolors="white", linewidth=1)
    for y, (_, tiles) in enumerate(rows):
        for x, tile in enumerate(tiles):
            weight = "bold" if tile.clear else "normal"
            text = numbers.number(tile.estimate, 1, sign=True)
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=6.5, weight=weight)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], arms)
    lean: Any = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if leaning else {}
    axes.set_xticks([x + 0.5 for x in range(len(heads))], heads, **lean)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.invert_yaxis()
    level = f"{100 * (1 - found.alpha):g} %"
    axes.set_xlabel(f"\u0394 per task; bold: its {level} interval, not corrected, excludes 0{note}")
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def curves(found: Findings, read: Sequence[Curve]) -> Figure:
    """Training loss against time and against tokens: mean over blocks, blocks as thin lines."""
    by_arm: dict[str, list[Curve]] = {}
    for curve in read:
        by_arm.setdefault(curve.arm, []).append(curve)
    order = by_size(found, list(by_arm))[:SHOWN]
    figure = _page(WIDTH, 2.5)
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
    _legend(figure, handles, labels)
    return figure


def speed(found: Findings, points: Sequence[Pace]) -> Figure:
    """Effect over change in tokens per second, each with its interval."""
    figure = _page(WIDTH / 2, 2.4)
    axes = figure.subplots()
    _margin(axes.axhspan, axes.axhline, found)
    axes.axvline(0, color=GREY, lw=0.6)
    alpha = 1.0 if len(points) <= 12 else 0.3  # two lines of each arm: sixty hide the marks
    for verdict, paces in _by_verdict(points, lambda pace: pace.bar.verdict):
        color = VERDICTS[verdict]
        thin: Any = {"color": color, "lw": 0.9, "alpha": alpha}
        _spans(axes.vlines, [(100 * p.share, p.bar.low, p.bar.high) for p in paces], **thin)
        _spans(axes.hlines, [(p.bar.estimate, _percent(p.low), _percent(p.high)) for p in paces], **thin)
        marks = [(100 * p.share, p.bar.estimate) for p in paces]
        axes.plot(*_pairs(marks), MARKERS[verdict], color=color, ms=4, zorder=3)
    if len(points) <= 8:
        _name(axes, [pace for pace in points if pace.bar.verdict in ("helps", "hurts")])
    axes.set_xlabel("change in tokens per second (%)")
    axes.set_ylabel(_lines(_delta(found), 2.2))
    return figure


def _by_verdict(items: Sequence[T], verdict: Callable[[T], str]) -> list[tuple[str, list[T]]]:
    """One drawing for all of a colour: one for each interval of 200 arms took a second."""
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(verdict(item), []).append(item)
    return list(found.items())


def _spans(
    lines: Callable[..., Any], spans: Iterable[tuple[float, float | None, float | None]], **look: Any
) -> None:
    """Lines at places, each from one value to another; those without an interval left out."""
    whole = [(at, low, high) for at, low, high in spans if low is not None and high is not None]
    if whole:
        lines(*zip(*whole, strict=True), **look)


def _pairs(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Abscissas and ordinates."""
    return [x for x, _ in points], [y for _, y in points]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _name(axes: Any, points: Sequence[Pace]) -> None:
    """Arms beside their points, on the side that has more room."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    axes.set(xlim=(left, right), ylim=(low, high))
    for pace, arm in zip(points, shortened([p.bar.arm for p in points], 1.1, NAMES), strict=True):
        at, height = 100 * pace.share, pace.bar.estimate
        side = ("left", 4) if at < (left + right) / 2 else ("right", -4)
        above = ("bottom", 2) if height < (low + high) / 2 else ("top", -2)
        label: Text = axes.annotate(
            arm, (at, height), (side[1], above[1]), textcoords="offset points", fontsize=NAMES, ha=side[0],
            va=above[0],
        )  # fmt: skip
        label.set_in_layout(False)  # inside the axes


def mechanism(found: Findings) -> Figure:
    """Effect on the training loss at equal time, at equal tokens, and what speed bought."""
    rows = [(name, c.mechanism) for name, c in found.contrasts.items() if c.mechanism]
    sizes = sorted(rows, key=lambda row: -abs(row[1].equal_time.estimate or 0.0))[:ROWS]
    rows = [row for row in rows if row in sizes]
    figure = _page(WIDTH, 1.1 + 0.36 * len(rows))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, lw=0.8)
    parts: tuple[tuple[str, Callable[[Mechanism], Effect], str, str, float], ...] = (
        ("equal time", lambda m: m.equal_time, BLUE, "o", -0.25),
        ("equal tokens", lambda m: m.equal_tokens, GREEN, "s", 0.0),
        ("by speed", lambda m: m.speed, ORANGE, "D", 0.25),
    )
    for label, part, color, marker, offset in parts:
        effects = [(y + offset, part(m)) for y, (_, m) in enumerate(rows)]
        _spans(axes.hlines, [(y, e.low, e.high) for y, e in effects], color=color, lw=1.3)
        marks = [(e.estimate, y) for y, e in effects if e.estimate is not None]
        axes.plot(*_pairs(marks), marker, color=color, ms=3.6, label=label)
    axes.set_yticks(range(len(rows)), shortened([name for name, _ in rows], WIDTH / 2, TICKS))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("Δ training loss (nats), lower is better")
    _legend(figure, *axes.get_legend_handles_labels())
    return figure


def best_of_k(found: Findings) -> Figure:
    """Expected best score of k trials, with its standard deviation as a band."""
    figure = _page(WIDTH / 2, 2.4)
    axes = figure.subplots()
    labels = shortened([best.name for best in found.best_of_k], 1.5, TICKS)
    for i, best in enumerate(found.best_of_k):
        low, high = (
            [e + sign * sd for e, sd in zip(best.expected, best.sd, strict=True)] for sign in (-1, 1)
        )
        axes.fill_between(best.k, low, high, color=_color(i), alpha=0.18, lw=0)
        axes.plot(best.k, best.expected, color=_color(i), lw=1.4, label=labels[i])
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
    axes.set_xlabel("trials k")
    axes.set_ylabel(_lines(f"expected best {found.outcome.label}", 2.2))
    axes.legend()
    return figure


def pareto(found: Findings, front: Front) -> Figure:
    """Every arm between the two outcomes of a search, the front as stairs."""
    figure = _page(WIDTH / 2, 2.6)
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
    axes.set_xlabel(_lines(_axis(front.tradeoff), WIDTH / 2 - 2 * PAD))
    axes.set_ylabel(_lines(_axis(found.outcome), 2.4))
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
