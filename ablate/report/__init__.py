"""Findings as tables and pages. Plotly and the page templates load only when a page is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ablate.analysis import Findings, analyze
from ablate.analysis.evidence import Evidence, read_curves
from ablate.analysis.tasks import with_tasks
from ablate.records import load_records, read_study
from ablate.report.terminal import render_terminal

Format = Literal["latex", "markdown", "csv", "html"]
FORMATS: tuple[Format, ...] = ("latex", "markdown", "csv", "html")

__all__ = [
    "FORMATS",
    "Format",
    "load_findings",
    "render_checklist",
    "render_table",
    "render_terminal",
    "write_report",
]


def load_findings(root: Path) -> Findings:
    """Findings of a run folder, from its records alone. Raises RecordError when there is no study in it."""
    study = read_study(root)
    records, damage = load_records(root)
    return analyze(study, records, damage)


def render_table(root: Path, format: Format | str = "markdown", preset: str = "full") -> str:
    """The ablation table of a run folder. Raises ValueError for an unknown format or preset."""
    found = load_findings(root)
    return format_table(found, format, preset, early_losses(root, found, preset))


def early_losses(root: Path, found: Findings, preset: str) -> dict[str, float]:
    """arm → training loss after an eighth of the budget, for the one preset that shows it."""
    if preset != "narang":
        return {}
    from ablate.report.series import early

    return early(root, found)


def format_table(
    found: Findings, format: Format | str, preset: str = "full", early: Mapping[str, float] | None = None
) -> str:
    """The ablation table in one of the formats. Raises ValueError for an unknown format or preset."""
    from ablate.report import formats, tables

    if format == "csv" and preset == "full":
        return formats.csv_table(found)
    table = tables.ablation_table(found, preset, early)
    if format == "csv":
        return formats.csv_preset(found, table)
    if format == "latex":
        from ablate.report.latex import latex

        return latex(table)
    if format == "markdown":
        return formats.markdown(table)
    if format == "html":
        return formats.html_table(table)
    raise ValueError(f"a table is written as {', '.join(FORMATS)}; got {format!r}")


def render_checklist(root: Path, venue: str = "") -> tuple[str, list[dict[str, str]]]:
    """The reproducibility checklists as far as the records answer them: as text and as JSON values."""
    from ablate.report.checklist import as_json, as_markdown, checklist

    study, (records, damage) = read_study(root), load_records(root)
    found = analyze(study, records, damage)
    licences = {str(r.data["licence"]) for r in records if r.data.get("licence")}
    items = checklist(found, {**study.model_dump(by_alias=True), "licences": licences}, venue)
    return as_markdown(found, items), as_json(items)


def write_report(root: Path) -> Path:
    """Write every page, table and figure below `<root>/report/`; the path of `report.html`."""
    from ablate.report.beside import Hands
    from ablate.report.pages import write_pages

    with Hands() as hands:
        study, (records, damage) = read_study(root), load_records(root)
        curves, problems = read_curves(root, ((r.trial, r.arm, r.block) for r in records))
        scoring = hands.score(root, records)
        found = analyze(study, records, damage, Evidence(curves=curves, problems=tuple(problems)))
        scored = [part.result() for part in scoring]
        found = with_tasks(found, (tasks for tasks, _ in scored))
        unread = [problem for _, problems in scored for problem in problems]
        found = replace(found, warnings=(*found.warnings, *unread))
        return write_pages(root, found, curves, hands)
