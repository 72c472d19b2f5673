import re
from pathlib import Path

import pandas as pd
import pytest

from ablate.dashboards import Dashboard, Panel, Section
from ablate.dashboards.page import bars, default_for, lines, write_page
from ablate.records import FrozenStudy, Record, StudyPaths, load_records, read_study, write_json
from ablate.records.store import RecordError

BUDGET = {"unit": "seconds", "amount": 60.0}


def make_study(root: Path, *, finished: int = 4) -> Path:
    """A study of two arms and two blocks, of which the first `finished` trials are done."""
    trials = {
        f"t{i}": [arm, block]
        for i, (arm, block) in enumerate((a, b) for b in (0, 1) for a in ("base", "<b>rope"))
    }
    write_json(StudyPaths(root).study, FrozenStudy(
        schema=1, name="positions", question="Do positions <matter>?", created="2026-01-01T00:00:00Z",
        outcome={"metric": "glue/average", "margin": 0.5, "higher_is_better": True}, family=["<b>rope"],
        design="one-factor", budget=BUDGET, blocks=[1, 2], trials=trials,
        arms=[{"name": a, "recipe": {}, "budget": BUDGET} for a in ("base", "<b>rope")],
    ))  # fmt: skip
    for trial, (arm, block) in list(trials.items())[:finished]:
        paths = StudyPaths(root).trial(trial)
        diverged = trial == "t3"
        metrics = {} if diverged else {"glue/average": 70.0 + block, "glue/cola": 40.0}
        write_json(paths.record, Record(
            schema=1, study="positions", trial=trial, arm=arm, block=block, seed=block + 1,
            state="diverged" if diverged else "complete", recipe={}, budget=BUDGET, metrics=metrics,
        ))  # fmt: skip
        columns = {"step": [1, 2], "tokens": [128, 256], "seconds": [1.0, 2.0], "loss": [9.0, 8.0 - block]}
        pd.DataFrame(columns).to_parquet(paths.curve)
    return root


def test_a_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    page = write_page(make_study(tmp_path)).read_text()
    assert not re.findall(r"<(?:script|img|iframe)[^>]+src=|<link[^>]+href=", page)
    assert page.count("plotly.js v") == 1


def test_names_of_the_study_are_escaped(tmp_path: Path) -> None:
    page = write_page(make_study(tmp_path)).read_text()
    assert "Do positions &lt;matter&gt;?" in page


def test_states_count_every_trial_once(tmp_path: Path) -> None:
    page = write_page(make_study(tmp_path, finished=3)).read_text()
    assert "<td>complete</td><td>3</td>" in page
    assert "<td>not finished</td><td>1</td>" in page


def test_lines_are_one_per_trial_and_named_once_per_arm(tmp_path: Path) -> None:
    study, (records, _) = read_study(make_study(tmp_path)), load_records(tmp_path)
    figure = lines(Panel("line", "Loss", "pretrain/loss", "budget/tokens"), tmp_path, study, records)
    assert [trace.name for trace in figure.data] == ["base", "base", "<b>rope", "<b>rope"]
    assert [trace.showlegend for trace in figure.data] == [True, False, True, False]
    assert list(figure.data[0].x) == [128, 256]
    assert list(figure.data[1].y) == [9.0, 7.0]


def test_bars_show_every_block_and_leave_failures_out(tmp_path: Path) -> None:
    study, (records, _) = read_study(make_study(tmp_path)), load_records(tmp_path)
    figure = bars(Panel("bar", "Outcome", "glue/average"), study, records)
    assert [list(trace.x) for trace in figure.data] == [[70.0, 71.0], [70.0]]


def test_the_default_page_shows_what_was_recorded(tmp_path: Path) -> None:
    study, (records, _) = read_study(make_study(tmp_path)), load_records(tmp_path)
    metrics = {panel.metric for panel in default_for(study, records).panels}
    assert {"glue/average", "glue/cola", "pretrain/loss"} <= metrics


def test_a_study_without_records_has_a_page_too(tmp_path: Path) -> None:
    page = write_page(make_study(tmp_path, finished=0)).read_text()
    assert "no trial has reported it yet" in page
    assert "plotly.js v" not in page


def test_a_definition_of_ones_own_is_rendered(tmp_path: Path) -> None:
    board = Dashboard("Mine", (Section("One", "What?", (Panel("bar", "CoLA", "glue/cola"),)),))
    page = write_page(make_study(tmp_path), board).read_text()
    assert "<h1>Mine</h1>" in page
    assert page.count("<figure>") == 1


def test_a_folder_without_a_study_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="study.json"):
        write_page(tmp_path)
