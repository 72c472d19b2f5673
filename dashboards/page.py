"""A dashboard as one static page from the records alone: no network, no account."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from ablate.records import FrozenStudy, Record, StudyPaths, load_records, read_study
from ablate.records.store import write_bytes
from ablate.tracking.names import CURVE

from .definition import Dashboard, Panel, default

# Okabe & Ito 2008: eight colours that colour-blind readers can tell apart; the baseline is the first.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666", "#B8A800")
_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem }
figure { margin: 1rem 0; overflow-x: auto; background: #fff; border-radius: 6px }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
"""


def write_page(root: Path, dashboard: Dashboard | None = None) -> Path:
    """Write `report/dashboard.html` of a study folder and return its path. Raises RecordError."""
    study = read_study(root)
    records, damage = load_records(root)
    board = dashboard or default_for(study, records)
    parts = [f"<h1>{html.escape(board.title)}</h1><p>{html.escape(study.question)}</p>"]
    if damage:
        parts.append("".join(f"<p>Not used: {html.escape(str(d))}</p>" for d in damage))
    script = True  # plotly's own code goes into the first figure only
    for section in board.sections:
        parts.append(f"<h2>{html.escape(section.name)}</h2><p>{html.escape(section.question)}</p>")
        for panel in section.panels:
            text, drawn = _render(panel, root, study, records, script)
            parts.append(text)
            script = script and not drawn
    path = StudyPaths(root).report / "dashboard.html"
    write_bytes(path, _document(board.title, parts).encode())
    return path


def default_for(study: FrozenStudy, records: list[Record]) -> Dashboard:
    """The default dashboard with the metrics that the records hold."""
    metrics = sorted({name for record in records for name in record.metrics})
    return default(study.title or study.name, outcome=str(study.outcome["metric"]), metrics=metrics)


def _render(
    panel: Panel, root: Path, study: FrozenStudy, records: list[Record], script: bool
) -> tuple[str, bool]:
    """The panel's HTML and whether it is a plotly figure."""
    if panel.kind == "states":
        return _states(study, records), False
    figure = lines(panel, root, study, records) if panel.kind == "line" else bars(panel, study, records)
    if not figure.data:
        return f"<p>{html.escape(panel.title)}: no trial has reported it yet.</p>", False
    figure.update_layout(
        title=panel.title, height=380, margin={"l": 60, "r": 20, "t": 50, "b": 50}, template="plotly_white"
    )
    drawn = figure.to_html(full_html=False, include_plotlyjs=script, config={"displaylogo": False})
    return f"<figure>{drawn}</figure>", True


def _states(study: FrozenStudy, records: list[Record]) -> str:
    counts = Counter(record.state for record in records)
    waiting = len(study.trials) - len(records)
    rows = [*counts.items(), *([("not finished", waiting)] if waiting > 0 else [])]
    cells = "".join(f"<tr><td>{html.escape(str(state))}</td><td>{count}</td></tr>" for state, count in rows)
    return f"<table><tr><th>state</th><th>trials</th></tr>{cells}</table>"


def _colours(study: FrozenStudy) -> dict[str, str]:
    return {arm.name: _COLOURS[i % len(_COLOURS)] for i, arm in enumerate(study.arms)}


def lines(panel: Panel, root: Path, study: FrozenStudy, records: list[Record]) -> go.Figure:
    """One thin line per trial, coloured and switched on and off by arm."""
    column = {metric: name for name, metric in CURVE.items()}
    figure, colours, named = go.Figure(), _colours(study), set[str]()
    for record in sorted(
        records, key=lambda r: (list(colours).index(r.arm) if r.arm in colours else 99, r.block)
    ):
        path = StudyPaths(root).trial(record.trial).curve
        if not path.exists():
            continue
        curve = pd.read_parquet(path)
        x, y = column.get(panel.x, panel.x), column.get(panel.metric, panel.metric)
        if x in curve and y in curve:
            figure.add_scatter(
                x=curve[x], y=curve[y], mode="lines", name=record.arm, legendgroup=record.arm,
                showlegend=record.arm not in named, hovertext=f"{record.arm}/{record.block}",
                line={"width": 1.2, "color": colours.get(record.arm)},
            )  # fmt: skip
            named.add(record.arm)
    return figure.update_xaxes(title=panel.x_title or panel.x).update_yaxes(title=panel.metric)


def bars(panel: Panel, study: FrozenStudy, records: list[Record]) -> go.Figure:
    """Every block as a dot beside the arm's name; no interval: verdicts are the report's."""
    figure = go.Figure()
    for arm, colour in _colours(study).items():
        values = [r.metrics[panel.metric] for r in records if r.arm == arm and panel.metric in r.metrics]
        if values:
            figure.add_scatter(
                x=values, y=[arm] * len(values), mode="markers", name=arm, marker={"color": colour, "size": 9}
            )
    return (
        figure.update_layout(showlegend=False)
        .update_xaxes(title=panel.metric)
        .update_yaxes(autorange="reversed")
    )


def _document(title: str, parts: list[str]) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'
