"""The plan states what follows from the study, and nothing that does not."""

from pathlib import Path

import pytest

from ablate.analysis import power
from ablate.records import FrozenStudy, Record
from ablate.scheduling.plan import SpreadOf, make_plan, pilot_spread
from ablate.scheduling.plantext import text
from tests.scheduling.conftest import study


def frozen_of(root: Path, **more: object) -> FrozenStudy:
    frozen = study(root, {"baseline": {}, "b": {}}, blocks=5)
    arms = [
        frozen.arms[0],
        frozen.arms[1].model_copy(update={"reference": "baseline", "changes": {"x": [1, 2]}}),
    ]
    return frozen.model_copy(update={"arms": arms, **more})


def record(trial: str, arm: str, block: int, score: float) -> Record:
    return Record(
        schema=1, study="faults", trial=trial, arm=arm, block=block, seed=block, state="complete", recipe={},
        budget={}, metrics={"test/score": score}, spent={"occupied": 20.0, "evaluation": 16.0},
    )  # fmt: skip


def test_hours_follow_from_a_time_budget(root: Path) -> None:
    plan = make_plan(frozen_of(root), [], workers=3, rate_per_hour=9.0)
    assert plan.trials == 10
    assert plan.training_hours == pytest.approx(10 * 10 / 3600)
    assert plan.wall_hours == pytest.approx(4 * 10 / 3600)
    assert plan.cost == pytest.approx(9 * 100 / 3600)


def test_hours_of_a_step_budget_are_unknown_until_a_trial_has_run(root: Path) -> None:
    frozen = frozen_of(root)
    steps = [arm.model_copy(update={"budget": {"unit": "steps", "amount": 10}}) for arm in frozen.arms]
    frozen = frozen.model_copy(update={"arms": steps})
    plan = make_plan(frozen, [], workers=1)
    assert (plan.training_hours, plan.hours, plan.wall_hours) == (None, None, None)
    assert "unknown until a trial has run" in text(plan)
    known = make_plan(frozen, [record("b-0", "b", 0, 1.0)], workers=1)
    assert known.hours == pytest.approx(10 * 36 / 3600)


def test_the_margin_is_resolved_at_the_stated_spread(root: Path) -> None:
    plan = make_plan(frozen_of(root), [], workers=1)
    spread = plan.resolution.largest_spread
    assert spread is not None
    assert power.t_power(1.0, spread, 5) == pytest.approx(0.8, abs=1e-3)


def test_finished_blocks_serve_as_a_pilot(root: Path) -> None:
    scores = [0.0, 1.0, 2.0, 3.0, 4.0]
    records = [record(f"b-{i}", "b", i, s) for i, s in enumerate(scores)]
    records += [record(f"baseline-{i}", "baseline", i, 0.0) for i in range(5)]
    found = make_plan(frozen_of(root), records, workers=1).resolution
    assert found.observed_spread == pytest.approx(1.5811, abs=1e-4)
    assert found.observed_blocks == power.blocks_needed(1.0, 1.5811388)


def test_the_text_shows_every_arm_with_its_exact_differences(root: Path) -> None:
    shown = text(make_plan(frozen_of(root), [], workers=1))
    assert "x: 1 → 2" in shown
    assert "2 arms × 5 blocks = 10 trials" in shown
    assert "warning: 5 blocks can never reach 0.05" in shown


def test_a_stated_spread_gives_every_contrast_its_smallest_effect_and_the_blocks_for_the_margin(
    root: Path,
) -> None:
    plan = make_plan(frozen_of(root), [], workers=1, pilot=SpreadOf(2.0, "stated"), watts=500)
    (contrast,) = plan.contrasts
    assert contrast.smallest_effect == power.resolvable(5, 2.0)
    assert contrast.blocks_needed == plan.resolution.observed_blocks == power.blocks_needed(1.0, 2.0)
    assert plan.resolution.hours_at_observed_blocks == pytest.approx(2 * contrast.blocks_needed * 10 / 3600)
    assert plan.energy_kwh == pytest.approx(0.5 * 100 / 3600)
    assert f"has {contrast.blocks_needed} blocks" in text(plan)


def test_an_a_a_pilot_is_the_baseline_against_itself(root: Path) -> None:
    frozen = frozen_of(root)
    again = frozen.arms[1].model_copy(update={"name": "again", "replicate": 1})
    trials = {f"again-{b}": ["again", b] for b in range(5)} | {
        f"baseline-{b}": ["baseline", b] for b in range(5)
    }
    pilot = frozen.model_copy(update={"arms": [frozen.arms[0], again], "trials": trials})
    records = [record(f"again-{i}", "again", i, float(i)) for i in range(5)]
    records += [record(f"baseline-{i}", "baseline", i, 0.0) for i in range(5)]
    found = pilot_spread(pilot, records)
    assert found == SpreadOf(pytest.approx(1.5811, abs=1e-4), "an A/A pilot", 4)
    assert pilot_spread(pilot, records[:3]) is None


def test_elastic_blocks_are_planned_as_a_range_and_say_what_they_spared(root: Path) -> None:
    elastic = frozen_of(root, elastic={"min": 3, "max": 5, "until": "settled"})
    kept = {t: cell for t, cell in elastic.trials.items() if cell[1] < 3}
    plan = make_plan(elastic.model_copy(update={"trials": kept}), [record("b-0", "b", 0, 1.0)], workers=1)
    assert [(p.least, p.most) for p in plan.parts] == [(6, 10)]
    assert plan.spared is not None
    assert (plan.spared.trials, plan.spared.most) == (4, 10)
    assert plan.spared.hours == pytest.approx(4 * 36 / 3600)
    assert "6 to 10 trials" in text(plan)
