"""A dashboard as a Weights & Biases workspace and report, through wandb-workspaces (imported when used)."""

from __future__ import annotations

from typing import Any

from .definition import Dashboard, Panel


class MissingExtraError(ImportError):
    """wandb-workspaces is not installed."""


def _library() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise MissingExtraError(
            'a W&B dashboard needs wandb-workspaces, which is not installed; pip install "ablate-bert[wandb]"'
        ) from error
    return workspaces, reports


def workspace(dashboard: Dashboard, *, entity: str, project: str, study: str) -> Any:
    """A saved view over the runs of one study, one colour per arm; `.save()` pushes it.

    Raises MissingExtraError.
    """
    workspaces, reports = _library()
    sections = [
        workspaces.Section(name=section.name, is_open=True, panels=[_panel(reports, p) for p in shown])
        for section in dashboard.sections
        if (
            shown := [p for p in section.panels if p.kind != "states"]
        )  # the run table beside it shows states
    ]
    runs = workspaces.RunsetSettings(filters=_filter(study), groupby=[workspaces.Metric("JobType")])
    return workspaces.Workspace(
        entity=entity, project=project, name=dashboard.title, sections=sections, runset_settings=runs
    )


def report(dashboard: Dashboard, *, entity: str, project: str, study: str, question: str = "") -> Any:
    """The same panels as a report, each section under its question; `.save()` pushes it.

    Raises MissingExtraError.
    """
    _, reports = _library()
    blocks: list[Any] = []
    for section in dashboard.sections:
        shown = [p for p in section.panels if p.kind != "states"]
        if shown:
            runs = reports.Runset(
                entity=entity, project=project, name=study, filters=_filter(study), groupby=["JobType"]
            )
            grid = reports.PanelGrid(runsets=[runs], panels=[_panel(reports, p) for p in shown])
            blocks += [reports.H2(section.name), reports.P(section.question), grid]
    return reports.Report(
        entity=entity, project=project, title=dashboard.title, description=question, blocks=blocks
    )


def _filter(study: str) -> str:
    # Runs of one study share a W&B group; a project may hold several studies.
    return f"Metric('Group') == '{study}'"


def _panel(reports: Any, panel: Panel) -> Any:
    if panel.kind == "bar":
        return reports.BarPlot(title=panel.title, metrics=[panel.metric], orientation="h")
    x_title = panel.x_title or panel.x
    return reports.LinePlot(
        title=panel.title, x=panel.x, y=[panel.metric], title_x=x_title, log_x=panel.log_x or None
    )
