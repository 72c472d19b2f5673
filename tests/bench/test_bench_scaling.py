"""The bench of scaling measures each recipe, fits on the right ones and says how far it is off on the others."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from ablate.bench import scaling, showscaling
from ablate.bench.errors import BenchError
from ablate.bench.points import AXES, held_out, points
from ablate.bench.sidebyside import parallel
from ablate.knobs import differences, replace
from ablate.recipe import PRESETS, preset
from ablate.speed.model import fit
from ablate.speed.trial import foresee
from ablate.speed.work import work
from tests.training.tiny import tiny

RECIPE = replace(
    tiny(),
    {"model.width": 32, "model.heads": 4, "model.layers": 4, "model.intermediate": 64, "data.length": 32,
     "train.micro_batch": 8, "train.batch": 16},
)  # fmt: skip


@pytest.fixture(scope="module")
def report() -> scaling.Report:
    return scaling.bench(RECIPE, "tiny", device="cpu", rounds=1, side_by_side=False, loop=lambda: 0.004)


def test_every_recipe_is_measured_and_only_those_on_the_axes_are_fitted(report: scaling.Report) -> None:
    assert [row.level for row in report.rows] == [point.level for point in points(RECIPE)]
    assert all(row.micro > 0 and row.update > 0 for row in report.rows)
    fitted, seen = [], []
    for point, row in zip(points(RECIPE), report.rows, strict=True):
        if point.fitted and point.recipe not in seen:
            seen.append(point.recipe)
            fitted.append((work(point.recipe.model_dump(mode="json"), row.parameters).micro, row.micro))
    assert report.model.micro == fit(*zip(*fitted, strict=True))
    assert set(report.model.held_out) == {row.level for row in report.rows if not row.fitted}


def test_the_model_predicts_the_rows_it_was_measured_on(report: scaling.Report) -> None:
    assert report.model.loop == 0.004
    row = next(row for row in report.rows if row.axis == "layers" and row.level == "4")
    plain = replace(RECIPE, {"train.batch": 8}).model_dump(mode="json")
    step = foresee(report.model, plain, row.parameters, {"unit": "steps", "amount": 1})
    assert step.seconds == pytest.approx(row.tokens / row.predicted + 0.004)
    assert step.tokens == row.tokens


def test_a_report_is_written_as_json_tables_and_figure(report: scaling.Report, tmp_path) -> None:
    showscaling.write(report, tmp_path)
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["rows"][0]["level"] == "2"
    assert found["model"]["held_out"] == report.model.held_out
    page = (tmp_path / "bench.md").read_text()
    assert all(f"| {title} |" in page for title in (*AXES, "held out of the fit"))
    root = ElementTree.parse(tmp_path / "scaling.svg").getroot()
    dots = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(dots) == len([row for row in report.rows if row.axis in AXES or not row.fitted])


@pytest.mark.parametrize("name", PRESETS)
def test_recipes_around_a_preset_can_be_trained_and_those_held_out_are_others(name: str) -> None:
    found = points(preset(name))
    assert {point.axis for point in found} >= {*AXES, "variant", "held out"}
    assert [point.level for point in found if point.recipe.problems()] == []
    fitted = [point.recipe for point in found if point.fitted]
    kept = held_out(preset(name))
    assert len(kept) == 8
    assert not [point for point in kept if point.recipe in fitted]
    for point in kept:  # off every axis: two sizes or knobs at least
        assert all(len(differences(point.recipe, recipe)) > 1 for recipe in fitted), point.level


def test_subjects_that_do_not_fit_into_memory_together_take_turns_in_groups() -> None:
    unique = scaling._unique(points(RECIPE))
    room = 3 * scaling.BYTES * max(one.parameters for one in unique)
    made = scaling.groups(unique, room)
    assert [one for group in made for one in group] == unique
    assert 1 < len(made) < len(unique)
    assert all(sum(one.parameters for one in group) * scaling.BYTES <= room for group in made)
    assert all(len(group) == 1 for group in scaling.groups(unique, 1.0))


def test_two_processes_side_by_side_answer_with_their_rates() -> None:
    found = parallel(RECIPE, rounds=2, seconds=0.1)
    if found is None:
        pytest.skip("needs two cores")
    assert min(found.alone, found.together, found.alone_cpu, found.together_cpu) > 0
    assert found.to_dict()["kept"] == found.together / found.alone


def test_a_process_that_ends_is_told() -> None:
    with pytest.raises(BenchError, match="a process beside the bench ended"):
        parallel(replace(RECIPE, {"model.heads": 3}), rounds=1, seconds=0.1)


def test_a_vocabulary_that_is_not_stated_is_refused_with_the_way_out(tmp_path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    recipe = replace(RECIPE, {"data.tokenizer": {"kind": "given", "path": str(file)}})
    with pytest.raises(BenchError, match="take a recipe whose data.tokenizer states a vocabulary"):
        scaling.bench(recipe, "tiny", device="cpu")
