"""Writes the pages, tables and figures of a study; every file whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ablate.analysis import metrics as names
from ablate.analysis.findings import Findings
from ablate.records import StudyPaths, write_json
from ablate.records.store import write_bytes
from ablate.report import figures, format_table, formats, negative, numbers, series, svg, tables
from ablate.report.latex import latex

EXTENSIONS = {"latex": "tex", "markdown": "md", "csv": "csv", "html": "html"}


def write_pages(root: Path, found: Findings) -> Path:
    """Everything below `<root>/report/`; the path of `report.html`."""
    folder = StudyPaths(root).report
    read, problems = series.curves(root, found)
    drawn = _figures(found, read)
    context = _context(found, problems, list(drawn))
    write_json(folder / "findings.json", {"schema": 1, **found.to_dict()})
    write_json(
        folder / "negative-results.json", {"schema": 1, "results": _negative_json(context["negatives"])}
    )
    for format, extension in EXTENSIONS.items():
        write_text(folder / "tables" / f"ablation.{extension}", format_table(found, format))
    trials = {arm.name: [t.id for t in arm.trials] for arm in found.arms}
    write_json(folder / "tables" / "ablation.trials.json", trials)
    _write_figures(folder / "figures", drawn)
    bars = series.forest(found)
    if bars:
        write_text(folder / "figures" / "forest.svg", svg.forest(found, bars, context["places"]))
    write_text(folder / "report.md", _render("report.md.j2", context))
    write_text(folder / "negative-results.md", _render("negative-results.md.j2", context))
    page = folder / "report.html"
    write_text(page, _render("report.html.j2", {**context, **_page_parts(found, drawn)}))
    return page


def write_text(path: Path, text: str) -> None:
    """Atomic write of a UTF-8 text."""
    write_bytes(path, text.encode())


def _figures(found: Findings, read: list[series.Curve]) -> dict[str, Any]:
    """name → plotly figure, those without data left out."""
    drawn: dict[str, Any] = {}
    bars, by_task = series.forest(found), series.task_forests(found)
    if bars:
        drawn["forest"] = figures.forest(found, bars)
    if by_task:
        drawn["tasks"] = figures.tasks(by_task, {t: names.label(t) for t in by_task})
    if read:
        drawn["curves"] = figures.curves(read, [arm.name for arm in found.arms])
    return drawn


def _context(found: Findings, problems: list[str], drawn: list[str]) -> dict[str, Any]:
    """What every template sees."""
    return {
        "f": found,
        "table": tables.ablation_table(found),
        "markdown_table": formats.markdown(tables.ablation_table(found)),
        "negatives": negative.negatives(found),
        "figures": drawn,
        "warnings": [*found.warnings, *problems],
        "places": tables.effect_places(found),
        "secondary": _secondary(found),
        "odd": [(arm.name, t) for arm in found.arms for t in arm.trials if t.odd],
        "reproduce": f"ablate run {found.source or 'STUDY.yaml'}",
    }


def _secondary(found: Findings) -> dict[str, list[tuple[str, Any, int]]]:
    """metric → (arm, effect, decimals) for every metric that is not the outcome."""
    rows: dict[str, list[tuple[str, Any, int]]] = {}
    for metric in found.metrics:
        effects = [(arm, c.secondary[metric]) for arm, c in found.contrasts.items() if metric in c.secondary]
        default = 1 if names.is_score(metric) else 3
        places = numbers.decimals((e.se for _, e in effects), default=default)
        if effects:
            rows[metric] = [(arm, e, places) for arm, e in effects]
    return rows


def _page_parts(found: Findings, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Table, figures and the one copy of plotly.js as safe markup."""
    from plotly.offline import get_plotlyjs

    table = tables.ablation_table(found)
    return {
        "table_element": Markup(formats.table_element(table)),
        "table_notes": Markup(formats.html_notes(table)),
        "plotly": Markup(_script(get_plotlyjs())) if drawn else "",
        "figure_json": {name: Markup(_inert(figure.to_json())) for name, figure in drawn.items()},
        "findings_json": Markup(_inert(json.dumps(found.to_dict(), ensure_ascii=False))),
    }


def _inert(json_text: str) -> str:
    """JSON without any character that could open or close an element."""
    return json_text.replace("<", "\\u003c")


def _script(code: str) -> str:
    """Our own program text, kept from ending the script element it stands in."""
    return code.replace("</script", "<\\/script")


def _write_figures(folder: Path, drawn: Mapping[str, Any]) -> None:
    """Figures as pages of their own that share one plotly.js beside them, and as plotly JSON.

    Bitmaps would need kaleido, which brings a browser; the HTML works offline. The forest plot alone is also
    an SVG.
    """
    if not drawn:
        return
    from plotly.offline import get_plotlyjs

    write_text(folder / "plotly.min.js", get_plotlyjs())
    for name, figure in drawn.items():
        write_text(folder / f"{name}.html", figure.to_html(include_plotlyjs="plotly.min.js", div_id=name))
        write_text(folder / f"{name}.json", figure.to_json())


def _negative_json(found: list[negative.Negative]) -> list[dict[str, Any]]:
    rows = []
    for item in found:
        words = {f.name: getattr(item, f.name) for f in fields(item) if f.name not in ("arm", "contrast")}
        e = item.contrast.effect
        numbers_ = {"n": e.n, "estimate": e.estimate, "low": e.low, "high": e.high, "p": e.p}
        rows.append({
            "arm": item.arm.name, "verdict": item.contrast.verdict, **numbers_,
            "adjusted_p": item.contrast.adjusted_p, "resolvable": item.contrast.resolvable, **words,
            "trials": [t.id for t in item.arm.trials],
        })  # fmt: skip
    return rows


def _render(template: str, context: Mapping[str, Any]) -> str:
    html = template.endswith(".html.j2")
    env = Environment(
        loader=PackageLoader("ablate.report"), autoescape=html, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.filters |= {
        "number": numbers.number, "p": numbers.p_value, "quantity": numbers.quantity,
        "duration": numbers.duration, "label": names.label, "unit": names.unit, "percent": numbers.percent,
        "estimate": lambda e, places: numbers.estimate(e.estimate, e.low, e.high, places),
        "changes": negative.changes, "failures": tables.failures, "latex": latex,
    }  # fmt: skip
    return env.get_template(template).render(context)
