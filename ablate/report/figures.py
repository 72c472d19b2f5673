"""Figures, drawn with plotly from `series`. Colours are Okabe and Ito's, told apart by the colour-blind too.

Backgrounds are transparent and the colours of text and grid are set by the page, which knows its theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from ablate.analysis.findings import Findings
from ablate.report.series import Bar, Curve, mean_curve

ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#e69f00", "#56b4e9", "#009e73", "#c8b400", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
GREY = "#808080"
VERDICTS = {"helps": GREEN, "hurts": RED, "equivalent": SKY, "inconclusive": ORANGE, "": BLUE}
SHAPES = {
    "helps": "triangle-up",
    "hurts": "triangle-down",
    "equivalent": "diamond",
    "inconclusive": "circle",
    "": "circle",
}
SHOWN = 6  # curves shown at first; the others wait in the legend


def forest(found: Findings, bars: Sequence[Bar]) -> go.Figure:
    """Effects with intervals, one row per arm, the margin shaded. Names stand above their row, so that
    long ones need no margin of their own and the plot stays readable on a phone."""
    figure = go.Figure()
    rows = range(len(bars), 0, -1)
    if found.outcome.margin:
        m = found.outcome.margin
        figure.add_vrect(-m, m, fillcolor=SKY, opacity=0.18, line_width=0)
    figure.add_vline(0, line_width=1.5, line_color=GREY)
    for verdict in VERDICTS:
        mine = [(row, bar) for row, bar in zip(rows, bars, strict=True) if bar.verdict == verdict]
        if mine:
            _add_bars(figure, mine, verdict)
    for row, bar in zip(rows, bars, strict=True):
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=row, yshift=17, text=_safe(bar.arm), showarrow=False
        )
    unit = f" ({found.outcome.unit})" if found.outcome.unit else ""
    better = "better →" if found.outcome.higher_is_better else "← better"
    figure.update_layout(
        xaxis={"title": f"Δ {found.outcome.label}{unit}   {better}", "zeroline": False},
        yaxis={"visible": False, "range": [0.4, len(bars) + 0.9], "fixedrange": True},
        height=110 + 52 * len(bars),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    near = _near(found, bars)
    if near:
        figure.update_layout(updatemenus=[_zoom_buttons(near)], margin={"t": 80})
    return _dressed(figure)


def _near(found: Findings, bars: Sequence[Bar]) -> float | None:
    """Half the width of a view around zero, where one large effect would squeeze the others; else None."""
    margin = found.outcome.margin
    if not margin:
        return None
    ends = [max(abs(v) for v in (b.estimate, b.low, b.high) if v is not None) for b in bars]
    near = 1.2 * max([2 * margin, *(end for end in ends if end < 6 * margin)])
    return near if max(ends) > 2 * near else None


def _zoom_buttons(near: float) -> dict[str, object]:
    return {
        "type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.12, "yanchor": "bottom",
        "buttons": [
            {"label": "all", "method": "relayout", "args": [{"xaxis.autorange": True}]},
            {"label": "near the margin", "method": "relayout", "args": [{"xaxis.range": [-near, near]}]},
        ],
    }  # fmt: skip


def _add_bars(figure: go.Figure, mine: Sequence[tuple[int, Bar]], verdict: str) -> None:
    color = VERDICTS[verdict]
    for row, bar in mine:
        figure.add_scatter(
            x=list(bar.points), y=[row - 0.16] * len(bar.points), mode="markers", hoverinfo="x",
            marker={"size": 5, "color": color, "opacity": 0.45}, showlegend=False,
        )  # fmt: skip
    figure.add_scatter(
        x=[bar.estimate for _, bar in mine],
        y=[row for row, _ in mine],
        mode="markers",
        name=verdict or "effect",
        marker={"size": 11, "color": color, "symbol": SHAPES[verdict]},
        error_x={
            "type": "data", "symmetric": False, "thickness": 2.5, "width": 6, "color": color,
            "array": [0 if b.high is None else b.high - b.estimate for _, b in mine],
            "arrayminus": [0 if b.low is None else b.estimate - b.low for _, b in mine],
        },
        text=[_safe(bar.arm) for _, bar in mine],
        hovertemplate="%{text}: %{x:+.3g}<extra></extra>",
    )  # fmt: skip


def tasks(forests: Mapping[str, Sequence[Bar]], label: Mapping[str, str]) -> go.Figure:
    """Effects per task: one row per task and arm, arms told apart by colour."""
    figure = go.Figure()
    arms = list(dict.fromkeys(bar.arm for bars in forests.values() for bar in bars))
    order = list(forests)
    for i, arm in enumerate(arms):
        mine = [(t, b) for t in order for b in forests[t] if b.arm == arm]
        offset = (i - (len(arms) - 1) / 2) * 0.7 / max(1, len(arms))
        color = _color(i)
        figure.add_scatter(
            x=[b.estimate for _, b in mine],
            y=[len(order) - order.index(t) - offset for t, _ in mine],
            mode="markers", name=_safe(arm), marker={"size": 8, "color": color, "symbol": i % 6},
            error_x={
                "type": "data", "symmetric": False, "thickness": 1.6, "width": 3, "color": color,
                "array": [0 if b.high is None else b.high - b.estimate for _, b in mine],
                "arrayminus": [0 if b.low is None else b.estimate - b.low for _, b in mine],
            },
            text=[label[t] for t, _ in mine],
            hovertemplate="%{text}: %{x:+.3g}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    figure.add_vline(0, line_width=1.5, line_color=GREY)
    figure.update_layout(
        xaxis={"title": "Δ (points)", "zeroline": False},
        yaxis={
            "tickvals": [len(order) - i for i in range(len(order))], "ticktext": [label[t] for t in order],
            "range": [0.4, len(order) + 0.6], "fixedrange": True, "automargin": True, "showgrid": False,
        },
        height=150 + max(34, 13 * len(arms)) * len(order) + 20 * len(arms),
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    )  # fmt: skip
    return _dressed(figure)


def curves(found: Sequence[Curve], order: Sequence[str]) -> go.Figure:
    """Training loss against charged time, or tokens at the press of a button; blocks as thin lines."""
    figure = go.Figure()
    present = [arm for arm in order if any(c.arm == arm for c in found)]
    seconds: list[list[float]] = []
    tokens: list[list[float]] = []
    ys: dict[str, list[list[float]]] = {"seconds": [], "tokens": []}
    for i, arm in enumerate(present):
        mine = [c for c in found if c.arm == arm]
        style = {"color": GREY if i == 0 else _color(i - 1)}
        common = {"legendgroup": arm, "visible": True if i < SHOWN else "legendonly"}
        by_time, by_tokens = mean_curve(mine, "seconds"), mean_curve(mine, "tokens")
        for curve in mine:
            _collect(seconds, tokens, ys, curve.seconds, curve.tokens, curve.loss, curve.loss)
            figure.add_scatter(
                x=curve.seconds, y=curve.loss, mode="lines", line={**style, "width": 1}, opacity=0.35,
                showlegend=False, hoverinfo="skip", **common,
            )  # fmt: skip
        _collect(seconds, tokens, ys, by_time[0], by_tokens[0], by_time[1], by_tokens[1])
        dash = "solid" if i == 0 else ("solid", "dash", "dot", "dashdot")[(i - 1) // 7 % 4]
        figure.add_scatter(
            x=by_time[0], y=by_time[1], mode="lines", name=_safe(arm),
            line={**style, "width": 2.6, "dash": dash}, **common,
        )  # fmt: skip
    figure.update_layout(
        xaxis={"title": "charged time (s)"},
        yaxis={"title": "training loss (nats)", "automargin": True},
        height=440 + 20 * len(present),
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
        updatemenus=[_axis_buttons(seconds, tokens, ys)],
    )
    return _dressed(figure)


def _collect(
    seconds: list[list[float]], tokens: list[list[float]], ys: dict[str, list[list[float]]],
    time: Sequence[float], count: Sequence[float], loss: Sequence[float], loss_by_count: Sequence[float],
) -> None:  # fmt: skip
    seconds.append(list(time))
    tokens.append(list(count))
    ys["seconds"].append(list(loss))
    ys["tokens"].append(list(loss_by_count))


def _axis_buttons(
    seconds: list[list[float]], tokens: list[list[float]], ys: dict[str, list[list[float]]]
) -> dict[str, object]:
    return {
        "type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom",
        "showactive": True, "pad": {"r": 4, "t": 0},
        "buttons": [
            {"label": "by time", "method": "update",
             "args": [{"x": seconds, "y": ys["seconds"]}, {"xaxis.title.text": "charged time (s)"}]},
            {"label": "by tokens", "method": "update",
             "args": [{"x": tokens, "y": ys["tokens"]}, {"xaxis.title.text": "tokens"}]},
        ],
    }  # fmt: skip


def _color(index: int) -> str:
    return (BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW)[index % 7]


def _safe(text: str) -> str:
    """Plotly reads some HTML in its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _dressed(figure: go.Figure) -> go.Figure:
    return figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 12, "b": 48, "t": figure.layout.margin.t or 44},
        font={"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        xaxis={"gridcolor": "rgba(128,128,128,0.25)"},
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )
