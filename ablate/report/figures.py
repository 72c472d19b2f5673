"""Interactive figures, as the plain JSON that plotly draws. Colours are Okabe and Ito's, told apart by the
colour-blind too.

Building them from plotly's own classes costs 25 s for two hundred arms (every number is validated and copied
twice); the tests hold these dictionaries against those classes instead. Backgrounds are transparent, and the
page, which knows its theme, sets the colours of text and grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate.analysis import metrics as names
from ablate.analysis.findings import Findings, Front, Mechanism, Outcome
from ablate.report.series import Bar, Curve, Heat, Pace, absent, by_size, mean_curve, point_words
from ablate.report.strips import near

Figure = dict[str, Any]

ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#e69f00", "#56b4e9", "#009e73", "#c8b400", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
GREY = "#808080"
VERDICTS = {"helps": GREEN, "hurts": RED, "equivalent": SKY, "inconclusive": ORANGE, "": BLUE}
SHAPES = {
    "helps": "triangle-up", "hurts": "triangle-down", "equivalent": "diamond", "inconclusive": "circle",
    "": "circle",
}  # fmt: skip
SHOWN = 6  # curves shown at first; the others wait in the legend


def library() -> str:
    """plotly.js, as it lies in the installed package."""
    import plotly

    return (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def forest(found: Findings, bars: Sequence[Bar]) -> Figure:
    """Effects with intervals, one row per arm, the margin shaded. Names stand above their row, so that
    long ones need no margin of their own and the plot stays readable on a phone."""
    rows = list(range(len(bars), 0, -1))
    traces: list[Figure] = []
    for verdict in VERDICTS:
        mine = [(row, bar) for row, bar in zip(rows, bars, strict=True) if bar.verdict == verdict]
        if mine:
            traces += _bars(mine, verdict)
    if any(bar.points for bar in bars):
        traces.append({
            "type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": point_words(found),
            "hoverinfo": "skip", "marker": {"size": 5, "color": GREY},
        })  # fmt: skip
    without = [f"{arm}: {why}" for arm, why in absent(found).items()]
    named = [*((row, 17, bar.arm) for row, bar in zip(rows, bars, strict=True)),
             *((-row, 0, text) for row, text in enumerate(without))]  # fmt: skip
    labels = [
        {"x": 0, "xref": "paper", "xanchor": "left", "y": row, "yshift": shift, "text": _safe(text),
         "showarrow": False}
        for row, shift, text in named
    ]  # fmt: skip
    better = "better →" if found.outcome.higher_is_better else "← better"
    layout: Figure = {
        "xaxis": {"title": {"text": f"{_delta(found)}   {better}"}, "zeroline": False},
        "yaxis": {"visible": False, "range": [0.4 - len(without), len(bars) + 0.9], "fixedrange": True},
        "height": 110 + 52 * (len(bars) + len(without)),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "shapes": _ground(found),
        "annotations": labels,
    }
    half = near(found, bars)
    if half:
        layout |= {"updatemenus": [_zoom_buttons(half)], "margin": {"t": 80}}
    return _dressed(traces, layout)


def _delta(found: Findings) -> str:
    return f"Δ {found.outcome.label}" + (f" ({found.outcome.unit})" if found.outcome.unit else "")


def _ground(found: Findings, axis: str = "x") -> list[dict[str, Any]]:
    """The margin as a band, and zero, across the axis that carries the effect."""
    other = "y" if axis == "x" else "x"

    def span(low: float, high: float) -> dict[str, Any]:
        ends = {f"{axis}0": low, f"{axis}1": high, f"{other}0": 0, f"{other}1": 1}
        return {**ends, f"{other}ref": "paper", "layer": "below"}

    m = found.outcome.margin
    band = (
        [{"type": "rect", **span(-m, m), "fillcolor": SKY, "opacity": 0.18, "line": {"width": 0}}]
        if m
        else []
    )
    return [*band, {"type": "line", **span(0, 0), "line": {"width": 1.5, "color": GREY}}]


def _zoom_buttons(half: float) -> Figure:
    return {
        "type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.12, "yanchor": "bottom",
        "buttons": [
            {"label": "all", "method": "relayout", "args": [{"xaxis.autorange": True}]},
            {"label": "near the margin", "method": "relayout", "args": [{"xaxis.range": [-half, half]}]},
        ],
    }  # fmt: skip


def _bars(mine: Sequence[tuple[int, Bar]], verdict: str) -> list[Figure]:
    color = VERDICTS[verdict]
    dots = [(point, row - 0.16) for row, bar in mine for point in bar.points]
    return [
        {
            "type": "scatter", "mode": "markers", "x": [x for x, _ in dots], "y": [y for _, y in dots],
            "hoverinfo": "x", "showlegend": False, "marker": {"size": 5, "color": color, "opacity": 0.45},
        },
        {
            "type": "scatter", "mode": "markers", "name": verdict or "effect",
            "x": [bar.estimate for _, bar in mine], "y": [row for row, _ in mine],
            "marker": {"size": 11, "color": color, "symbol": SHAPES[verdict]},
            "error_x": {**_errors([bar for _, bar in mine]), "thickness": 2.5, "width": 6, "color": color},
            "text": [_safe(bar.arm) for _, bar in mine], "hovertemplate": "%{text}: %{x:+.3g}<extra></extra>",
        },
    ]  # fmt: skip


def _errors(bars: Sequence[Bar]) -> Figure:
    return {
        "type": "data", "symmetric": False,
        "array": [0 if b.high is None else b.high - b.estimate for b in bars],
        "arrayminus": [0 if b.low is None else b.estimate - b.low for b in bars],
    }  # fmt: skip


def tasks(heat: Heat) -> Figure:
    """Effects per task as a heat map: blue is better, orange is worse."""
    z = [
        [None if t.estimate is None else (t.strength if t.good else -t.strength) for t in tiles]
        for _, tiles in heat.rows
    ]
    text = [["" if t.estimate is None else f"{t.estimate:+.2g}" for t in tiles] for _, tiles in heat.rows]
    trace = {
        "type": "heatmap", "z": z, "x": [_safe(names.label(m)) for m in heat.metrics],
        "y": [_safe(arm.name) for arm, _ in heat.rows], "zmin": -1, "zmax": 1, "showscale": False,
        "colorscale": [[0, RED], [0.5, "rgba(128,128,128,0.08)"], [1, BLUE]], "text": text,
        "texttemplate": "%{text}", "hovertemplate": "%{y}, %{x}: %{text} points<extra></extra>",
        "xgap": 2, "ygap": 2,
    }  # fmt: skip
    layout: Figure = {
        "xaxis": {"side": "top", "showgrid": False},
        "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False},
        "height": 90 + 26 * len(heat.rows),
    }
    return _dressed([trace], layout)


def curves(found: Findings, read: Sequence[Curve]) -> Figure:
    """Training loss against charged time, or tokens at the press of a button; blocks as thin lines.

    The baseline and the arms with the largest effects are shown at first.
    """
    by_arm: dict[str, list[Curve]] = {}
    for curve in read:
        by_arm.setdefault(curve.arm, []).append(curve)
    order = by_size(found, list(by_arm))
    traces: list[Figure] = []
    views: dict[str, list[list[float]]] = {"seconds": [], "tokens": [], "loss": [], "loss by tokens": []}
    for arm in order:
        i = order.index(arm)
        for_arm = {"legendgroup": arm, "visible": True if i < SHOWN else "legendonly", "meta": arm}
        color = GREY if arm == found.baseline else _color(i - (found.baseline in by_arm))
        for curve in by_arm[arm]:
            _view(views, curve.seconds, curve.loss, curve.tokens, curve.loss)
            traces.append({
                "type": "scatter", "mode": "lines", "line": {"color": color, "width": 1}, "opacity": 0.35,
                "showlegend": False, "hoverinfo": "skip", **for_arm,
            })  # fmt: skip
        _view(views, *mean_curve(by_arm[arm], "seconds"), *mean_curve(by_arm[arm], "tokens"))
        dash = "solid" if i <= 7 else ("solid", "dash", "dot", "dashdot")[(i - 1) // 7 % 4]
        traces.append({
            "type": "scatter", "mode": "lines", "name": _safe(arm), **for_arm,
            "line": {"color": color, "width": 2.6, "dash": dash},
        })  # fmt: skip
    for trace, x, y in zip(traces, views["seconds"], views["loss"], strict=True):
        trace |= {"x": x, "y": y}
    layout: Figure = {
        "xaxis": {"title": {"text": "charged time (s)"}},
        "yaxis": {"title": {"text": "training loss (nats)"}, "automargin": True},
        "height": 460,
        "updatemenus": [_axis_buttons(views)],
        "hovermode": "x unified",
        "legend": {"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
    }
    return _dressed(traces, layout)


def _view(views: dict[str, list[list[float]]], *numbers: Sequence[float]) -> None:
    for name, values in zip(("seconds", "loss", "tokens", "loss by tokens"), numbers, strict=True):
        views[name].append(list(values))


def _axis_buttons(views: dict[str, list[list[float]]]) -> Figure:
    # Blocks have the same losses on both axes: only what differs is written twice.
    return {
        "type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom",
        "showactive": True, "pad": {"r": 4, "t": 0},
        "buttons": [
            {"label": "by time", "method": "update",
             "args": [{"x": views["seconds"], "y": views["loss"]}, {"xaxis.title.text": "charged time (s)"}]},
            {"label": "by tokens", "method": "update",
             "args": [{"x": views["tokens"], "y": views["loss by tokens"]}, {"xaxis.title.text": "tokens"}]},
        ],
    }  # fmt: skip


def speed(found: Findings, points: Sequence[Pace]) -> Figure:
    """What an arm gains against what its speed costs: effect over change in tokens per second."""
    traces: list[Figure] = []
    for verdict in VERDICTS:
        mine = [pace for pace in points if pace.bar.verdict == verdict]
        if mine:
            bars, rates = [pace.bar for pace in mine], [_rate(pace) for pace in mine]
            thin = {"thickness": 1.4, "width": 0, "color": VERDICTS[verdict]}
            traces.append({
                "type": "scatter", "mode": "markers", "name": verdict or "effect",
                "x": [rate.estimate for rate in rates], "y": [bar.estimate for bar in bars],
                "text": [_safe(bar.arm) for bar in bars], "customdata": [_between(rate) for rate in rates],
                "error_x": {**_errors(rates), **thin}, "error_y": {**_errors(bars), **thin},
                "marker": {"size": 10, "color": VERDICTS[verdict], "symbol": SHAPES[verdict]},
                "hovertemplate": "%{text}<br>%{x:+.1f} %%{customdata} tokens/s, Δ %{y:+.3g}<extra></extra>",
            })  # fmt: skip
    layout: Figure = {
        "xaxis": {
            "title": {"text": "change in tokens per second (%)"},
            "zeroline": True,
            "zerolinecolor": GREY,
        },
        "yaxis": {"title": {"text": _delta(found)}, "automargin": True, "zeroline": False},
        "shapes": _ground(found, "y"),
        "height": 400,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    return _dressed(traces, layout)


def _rate(pace: Pace) -> Bar:
    """The change in tokens per second as a bar of its own, in percent."""
    low, high = (None if end is None else 100 * end for end in (pace.low, pace.high))
    return Bar(pace.bar.arm, 100 * pace.share, low, high, "", ())


def _between(rate: Bar) -> str:
    return "" if rate.low is None or rate.high is None else f" [{rate.low:+.1f}, {rate.high:+.1f}]"


def mechanism(rows: Sequence[tuple[str, Mechanism]]) -> Figure:
    """Equal time, equal tokens and speed of every arm, beside each other."""
    traces: list[Figure] = []
    parts = (("equal time", BLUE, 0.22), ("equal tokens", GREEN, 0.0), ("by speed", ORANGE, -0.22))
    for name, color, offset in parts:
        effects = [{"equal time": m.equal_time, "equal tokens": m.equal_tokens, "by speed": m.speed}[name]
                   for _, m in rows]  # fmt: skip
        bars = [
            Bar(arm, e.estimate or 0.0, e.low, e.high, "", ())
            for (arm, _), e in zip(rows, effects, strict=True)
        ]
        traces.append({
            "type": "scatter", "mode": "markers", "name": name, "x": [bar.estimate for bar in bars],
            "y": [len(rows) - i + offset for i in range(len(rows))], "text": [_safe(bar.arm) for bar in bars],
            "marker": {"color": color, "size": 8}, "hovertemplate": "%{text}: %{x:+.3g}<extra></extra>",
            "error_x": {**_errors(bars), "thickness": 2, "width": 3, "color": color},
        })  # fmt: skip
    layout: Figure = {
        "xaxis": {"title": {"text": "Δ training loss (nats)   ← better"}, "zerolinecolor": GREY},
        "yaxis": {
            "tickvals": [len(rows) - i for i in range(len(rows))],
            "ticktext": [_safe(arm) for arm, _ in rows], "automargin": True, "showgrid": False,
        },
        "height": 130 + 46 * len(rows),
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }  # fmt: skip
    return _dressed(traces, layout)


def best_of_k(found: Findings) -> Figure:
    """Expected best score of k trials, with its standard deviation as a band."""
    traces: list[Figure] = []
    for i, best in enumerate(found.best_of_k):
        color, k = _color(i), list(best.k)
        bounds = [[e + sign * sd for e, sd in zip(best.expected, best.sd, strict=True)] for sign in (1, -1)]
        band = {"type": "scatter", "x": k, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip",
                "showlegend": False, "legendgroup": best.name}  # fmt: skip
        traces.append({**band, "y": bounds[0]})
        traces.append({**band, "y": bounds[1], "fill": "tonexty", "fillcolor": _faint(color)})
        traces.append({
            "type": "scatter", "x": k, "y": list(best.expected), "mode": "lines+markers",
            "name": _safe(best.name), "legendgroup": best.name,
            "line": {"color": color, "width": 2.4}, "marker": {"size": 4},
        })  # fmt: skip
    unit = f" ({found.outcome.unit})" if found.outcome.unit else ""
    layout: Figure = {
        "xaxis": {"title": {"text": "trials k"}},
        "yaxis": {"title": {"text": f"expected best {found.outcome.label}{unit}"}, "automargin": True},
        "height": 400,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    return _dressed(traces, layout)


def pareto(found: Findings, front: Front) -> Figure:
    """Every arm between the two outcomes of a search, the front as stairs: what lies below them is beaten."""
    steps = sorted(front.front, key=lambda p: p.tradeoff)
    traces: list[Figure] = [{
        "type": "scatter", "mode": "lines", "x": [p.tradeoff for p in steps], "y": [p.outcome for p in steps],
        "line": {"color": BLUE, "width": 1.6, "shape": "vh" if front.tradeoff.higher_is_better else "hv"},
        "hoverinfo": "skip", "showlegend": False,
    }]  # fmt: skip
    for name, color, mine in (
        ("on the front", BLUE, front.front),
        ("beaten", GREY, [p for p in front.points if not p.on_front]),
    ):
        if mine:
            traces.append({
                "type": "scatter", "mode": "markers", "name": name, "x": [p.tradeoff for p in mine],
                "y": [p.outcome for p in mine], "text": [_safe(p.arm) for p in mine],
                "customdata": [p.blocks for p in mine],
                "marker": {
                    "color": color, "size": 10,
                    "symbol": ["diamond" if p.phase == "confirm" else "circle-open" for p in mine],
                },
                "hovertemplate": "%{text}<br>%{x:.4g}, %{y:.4g}; blocks: %{customdata}<extra></extra>",
            })  # fmt: skip
    layout: Figure = {
        "xaxis": {"title": {"text": _axis(front.tradeoff)}},
        "yaxis": {"title": {"text": _axis(found.outcome)}, "automargin": True, "zeroline": False},
        "height": 420,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    return _dressed(traces, layout)


def _axis(outcome: Outcome) -> str:
    """`MLM loss (nats), lower is better`."""
    unit = f" ({outcome.unit})" if outcome.unit and outcome.unit.lower() != outcome.label.lower() else ""
    return f"{outcome.label}{unit}, {'higher' if outcome.higher_is_better else 'lower'} is better"


def _faint(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _color(index: int) -> str:
    return (BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW)[index % 7]


def _safe(text: str) -> str:
    """Plotly reads some HTML in its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _dressed(traces: list[Figure], layout: Figure) -> Figure:
    common = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 12, "b": 48, "t": layout.get("margin", {}).get("t", 44)},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        "hoverlabel": {"font": {"family": "system-ui, sans-serif"}},
    }
    axis = {"gridcolor": "rgba(128,128,128,0.25)", **layout["xaxis"]}
    return {"data": traces, "layout": {**layout, **common, "xaxis": axis}}
