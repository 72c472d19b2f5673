"""What a study may carry besides verdicts is on the page, in Markdown and in the figures once it is there."""

import csv
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from ablate.analysis import analyze
from ablate.analysis.evidence import read_evidence
from ablate.analysis.findings import (
    BestOfK,
    Check,
    Curvature,
    Front,
    FrontPoint,
    Importance,
    Interactions,
    Mechanism,
    Nested,
    Outcome,
    Pairing,
    TaskEffect,
    Term,
    Unpaired,
)  # fmt: skip
from ablate.analysis.paired import effect
from ablate.report import figures
from ablate.report.beside import Hands
from ablate.report.pages import write_pages

from ..analysis import synthetic

TASK = synthetic.TASKS[0]


def shift(*values):
    return effect("pretrain/loss", dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0))


MECHANISM = Mechanism(
    metric="pretrain/loss", seconds=88.0, tokens=1.0e6, tokens_ratio=1.25,
    equal_time=shift(-0.11, -0.12, -0.10), equal_tokens=shift(-0.02, -0.03, -0.01),
    speed=shift(-0.09, -0.09, -0.09001), note="the arm read more",
)  # fmt: skip


FRONT = Front(
    Outcome("throughput/tokens_per_second", None, True, "tokens/s", "Tokens/s"),
    (
        FrontPoint("model.position=rope", 71.2, 9_000.0, 5, "confirm", True),
        FrontPoint("model.norm=rmsnorm", 66.0, 21_000.0, 1, "screen", True),
        FrontPoint("model.position=none", 65.0, 8_000.0, 1, "screen", False),
    ),
)


def deeper(found):
    """The findings with everything that a study may carry."""
    arms = []
    for arm in found.arms:
        contrast = arm.contrast and replace(
            arm.contrast,
            mechanism=MECHANISM,
            checks=(
                Check("divergence", "ruled out", "no trial diverged"),
                Check("tuning", "not ruled out", "one rate"),
            ),
            tasks={TASK: TaskEffect(TASK, "accuracy", "seed x item", 5, 800, 2, -1.5, -2.9, -0.1)},
            nested={TASK: Nested(TASK, 5, 2, 0.4, 0.6, 0.31)},
            unpaired=Unpaired((5, 5), -1.2, -3.0, 0.6, p=0.2, dunnett_p=0.3),
            post_hoc=True,
        )
        arms.append(replace(arm, contrast=contrast, curvature=Curvature(0.21, True, 5)))
    terms = (
        Term("norm", ("model.norm",), ("rmsnorm",), 0.4, 0.1, 0.7, 0.01, 0.02, ("lr × depth",)),
        Term(
            "norm × position",
            ("model.norm", "model.position"),
            ("rmsnorm", "rope"),
            -0.8,
            -1.2,
            -0.4,
            0.001,
            0.002,
        ),
    )
    return replace(
        found, arms=tuple(arms), pairing=Pairing(0.87, 3, 0.2),
        interactions=Interactions("mixedlm", "y ~ norm * position", 20, 14.0, terms, aliased=("norm = lr × depth",)),
        importance=(Importance("train.lr", 0.62, "PED-ANOVA"), Importance("train.batch", 0.11, "PED-ANOVA")),
        best_of_k=(BestOfK("search", 12, (1, 2, 5, 12), (61.0, 63.0, 65.0, 66.0), (2.0, 1.5, 0.8, 0.0)),),
        front=FRONT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    frozen = synthetic.study()
    return deeper(analyze(frozen, synthetic.records(frozen)))


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    root = tmp_path_factory.mktemp("deeper")
    frozen = synthetic.study()
    records = synthetic.records(frozen)
    synthetic.write(root, frozen, records)
    with Hands() as hands:
        return write_pages(root, found, read_evidence(root, records).curves, hands)


@pytest.mark.parametrize(
    "words",
    [
        ("equal time", "equal tokens", "by speed", "× 1.25", "the arm read more"),
        ("norm × position", "lr × depth", "y ~ norm * position", "cannot tell apart"),
        ("train.lr", "62.0 %", "PED-ANOVA"),
        ("Pareto front", "on the stairs", "21 k", "Tokens/s", "screen"),
        ("ruled out", "no trial diverged", "not ruled out"),
        ("seed x item", "new seeds and new examples", "31 %"),
        ("Dunnett", "still falling", "declared after data had arrived", "correlate by 0.87"),
    ],
)  # fmt: skip
def test_the_page_says(page, words):
    text = page.read_text()
    assert all(word in text for word in words)


def test_the_markdown_carries_the_same(page):
    text = (page.parent / "report.md").read_text()
    for word in (
        "Mechanism split", "× 1.25", "the arm read more", "norm × position", "cannot tell apart: norm = lr × depth",
        "`train.lr` | 62.0 %", "PED-ANOVA", "k = 5: 65", "correlate by 0.87",
        "| model.norm=rmsnorm | 66.00 | 21 k | 1 | screen | yes | `model.norm` rmsnorm |",
        "| model.position=none | 65.00 | 8 k | 1 | screen | no | `model.position` none |",
        "no trial diverged", "not ruled out", "seed x item", "31 %", "Dunnett", "still falling",
    ):  # fmt: skip
        assert word in text, word


def test_the_stairs_of_the_front_join_what_nothing_beats():
    frozen = synthetic.study()
    found = replace(analyze(frozen, synthetic.records(frozen)), front=FRONT)
    stairs, kept, beaten = figures.pareto(found, FRONT)["data"]
    assert (stairs["x"], stairs["y"]) == ([9_000.0, 21_000.0], [71.2, 66.0])
    # Between two of them the higher speed has the lower score: straight down, then across.
    assert stairs["line"]["shape"] == "vh"
    assert (kept["text"], beaten["text"]) == (
        ["model.position=rope", "model.norm=rmsnorm"],
        ["model.position=none"],
    )


def test_parts_of_the_split_add_up_as_they_are_shown(found):
    traces = {trace["name"]: trace["x"] for trace in figures.mechanism([("a", MECHANISM)])["data"]}
    assert traces["equal time"][0] == pytest.approx(
        traces["equal tokens"][0] + traces["by speed"][0], abs=1e-5
    )


def test_plotly_knows_every_word_of_these_figures(found):
    shown = (figures.mechanism([("a", MECHANISM)]), figures.best_of_k(found), figures.pareto(found, FRONT))
    for figure in shown:
        assert go.Figure(figure).data


def test_the_figures_are_drawn_for_papers_too(page):
    for name in ("mechanism", "best-of-k", "pareto"):
        assert (page.parent / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF-")


def test_every_figure_lies_beside_the_numbers_it_shows(page, found):
    folder = page.parent / "figures"
    drawn = {path.stem for path in folder.glob("*.pdf")}
    assert drawn == {"forest", "tasks", "curves", "speed", "mechanism", "best-of-k", "pareto"}
    rows = {name: list(csv.DictReader((folder / f"{name}.csv").open())) for name in drawn}
    for row in rows["forest"]:
        effect = found.contrasts[row["arm"]].effect
        assert float(row["estimate"]) == effect.estimate
        differences = [float(row[f"block {i}"]) for i in range(effect.n)]
        assert differences == list(effect.differences.values())
    assert {(row["part"], float(row["estimate"])) for row in rows["mechanism"]} >= {
        ("equal time", MECHANISM.equal_time.estimate)
    }
    assert len({(row["arm"], row["block"]) for row in rows["curves"]}) == 20
