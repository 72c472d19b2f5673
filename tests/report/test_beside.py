"""Figures for papers come from processes of their own, which fail aloud and never outlive their report."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ablate.analysis import analyze
from ablate.analysis.findings import Findings
from ablate.report import series
from ablate.report.beside import Drawing

from ..analysis import synthetic


@pytest.fixture(scope="module")
def found() -> Findings:
    frozen = synthetic.study()
    return analyze(frozen, synthetic.records(frozen))


def shown(found: Findings) -> tuple[object, ...]:
    return series.forest(found), series.heat(found), [], series.speeds(found)


def test_every_figure_is_drawn_when_it_ends(found: Findings, tmp_path: Path) -> None:
    with Drawing() as drawing:
        drawing.draw(tmp_path, found, shown(found))
    names = {f"{name}.{format}" for name in ("forest", "tasks", "speed") for format in ("pdf", "svg", "png")}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_what_cannot_be_drawn_is_an_error_with_its_words(found: Findings, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with code 1: (.|\n)*AttributeError"), Drawing() as drawing:
        drawing.draw(tmp_path, found, ([object()], None, [], []))


def test_a_report_that_fails_ends_the_drawing_and_is_told_itself(found: Findings, tmp_path: Path) -> None:
    drawing = Drawing()

    def report() -> None:
        with drawing:
            drawing.draw(tmp_path, found, shown(found))
            raise ValueError("no page")

    with pytest.raises(ValueError, match="no page"):
        report()
    assert [hand.returncode for hand in drawing._hands] == [-signal.SIGKILL] * 2
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw_ends_at_once() -> None:
    with Drawing() as drawing:
        pass
    assert [hand.returncode for hand in drawing._hands] == [0, 0]
