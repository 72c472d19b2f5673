"""Predictions are scored and figures drawn by processes of their own, as one process would; they fail aloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.analysis import analyze
from ablate.analysis.evidence import read_evidence
from ablate.analysis.findings import Findings
from ablate.analysis.tasks import with_tasks
from ablate.records import load_records, read_study
from ablate.report import paper, series
from ablate.report.beside import FIGURES, Hands

from ..analysis import synthetic
from . import large


@pytest.fixture(scope="module")
def found() -> Findings:
    frozen = synthetic.study()
    return analyze(frozen, synthetic.records(frozen))


def shown(found: Findings) -> tuple[object, ...]:
    return series.forest(found), series.heat(found), [], series.speeds(found)


def test_every_figure_is_drawn_when_it_ends(found: Findings, tmp_path: Path) -> None:
    with Hands() as hands:
        hands.draw(tmp_path, found, shown(found))
    drawn = paper.drawings(found, *shown(found))
    assert set(drawn) == {"forest", "tasks", "speed"} <= set(FIGURES)
    names = {f"{name}.{format}" for name in drawn for format in ("pdf", "svg", "png")}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_letters_that_no_font_has_are_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    frozen = synthetic.study(["model.position=\U000f0001", "model.norm=\U000f0002"])  # nobody's letters
    found = analyze(frozen, synthetic.records(frozen))
    with Hands() as hands:
        hands.draw(tmp_path, found, shown(found))
    (line,) = caplog.messages
    assert "no installed font has \U000f0001\U000f0002, so PDF and PNG show boxes" in line
    assert "UserWarning" not in capfd.readouterr().err


def test_what_cannot_be_drawn_is_an_error_with_its_words(found: Findings, tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="'object' object has no attribute"), Hands() as hands:
        hands.draw(tmp_path, found, ([object()], None, [], []))


def test_a_report_that_fails_draws_no_more_and_is_told_itself(found: Findings, tmp_path: Path) -> None:
    hands = Hands()

    def report() -> None:
        with hands:
            hands.draw(tmp_path, found, shown(found))
            raise ValueError("no page")

    with pytest.raises(ValueError, match="no page"):
        report()
    with pytest.raises(RuntimeError, match="shutdown"):
        hands.draw(tmp_path, found, shown(found))


def test_tasks_scored_one_by_one_are_those_of_the_whole(tmp_path: Path) -> None:
    root = large.write(tmp_path / "study", arms=3, blocks=3)
    torn = next((root / "trials").glob("*/predictions/mrpc.parquet"))
    torn.write_bytes(torn.read_bytes()[:100])
    frozen, (records, damage) = read_study(root), load_records(root)
    evidence = read_evidence(root, records)
    whole = analyze(frozen, records, damage, evidence)
    with Hands() as hands:
        parts = [part.result() for part in hands.score(root, records)]
    found = with_tasks(analyze(frozen, records, damage), (tasks for tasks, _ in parts))
    assert {m for c in whole.contrasts.values() for m in c.tasks} == {f"glue/{task}" for task in large.TASKS}
    for arm, contrast in whole.contrasts.items():
        assert found.contrasts[arm].tasks == contrast.tasks
        assert found.contrasts[arm].nested == contrast.nested
    unread = [problem for _, problems in parts for problem in problems]
    assert unread == list(evidence.problems)
    assert unread[0].startswith(f"trials/{torn.parts[-3]}/predictions/mrpc.parquet cannot be read: ")
    assert str(tmp_path) not in unread[0]
