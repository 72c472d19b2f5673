"""A plan says what trials will take and see where the machine's speed is known, and why not where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablate.design.freeze import freeze
from ablate.records import FrozenStudy, Record, StudyPaths, write_json
from ablate.scheduling.foresight import foresight
from ablate.scheduling.plan import make_plan
from ablate.scheduling.planning import plan_study
from ablate.scheduling.plantext import text
from ablate.speed.saved import Machine, folder, save
from ablate.speed.trial import foresee
from ablate.study import Study
from tests.speed.models import made_up

HERE = Machine("a CPU", 1)
FILE = """
question: How long?
baseline: {preset: crammed-small, set: {train.precision: fp32}}
budget: BUDGET
design: {factors: {model.layers: [2], train.optimizer: [lion], model.position: [rope]}, blocks: 2}
outcome: {metric: eval/mlm_loss, margin: 0.1}
run: {gpus_per_trial: 0, workers: 1, threads: 1}
"""


def frozen(folder: Path, budget: str = "1e8 tokens") -> FrozenStudy:
    file = folder / "long.yaml"
    file.write_text(FILE.replace("BUDGET", budget))
    return freeze(Study.load(file), created="2026-11-28T00:00:00+00:00")


def planned(study: FrozenStudy, records: list[Record] | None = None, models: list[Any] | None = None) -> Any:
    ahead = foresight(study, HERE, [made_up()] if models is None else models, [])
    return make_plan(study, records or [], workers=1, foresight=ahead)


def record(study: FrozenStudy, arm: str, **spent: float) -> Record:
    trial = next(trial for trial, (name, _) in study.trials.items() if name == arm)
    return Record(schema=1, study=study.name, trial=trial, arm=arm, block=0, seed=0, state="complete", recipe={},
                  budget={}, metrics={"eval/mlm_loss": 3.0}, spent=spent)  # fmt: skip


def test_hours_of_a_token_budget_are_predicted_and_marked(tmp_path: Path) -> None:
    study = frozen(tmp_path)
    plan = planned(study)
    arms = {arm.name: arm for arm in plan.arms}
    base = study.arms[0]
    hours = foresee(made_up(), base.recipe, base.parameters, base.budget).seconds / 3600
    assert arms["baseline"].training_hours == pytest.approx(hours)
    assert arms["baseline"].tokens == pytest.approx(1e8)
    assert arms["model.layers=2"].training_hours < hours
    assert plan.predicted == ["baseline", "model.layers=2", "model.position=rope"]
    assert plan.predicted_within == 0.2
    assert plan.training_hours is None  # lion's hours are not known
    shown = text(plan)
    assert f"1e+08 tokens, {hours:.2f} h predicted]" in shown
    assert "predicted by `ablate bench scaling` of 2026-11-28 (±20 %)" in shown
    assert "train.optimizer=lion: not predicted: train.optimizer" in shown


def test_the_hours_of_all_arms_add_up(tmp_path: Path) -> None:
    study = frozen(tmp_path)
    known = [arm for arm in study.arms if arm.name != "train.optimizer=lion"]
    names = {arm.name for arm in known}
    trials = {t: cell for t, cell in study.trials.items() if cell[0] in names}
    plan = planned(study.model_copy(update={"arms": known, "trials": trials}))
    assert plan.training_hours == pytest.approx(2 * sum(arm.training_hours for arm in plan.arms))
    assert plan.wall_hours == pytest.approx(plan.training_hours)
    assert "(predicted; start-up and evaluation come on top)" in text(plan)


def test_a_time_budget_shows_which_arm_sees_fewer_tokens(tmp_path: Path) -> None:
    plan = planned(frozen(tmp_path, "2h"))
    tokens = {arm.name: arm.tokens for arm in plan.arms}
    assert tokens["model.layers=2"] > tokens["baseline"]
    assert tokens["train.optimizer=lion"] is None
    assert plan.training_hours == pytest.approx(16.0)
    assert f"2h, {tokens['baseline'] / 1e6:.3g} M tokens predicted]" in text(plan)


def test_finished_trials_override_predictions(tmp_path: Path) -> None:
    study = frozen(tmp_path, "2h")
    plan = planned(study, [record(study, "baseline", tokens=123e6, seconds=7200.0, occupied=7300.0),
                           record(study, "train.optimizer=lion", tokens=50e6, seconds=7200.0, occupied=7300.0)])  # fmt: skip
    arms = {arm.name: arm for arm in plan.arms}
    assert (arms["baseline"].tokens, arms["baseline"].observed) == (123e6, True)
    assert arms["train.optimizer=lion"].tokens == 50e6
    assert arms["baseline"].pace == "measured on 1 finished trial"
    assert "baseline" not in plan.predicted
    assert "123 M tokens measured]" in text(plan)
    assert "M tokens predicted]" in text(plan)


def test_a_model_that_was_further_off_says_so(tmp_path: Path) -> None:
    plan = planned(frozen(tmp_path), models=[made_up(held_out={"small": 0.234, "large": -0.02})])
    assert plan.predicted_within == 0.234
    assert "(±23 %)" in text(plan)


def test_without_a_saved_model_a_line_says_how_to_get_one(tmp_path: Path) -> None:
    plan = planned(frozen(tmp_path), models=[])
    assert plan.predicted == []
    assert all(arm.tokens is None for arm in plan.arms)
    assert "no speeds of a CPU, 1 thread are saved; `ablate bench scaling` measures them" in text(plan)


def test_a_precision_that_was_not_measured_is_not_predicted(tmp_path: Path) -> None:
    plan = planned(frozen(tmp_path), models=[made_up(precision="bf16")])
    assert "train.precision fp32, not compiled, was not measured here" in text(plan)


def test_a_budget_that_counts_start_up_is_not_predicted(tmp_path: Path) -> None:
    study = frozen(tmp_path, "2h").model_copy(update={"charge": "occupied"})
    assert "charge: occupied counts start-up" in text(planned(study))


# --- from files ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_broken_file_is_a_note_and_the_plan_stands(tmp_path: Path) -> None:
    frozen(tmp_path)
    save(made_up(device=Machine.cpu(1).device), "crammed-small")
    (folder() / "torn.json").write_text("{")
    (folder() / "newer.json").write_text(json.dumps({"schema": 2}))
    plan = plan_study(tmp_path / "long.yaml", tmp_path / "runs")
    assert plan.predicted
    assert len(plan.notes) == 2
    shown = text(plan)
    assert "torn.json cannot be read" in shown
    assert "newer.json was written by a newer ablate" in shown


def test_the_wall_clock_is_that_of_the_workers_that_will_run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cores = len(os.sched_getaffinity(0))
    file = tmp_path / "long.yaml"
    file.write_text(
        FILE.replace("BUDGET", "1h").replace("gpus_per_trial: 0, workers: 1", f"workers: {cores + 6}")
    )
    plan = plan_study(file, tmp_path / "runs")
    assert plan.workers == cores
    assert any(f"asks for {cores + 6} trials at once; here {cores} run" in told for told in plan.warnings)
    assert plan_study(file, tmp_path / "runs", cores + 6).workers == cores + 6  # a larger machine's


def test_a_frozen_study_is_predicted_without_torch(tmp_path: Path) -> None:
    study = frozen(tmp_path)
    write_json(StudyPaths(tmp_path / "runs" / "long").study, study)
    save(made_up(device=Machine.cpu(1).device), "crammed-small")
    program = (
        "import sys; from pathlib import Path; from ablate.scheduling.planning import plan_study\n"
        f"plan = plan_study(Path({str(tmp_path / 'long.yaml')!r}), Path({str(tmp_path / 'runs')!r}))\n"
        "assert len(plan.predicted) == 3, plan\n"
        "assert not {'torch', 'lightning', 'scipy.optimize'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
