"""Figures: what plotly would draw is what the findings say, and plotly's own classes accept it."""

import json

import plotly.graph_objects as go
import pytest

from ablate.analysis import analyze
from ablate.analysis.evidence import read_evidence
from ablate.report import figures, series, strips

from ..analysis import synthetic


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    frozen = synthetic.study()
    return synthetic.write(tmp_path_factory.mktemp("study"), frozen, synthetic.records(frozen))


@pytest.fixture(scope="module")
def found():
    frozen = synthetic.study()
    return analyze(frozen, synthetic.records(frozen))


@pytest.fixture(scope="module")
def evidence(root):
    return read_evidence(root, synthetic.records(synthetic.study()))


@pytest.fixture(scope="module")
def drawn(found, evidence):
    assert not evidence.problems
    read = series.curves(found, evidence.curves)
    return {
        "forest": figures.forest(found, series.forest(found)),
        "tasks": figures.tasks(series.heat(found)),
        "curves": figures.curves(found, read),
        "speed": figures.speed(found, series.speeds(found)),
    }


@pytest.mark.parametrize("name", ["forest", "tasks", "curves", "speed"])
def test_plotly_knows_every_word_of_the_figure(drawn, name):
    figure = go.Figure(drawn[name])  # raises on a property it does not know
    assert json.loads(figure.to_json())["data"]


def test_the_forest_figure_holds_every_effect_with_its_interval(drawn, found):
    shown = {
        text: (x, x - minus, x + plus)
        for trace in drawn["forest"]["data"]
        if "error_x" in trace
        for text, x, minus, plus in zip(
            trace["text"], trace["x"], trace["error_x"]["arrayminus"], trace["error_x"]["array"], strict=True
        )
    }
    for arm, c in found.contrasts.items():
        assert shown[arm] == pytest.approx((c.effect.estimate, c.effect.low, c.effect.high))


def test_the_speed_figure_shows_both_intervals_of_every_arm(drawn, found):
    shown = {
        text: (x, x - minus, x + plus)
        for trace in drawn["speed"]["data"]
        for text, x, minus, plus in zip(
            trace["text"], trace["x"], trace["error_x"]["arrayminus"], trace["error_x"]["array"], strict=True
        )
    }
    baseline = found.arm("baseline").values["throughput/tokens_per_second"].mean
    for arm, c in found.contrasts.items():
        e = c.secondary["throughput/tokens_per_second"]
        assert shown[arm] == pytest.approx([100 * v / baseline for v in (e.estimate, e.low, e.high)])
    assert {pace.bar.arm for pace in series.speeds(found)} == set(shown)


def test_colour_of_the_heat_map_says_better_whatever_the_sign_of_good(found):
    shown = series.heat(found)
    row = dict((arm.name, tiles) for arm, tiles in shown.rows)["model.position=none"]
    assert all(not tile.good and tile.clear for tile in row)
    assert max(tile.strength for tile in row) == 1.0


def test_a_strip_puts_the_interval_where_its_numbers_are(found):
    bars = series.forest(found)
    axis = strips.axis(found, bars)
    for bar in bars:
        for value in (bar.low, bar.estimate, bar.high, *bar.points):
            position = float(axis.at(value).rstrip("%")) / 100
            assert axis.low + position * (axis.high - axis.low) == pytest.approx(value, abs=1e-3)
            assert 0 <= position <= 1


def test_the_nearer_view_shows_the_same_centre(found):
    axis = strips.axis(found, series.forest(found))
    assert axis.near
    zero = (0 - axis.low) / (axis.high - axis.low)
    assert zero * axis.zoom - axis.left == pytest.approx(0.5)  # zero stands in the middle
    edge = (axis.near - axis.low) / (axis.high - axis.low)
    assert edge * axis.zoom - axis.left == pytest.approx(1.0)


def test_many_curves_are_drawn_with_fewer_points_and_the_same_mean(found, evidence, monkeypatch):
    fine = series.curves(found, evidence.curves)
    monkeypatch.setattr(series, "ALL_POINTS", 10)
    coarse = series.curves(found, evidence.curves)
    assert {len(c.loss) for c in coarse} == {series.FEWEST}
    for a, b in zip(fine, coarse, strict=True):
        assert sum(a.loss) / len(a.loss) == pytest.approx(sum(b.loss) / len(b.loss), rel=0.01)


def test_the_first_curves_are_the_baseline_and_the_largest_effects(found):
    names = [arm.name for arm in found.arms]
    assert series.by_size(found, names)[:2] == ["baseline", "model.position=none"]
