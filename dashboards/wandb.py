"""A dashboard as a Weights & Biases workspace and report, through wandb-workspaces (imported when used)."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.analysis.findings import Findings
from ablate.records import (
    FrozenStudy,
    StudyPaths,
    load_records,
    read_json,
    read_study,
    write_json,
)
from ablate.records.store import RecordError

from .definition import Dashboard, Panel
from .state import INTERIM, default_for, over

KEPT = "wandb-pages.json"  # below report/: which pages a later push brings up to date


class MissingExtraError(ImportError):
    """wandb-workspaces is not installed."""


class PushError(ValueError):
    """Pages that could not be saved; the message says why and the way out."""


@dataclass(frozen=True)
class StudyRuns:
    """Which runs of a project are the study's. Its group is no answer: two studies may bear one name."""

    name: str
    id: str  # `study_id` in the configs of its runs
    unmarked: tuple[str, ...] = ()  # ids of runs that went online before configs held it

    @property
    def filter(self) -> str:
        marked = f"Config('study_id') == '{self.id}'"
        return f"{marked} or Metric('ID') in {list(self.unmarked)}" if self.unmarked else marked


def _library() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise MissingExtraError(
            'a W&B dashboard needs wandb-workspaces, which is not installed; pip install "ablate-bert[wandb]"'
        ) from error
    return workspaces, reports


def workspace(dashboard: Dashboard, *, entity: str, project: str, runs: StudyRuns, verdicts: str = "") -> Any:
    """A saved view over the runs of one study, one colour per arm; `.save()` pushes it.

    `verdicts` is Markdown. Progress and failures need no panel: the table of runs beside it shows states.
    Raises MissingExtraError.
    """
    workspaces, reports = _library()
    sections = [
        workspaces.Section(name=section.name, is_open=True, panels=shown)
        for section in dashboard.sections
        if (shown := _panels(reports, section.panels, verdicts))
    ]
    shown_runs = workspaces.RunsetSettings(filters=runs.filter, groupby=[workspaces.Metric("JobType")])
    return workspaces.Workspace(
        entity=entity, project=project, name=dashboard.title, sections=sections, runset_settings=shown_runs
    )


def report(
    dashboard: Dashboard,
    *,
    entity: str,
    project: str,
    runs: StudyRuns,
    question: str = "",
    verdicts: str = "",
) -> Any:
    """The same panels as a report, each section under its question; `.save()` pushes it.

    Raises MissingExtraError.
    """
    _, reports = _library()
    blocks: list[Any] = []
    for section in dashboard.sections:
        told = verdicts and any(panel.kind == "verdicts" for panel in section.panels)
        shown = _panels(reports, section.panels, "")
        if not told and not shown:
            continue
        blocks += [reports.H2(section.name), reports.P(section.question)]
        if told:
            blocks.append(reports.MarkdownBlock(text=verdicts))
        if shown:
            shown_runs = reports.Runset(
                entity=entity, project=project, name=runs.name, filters=runs.filter, groupby=["JobType"]
            )
            blocks.append(reports.PanelGrid(runsets=[shown_runs], panels=shown))
    return reports.Report(
        entity=entity, project=project, title=dashboard.title, description=question, blocks=blocks
    )


def _panels(reports: Any, panels: tuple[Panel, ...], verdicts: str) -> list[Any]:
    """The panels that W&B draws itself, and the verdicts as text where there are some."""
    made = []
    for panel in panels:
        if panel.kind == "line":
            made.append(reports.LinePlot(
                title=panel.title, x=panel.x, y=[panel.metric], title_x=panel.x_title or panel.x,
                title_y=panel.y_title or None, log_x=panel.log_x or None, log_y=panel.log_y or None,
            ))  # fmt: skip
        elif panel.kind == "bar":
            made.append(reports.BarPlot(title=panel.title, metrics=[panel.metric], orientation="h"))
        elif panel.kind == "verdicts" and verdicts:
            made.append(reports.MarkdownPanel(markdown=verdicts))
    return made


# --- pushing -----------------------------------------------------------------------------------------------


def push(root: Path) -> list[str]:
    """Save workspace and report of a tracked study, tag its runs with phase and verdict; what to tell.

    A second push brings the same two pages up to date. Raises PushError, MissingExtraError, RecordError.
    """
    from ablate.analysis import analyze
    from ablate.scheduling.status import status
    from ablate.tracking.sync import run_ids
    from ablate.tracking.wandb import answered, tag_runs

    _library()
    study = read_study(root)
    entity, project = target(study)
    records, damage = load_records(root)
    found = analyze(study, records, damage) if records else None
    done = over(status(root))
    board = default_for(study, records)
    if records:  # before the first, anything may still be reported
        board = board.told({name for record in records for name in record.metrics})
    ids = run_ids(study, {record.trial: record for record in records})
    runs = _runs(study, entity, project, set(ids.values()))
    words: dict[str, Any] = {
        "entity": entity,
        "project": project,
        "runs": runs,
        "verdicts": markdown(found, done),
    }
    try:
        addresses = _save(root, workspace(board, **words), report(board, question=study.question, **words))
    except PushError as error:
        raise PushError(
            f"{error}; check `wandb login`; the first run online makes the project: ablate sync {root}"
        ) from error
    told = [f"{kind}: {address}" for kind, address in addresses.items()]
    if not done or found is None:
        return [*told, "the runs get their verdicts as tags once the study is done"]
    verdicts = {ids[t]: v for t, v in _verdict_of(found).items()}
    try:
        with answered(PushError):
            tagged = tag_runs(entity, project, study.name, verdicts)
    except PushError as error:
        raise PushError(
            f"workspace and report are saved ({addresses['report']}), not every run has its verdict: "
            f"{error}; push again, and check that this account may change the runs of {entity}/{project}"
        ) from error
    told.append(f"{tagged} runs tagged with their verdict")
    missing = len(verdicts) - tagged
    return [*told, f"{missing} runs are not online yet: ablate sync {root}"] if missing else told


def _runs(study: FrozenStudy, entity: str, project: str, ids: Set[str]) -> StudyRuns:
    """The study's runs, of which `ids` may be on the server already. Raises PushError."""
    from ablate.tracking.names import study_id
    from ablate.tracking.runs import NoProjectError, WandbReadError, read_runs

    try:
        there = list(read_runs(f"{entity}/{project}", study.name))
    except NoProjectError:
        there = []
    except WandbReadError as error:
        raise PushError(f"nothing was pushed: {error}") from error
    unmarked = sorted(run.id for run in there if run.id in ids and "study_id" not in run.config)
    return StudyRuns(study.name, study_id(study.name, study.created), tuple(unmarked))


def target(study: FrozenStudy) -> tuple[str, str]:
    """Entity and project of a study's runs, once login and server are there. Raises PushError."""
    from ablate.tracking import project_name
    from ablate.tracking.wandb import default_entity, obstacle

    spec = study.track.get("wandb")
    if not spec or spec.get("mode") == "disabled":
        raise PushError(
            f"{study.name} is not tracked: its file has no `track: {{wandb: …}}` section; the local page "
            "needs none"
        )
    why = obstacle()
    if why:
        raise PushError(f"nothing was pushed: {why}")
    entity = spec.get("entity") or default_entity()
    if not entity:
        raise PushError(
            "nothing was pushed: the login has no default team; name a user or team under track.wandb.entity"
        )
    return str(entity), str(spec.get("project") or project_name(study.name))


def _save(root: Path, view: Any, page: Any) -> dict[str, str]:
    """Save both pages over those of an earlier push; their addresses."""
    from ablate.tracking.wandb import answered

    kept = StudyPaths(root).report / KEPT
    try:
        before = read_json(kept)
    except RecordError:
        before = {}
    if before.get("project") == f"{view.entity}/{view.project}":
        view._internal_name, view._internal_id = before["workspace"]["name"], before["workspace"]["id"]
        page.id = before["report"]["id"]
    # The report goes first: saving it creates a project that is not there yet.
    with answered(PushError):
        page.save()
        view.save()
        addresses = {"workspace": str(view.url), "report": str(page.url)}
    write_json(kept, {
        "project": f"{view.entity}/{view.project}",
        "workspace": {"name": view._internal_name, "id": view._internal_id, "url": addresses["workspace"]},
        "report": {"id": page.id, "url": addresses["report"]},
    })  # fmt: skip
    return addresses


def markdown(found: Findings | None, done: bool) -> str:
    """The verdicts as a Markdown table, marked interim until the study is done."""
    if found is None or not found.contrasts:
        return "No arm can be held against its reference yet."
    from ablate.report import negative, numbers, tables

    places = tables.effect_places(found)
    unit = f" ({found.outcome.unit})" if found.outcome.unit else ""
    of_n = "blocks" if found.paired else "trials"
    lines = [
        found.answer,
        "",
        *([] if done else [f"**{INTERIM}**", ""]),
        f"| arm | {of_n} | Δ {found.outcome.label}{unit} [CI] | adj. p | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    for arm in found.arms:
        if (c := arm.contrast) is not None:
            shown = numbers.estimate(c.effect.estimate, c.effect.low, c.effect.high, places)
            name, p = negative.markdown(arm.name), numbers.p_value(c.adjusted_p)
            lines.append(f"| {name} | {c.effect.n} / {arm.planned} | {shown} | {p} | {c.verdict} |")
    return "\n".join(lines)


def _verdict_of(found: Findings) -> dict[str, str]:
    """Trial → the verdict on its arm, or `baseline`."""
    return {
        trial.id: arm.contrast.verdict if arm.contrast else "baseline"
        for arm in found.arms
        for trial in arm.trials
    }
