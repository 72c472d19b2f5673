import builtins
import subprocess
import sys
from typing import Any

import pytest

from ablate.dashboards import Dashboard, Panel, default
from ablate.dashboards.wandb import MissingExtraError, StudyRuns, report, workspace
from ablate.tracking.names import CURVE

RUNS = StudyRuns("positions", "positions-83e1a9f0")

METRICS = ["glue/average", "glue/cola", "eval/mlm_loss", "pretrain/loss", "cost/gpu_hours"]


@pytest.fixture
def board() -> Dashboard:
    return default("Positions", outcome="glue/average", metrics=METRICS)


def test_every_line_of_the_default_draws_what_trials_log(board: Dashboard) -> None:
    lines = [panel for panel in board.panels if panel.kind == "line"]
    assert lines
    assert {panel.metric for panel in lines} | {panel.x for panel in lines} <= set(CURVE.values())


def test_the_outcome_comes_first_among_the_scores_and_every_score_once(board: Dashboard) -> None:
    (scores,) = [section for section in board.sections if section.name == "Scores"]
    bars = [panel.metric for panel in scores.panels]
    assert bars == ["glue/average", "eval/mlm_loss", "glue/cola"]


def test_every_section_asks_a_question(board: Dashboard) -> None:
    assert all(section.question.endswith("?") and section.panels for section in board.sections)


def test_importing_the_definition_imports_no_renderer() -> None:
    code = (
        "import sys, ablate.dashboards, ablate.dashboards.wandb;"
        "print([m for m in ('torch', 'wandb', 'wandb_workspaces', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def panels_of(container: Any) -> list[tuple[str, list[Any]]]:
    return [(p.title, list(getattr(p, "y", None) or getattr(p, "metrics", []))) for p in container.panels]


def expected(board: Dashboard) -> list[tuple[str, list[Any]]]:
    return [(p.title, [p.metric]) for p in board.panels if p.kind in ("line", "bar")]


def test_the_workspace_holds_every_panel_for_the_runs_of_the_study_by_arm(board: Dashboard) -> None:
    pytest.importorskip("wandb_workspaces", reason="needs wandb-workspaces")
    view = workspace(board, entity="team", project="cramming", runs=RUNS)
    assert (view.entity, view.project, view.name) == ("team", "cramming", "Positions")
    assert [panel for section in view.sections for panel in panels_of(section)] == expected(board)
    sent = view._to_model().model_dump_json(by_alias=True)
    assert '"positions-83e1a9f0"' in sent
    assert '"name":"jobType"' in sent


def test_the_report_holds_every_panel_under_its_question(board: Dashboard) -> None:
    wr = pytest.importorskip("wandb_workspaces.reports.v2", reason="needs wandb-workspaces")
    page = report(board, entity="team", project="cramming", runs=RUNS, question="Which?")
    grids = [block for block in page.blocks if isinstance(block, wr.PanelGrid)]
    assert [panel for grid in grids for panel in panels_of(grid)] == expected(board)
    assert all("positions-83e1a9f0" in grid.runsets[0].filters for grid in grids)


def test_without_the_extra_the_message_says_what_to_install(
    board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("wandb_workspaces"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[wandb\]"):
        workspace(board, entity="team", project="cramming", runs=RUNS)


def test_a_panel_is_a_value() -> None:
    assert Panel("bar", "t", "glue/cola") == Panel("bar", "t", "glue/cola")
