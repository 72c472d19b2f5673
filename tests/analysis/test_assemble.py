"""From records to findings: verdicts, directions, failures, and studies that are only half there."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.analysis import analyze
from ablate.analysis.observed import observe
from ablate.records import Damage, StudyPaths, load_records, read_study

from . import synthetic

BASE = [70.0, 71.0, 69.5, 70.4, 70.9]
UP = [1.9, 2.1, 2.0, 2.2, 1.8]
NEAR = [0.02, -0.03, 0.01, 0.0, -0.01]
WIDE = [3.0, -2.0, 1.0, -1.5, 0.5]


def plus(differences):
    return [b + d for b, d in zip(BASE, differences, strict=True)]


def found_for(differences, **more):
    frozen = synthetic.study(["model.norm=rmsnorm"], **more)
    return analyze(frozen, synthetic.of(frozen, {"baseline": BASE, "model.norm=rmsnorm": plus(differences)}))


def contrast(found):
    return found.contrasts["model.norm=rmsnorm"]


def test_verdicts_of_a_clear_study():
    assert contrast(found_for(UP)).verdict == "helps"
    assert contrast(found_for([-d for d in UP])).verdict == "hurts"
    assert contrast(found_for(NEAR)).verdict == "equivalent"
    assert contrast(found_for(WIDE)).verdict == "inconclusive"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3, 3).map(lambda x: round(x, 3)), min_size=5, max_size=5), st.booleans())
def test_the_verdict_flips_with_the_sign_and_with_the_direction(differences, higher):
    flip = {"helps": "hurts", "hurts": "helps"}
    verdict = contrast(found_for(differences, higher_is_better=higher)).verdict
    mirrored = contrast(found_for([-d for d in differences], higher_is_better=higher)).verdict
    turned = contrast(found_for(differences, higher_is_better=not higher)).verdict
    assert mirrored == turned == flip.get(verdict, verdict)


def test_effect_is_arm_minus_reference():
    assert contrast(found_for(UP)).effect.estimate == pytest.approx(2.0)


def test_a_small_but_certain_difference_is_equivalent_and_said_to_be_real():
    c = contrast(found_for([0.10, 0.11, 0.09, 0.10, 0.10]))
    assert c.verdict == "equivalent"
    assert "real but below the margin" in c.reason


def test_an_inconclusive_arm_says_what_could_have_been_seen_and_what_would_settle_it():
    c = contrast(found_for(WIDE))
    assert c.resolvable is not None
    assert c.resolvable > 0.5
    assert f"{c.resolvable:.3g} points or more with 80 % power" in c.reason
    assert f"about {c.blocks_needed} blocks" in c.reason


def test_without_a_margin_nothing_is_equivalent():
    c = contrast(found_for(NEAR, margin=None))
    assert c.equivalence is None
    assert c.verdict == "inconclusive"
    assert "no margin" in c.reason


def test_a_cumulative_arm_is_contrasted_with_the_step_before_it():
    frozen = synthetic.study(["1: a", "2: b"], design="cumulative")
    arms = list(frozen.arms)
    arms[2] = arms[2].model_copy(update={"reference": "1: a"})
    frozen = frozen.model_copy(update={"arms": arms})
    values = {"baseline": BASE, "1: a": plus(UP), "2: b": [x + 1 for x in plus(UP)]}
    c = analyze(frozen, synthetic.of(frozen, values)).contrasts["2: b"]
    assert c.reference == "1: a"
    assert c.effect.estimate == pytest.approx(1.0)


def test_the_family_is_corrected_together_and_others_are_exploratory():
    frozen = synthetic.study(["a", "b", "c"], family=["a", "b"])
    values = {"baseline": BASE, "a": plus(UP), "b": plus(WIDE), "c": plus(UP)}
    found = analyze(frozen, synthetic.of(frozen, values)).contrasts
    assert found["a"].adjusted_p == pytest.approx(2 * found["a"].effect.p)
    assert found["c"].adjusted_p == found["c"].effect.p
    assert "exploratory" in found["c"].reason


def test_other_metrics_get_effects_without_verdicts():
    frozen = synthetic.study()
    secondary = analyze(frozen, synthetic.records(frozen)).contrasts["model.position=none"].secondary
    spent = {"spent/tokens", "spent/steps", "spent/flops"}
    assert {"eval/mlm_loss", "throughput/tokens_per_second", *spent, *synthetic.TASKS} == set(secondary)
    assert secondary["eval/mlm_loss"].low is not None


# --- what went wrong ---------------------------------------------------------------------------------


def test_one_block_is_inconclusive_and_says_so():
    frozen = synthetic.study(blocks=1)
    found = analyze(frozen, synthetic.records(frozen))
    for c in found.contrasts.values():
        assert c.verdict == "inconclusive"
        assert "one block" in c.reason
        assert c.effect.estimate is not None
    assert any("1 block" in w for w in found.warnings)


@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_differences_without_spread_are_inconclusive_and_said(shift):
    c = contrast(found_for([shift] * 5))
    assert c.verdict == "inconclusive"
    assert c.adjusted_p is None
    assert c.reason == c.effect.note


def test_a_study_without_records_has_no_answer_yet():
    frozen = synthetic.study()
    found = analyze(frozen, [])
    assert found.answer.startswith("No answer yet")
    assert all(arm.pending == 5 for arm in found.arms)
    assert any("20 of 20 trials have no record" in w for w in found.warnings)


def test_a_missing_baseline_is_said_and_nothing_is_concluded():
    frozen = synthetic.study()
    found = analyze(frozen, [r for r in synthetic.records(frozen) if r.arm != "baseline"])
    assert {c.verdict for c in found.contrasts.values()} == {"inconclusive"}
    assert any("no usable trial" in w for w in found.warnings)


def test_when_every_trial_failed_all_are_counted():
    frozen = synthetic.study()
    records = [
        synthetic.record(arm, block, state="out-of-memory", reason="CUDA out of memory")
        for arm, block in frozen.trials.values()
    ]
    found = analyze(frozen, records)
    assert all(arm.failures == {"out-of-memory": 5} and arm.completed == 0 for arm in found.arms)
    assert found.answer.startswith("No answer: ")


def test_non_finite_metrics_are_excluded_and_said():
    frozen = synthetic.study(["a"])
    records = synthetic.of(frozen, {"baseline": BASE, "a": plus(UP)})
    records[-1] = synthetic.record("a", 4, {synthetic.METRIC: math.nan, "eval/mlm_loss": math.inf})
    found = analyze(frozen, records)
    arm = found.arm("a")
    assert arm.completed == 4
    assert arm.failures == {"no outcome": 1}
    assert found.contrasts["a"].effect.n == 4
    assert arm.trials[-1].odd[0] == f"excluded: {synthetic.METRIC} is nan"
    assert "eval/mlm_loss" not in arm.values


def test_a_complete_trial_without_the_outcome_is_excluded_and_said():
    frozen = synthetic.study(["a"])
    found = analyze(frozen, [synthetic.record("a", 0, {"eval/mlm_loss": 3.0})])
    assert found.arm("a").trials[0].odd == (f"excluded: no {synthetic.METRIC}",)


def diverged_study(arm="a", state="diverged"):
    frozen = synthetic.study(["a", "b"])
    records = synthetic.of(frozen, {"baseline": BASE, "a": plus(UP), "b": plus([-5.0] * 4 + [-5.1])})
    lost = synthetic.record(arm, 2, state=state, reason="loss is nan at step 120")
    return frozen, [lost if (r.arm, r.block) == (arm, 2) else r for r in records]


def test_a_diverged_block_counts_as_the_worst_score_in_the_intention_to_treat_line():
    frozen, records = diverged_study()
    found = analyze(frozen, records)
    c = found.contrasts["a"]
    worst = min(plus([-5.0] * 4 + [-5.1]))
    assert c.effect.n == 4
    assert c.effect.estimate == pytest.approx(sum(UP[i] for i in (0, 1, 3, 4)) / 4)
    assert c.intention_to_treat is not None
    assert c.intention_to_treat.n == 5
    assert c.intention_to_treat.differences[2] == pytest.approx(worst - BASE[2])
    assert c.imputed == 1
    assert "among completed blocks only" in c.reason
    assert found.contrasts["b"].intention_to_treat is None


def test_a_diverged_baseline_is_imputed_too():
    frozen, records = diverged_study("baseline")
    c = analyze(frozen, records).contrasts["a"]
    assert c.effect.n == 4
    assert c.imputed == 1
    assert c.intention_to_treat is not None
    assert c.intention_to_treat.n == 5


def test_a_lost_process_is_not_the_arms_doing_and_stays_missing():
    frozen, records = diverged_study(state="lost")
    c = analyze(frozen, records).contrasts["a"]
    assert c.imputed == 0
    assert c.intention_to_treat is not None
    assert c.intention_to_treat.estimate == c.effect.estimate


def test_equivalence_that_a_diverged_block_would_overturn_is_of_completed_blocks_alone():
    frozen = synthetic.study(["a", "b"])
    near = [0.01, -0.02, 0.0, 0.02, -0.01]
    records = synthetic.of(frozen, {"baseline": BASE, "a": plus(near), "b": plus([-5.0] * 4 + [-5.1])})
    whole = analyze(frozen, records)
    assert whole.contrasts["a"].verdict == "equivalent"
    assert not whole.contrasts["a"].completed_only
    lost = synthetic.record("a", 2, state="diverged", reason="loss is nan at step 120")
    found = analyze(frozen, [lost if r.trial == lost.trial else r for r in records])
    c = found.contrasts["a"]
    assert (c.verdict, c.completed_only) == ("equivalent", True)
    assert "among completed blocks only" in c.reason
    assert "a (of completed blocks alone) is equivalent" in found.answer


def test_diverged_blocks_are_counted_under_the_familys_correction():
    """With the diverged block the arm has p = .02 alone and .12 among six: it does not help."""
    frozen = synthetic.study(["a", "b", "c", "d", "e", "f"], blocks=6, margin=None)
    base, steady = [70.0, 71.0, 69.5, 70.5, 70.2, 69.9], [1.0, 1.1, 0.9, 1.05, 0.95, 1.0]
    values = {"baseline": base, "a": [x + d for x, d in zip(base, steady, strict=True)]}
    values |= {
        arm: [x + d for x, d in zip(base, (0.4, -0.4, 0.3, -0.2, 0.1, -0.3), strict=True)] for arm in "bcdef"
    }
    records = synthetic.of(frozen, values)
    lost = synthetic.record("a", 0, state="diverged", reason="loss is nan")
    c = analyze(frozen, [lost if r.trial == lost.trial else r for r in records]).contrasts["a"]
    assert c.verdict == "helps"
    assert c.intention_to_treat.p < 0.05 < 6 * c.intention_to_treat.p
    assert c.completed_only


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_arms_without_a_score_are_named_with_what_became_of_them(state):
    frozen = synthetic.study(["a", "b"])
    records = synthetic.of(frozen, {"baseline": BASE, "a": plus(UP), "b": plus(UP)})
    gone = [synthetic.record(r.arm, r.block, state=state) if r.arm != "baseline" else r for r in records]
    nothing = analyze(frozen, gone)
    assert nothing.answer == (
        "No answer: no arm shares a completed block with its reference: "
        f"a (5 of 5 {state}), b (5 of 5 {state})."
    )
    assert nothing.contrasts["a"].intention_to_treat is None
    one = analyze(frozen, [g if g.arm == "b" else r for g, r in zip(gone, records, strict=True)])
    assert one.answer.endswith(f"; b (5 of 5 {state}) remains inconclusive.")


@pytest.mark.parametrize("paired", [True, False])
def test_a_baseline_of_which_every_trial_failed_leaves_nothing_to_compare(paired):
    frozen = synthetic.study(["a", "b"], paired=paired)
    values = {"baseline": BASE, "a": plus(UP), "b": plus(UP)}
    records = [
        synthetic.record(r.arm, r.block, state="diverged") if r.arm in ("baseline", "b") else r
        for r in synthetic.of(frozen, values)
    ]
    assert analyze(frozen, records).answer == (
        "No answer: no comparison is possible, because every trial of the baseline failed: "
        "baseline (5 of 5 diverged); so did every trial of b (5 of 5 diverged)."
    )
    # One trial of the baseline is still to come.
    open_ = analyze(frozen, [r for r in records if (r.arm, r.block) != ("baseline", 4)])
    assert open_.answer.startswith("No answer yet: no arm ")
    assert ("shares a completed block" in open_.answer) == paired


def test_trials_that_will_not_meet_are_no_answer_to_wait_for():
    frozen = synthetic.study(["a"], blocks=2)
    values = {"baseline": BASE[:2], "a": plus(UP)[:2]}
    lost = {("baseline", 0), ("a", 1)}
    records = [
        synthetic.record(r.arm, r.block, state="failed") if (r.arm, r.block) in lost else r
        for r in synthetic.of(frozen, values)
    ]
    assert analyze(frozen, records).answer == (
        "No answer: no arm shares a completed block with its reference."
    )


def test_unpaired_arms_keep_the_outcome_and_every_task_of_each_trial():
    frozen = synthetic.study(["a"], paired=False)
    records = synthetic.records(frozen)
    records[1] = synthetic.record(records[1].arm, records[1].block, state="diverged")
    found = analyze(frozen, records)
    usable = [r for r in records if r.state == "complete"]
    for arm in found.arms:
        assert arm.scores == {
            metric: {r.block: r.metrics[metric] for r in usable if r.arm == arm.name}
            for metric in (synthetic.METRIC, *synthetic.TASKS)
        }
    paired = synthetic.study(["a"])
    assert not any(arm.scores for arm in analyze(paired, synthetic.records(paired)).arms)


def test_a_busy_machine_is_a_rival_explanation_under_a_wall_clock():
    speed = "throughput/tokens_per_second"
    for amount, answer in ((1.05, "ruled out"), (1.9, "not ruled out")):
        frozen = synthetic.study(["a"])
        records = [
            r.model_copy(update={"metrics": {**r.metrics, speed: 1e4 * (amount if r.block == 1 else 1.0)}})
            for r in synthetic.of(frozen, {"baseline": BASE, "a": plus(UP)})
        ]
        found = analyze(frozen, records)
        (check,) = (c for c in found.contrasts["a"].checks if c.name == "hardware")
        assert check.answer == answer
        assert any("busy" in told for told in found.warnings) == (answer == "not ruled out")


def test_an_arm_that_diverged_somewhere_is_never_best():
    frozen, records = diverged_study()
    assert analyze(frozen, records).arm("a").standing == ""
    whole = analyze(frozen, synthetic.of(frozen, {"baseline": BASE, "a": plus(UP), "b": plus(WIDE)}))
    assert whole.arm("a").standing == ""  # WIDE overlaps it


def test_the_best_arm_must_beat_every_other():
    frozen = synthetic.study(["a", "b"])
    values = {"baseline": BASE, "a": plus(UP), "b": plus([-5.0, -5.1, -4.9, -5.0, -5.2])}
    assert analyze(frozen, synthetic.of(frozen, values)).arm("a").standing == "best"


# --- which records count -----------------------------------------------------------------------------


def test_records_of_unplanned_trials_are_set_aside_and_said():
    frozen = synthetic.study(["a"])
    stale = synthetic.record("a", 0, {synthetic.METRIC: 1.0}, trial="left-over")
    observed = observe(frozen, [*synthetic.of(frozen, {"baseline": BASE, "a": plus(UP)}), stale])
    assert observed.metric("a", synthetic.METRIC)[0] == plus(UP)[0]
    assert "left-over" in observed.warnings[0]


def test_a_renamed_arm_keeps_its_records():
    frozen = synthetic.study(["new"])
    trials = {("old-0" if t == "new-0" else t): cell for t, cell in frozen.trials.items()}
    frozen = frozen.model_copy(update={"trials": trials})
    observed = observe(frozen, [synthetic.record("old", 0, {synthetic.METRIC: 5.0})])
    assert observed.metric("new", synthetic.METRIC) == {0: 5.0}


def test_damaged_records_are_named():
    frozen = synthetic.study()
    path = StudyPaths(Path("/home/someone/runs/study")).trial(synthetic.trial_id("baseline", 1)).record
    found = analyze(frozen, synthetic.records(frozen)[:4], [Damage(path, f"{path} cannot be read: torn")])
    assert "not used: trials/baseline-1/record.json cannot be read: torn" in found.warnings
    # Its trial is lost, not one to come.
    assert found.arm("baseline").failures == {"unreadable": 1}
    assert (found.arm("baseline").pending, found.arm("model.norm=rmsnorm").pending) == (3, 4)


def test_post_hoc_changes_head_the_warnings():
    found = found_for(UP, post_hoc=["margin changed from 1 to 0.5 after data had arrived"])
    assert found.warnings[0].startswith("post hoc: margin changed")


def test_mixed_machines_are_said():
    frozen = synthetic.study(["a"])
    records = synthetic.of(frozen, {"baseline": BASE, "a": plus(UP)})
    records[0] = records[0].model_copy(update={"hardware": {"gpu": "Other GPU"}})
    assert any("2 different machines" in w for w in analyze(frozen, records).warnings)


def test_findings_survive_the_disk_and_are_plain_json(tmp_path):
    frozen = synthetic.study()
    synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False)
    records, damage = load_records(tmp_path)
    found = analyze(read_study(tmp_path), records, damage)
    assert found == analyze(frozen, synthetic.records(frozen))
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["answer"] == found.answer


def test_cost_counts_failures_too():
    frozen = synthetic.study(["a"], run={"rate_per_hour": 2.0})
    records = [synthetic.record("a", 0, state="diverged"), synthetic.record("a", 1, {synthetic.METRIC: 1.0})]
    cost = analyze(frozen, records).cost
    assert cost.charged_seconds == 180
    assert cost.money == pytest.approx(220 / 3600 * 2)


def test_a_remark_of_every_trial_is_told_once_and_makes_none_odd():
    study, records = synthetic.study(), synthetic.records(synthetic.study())
    both = [r.model_copy(update={"warnings": ["cut to 500 examples"]}) for r in records]
    both[0] = both[0].model_copy(update={"warnings": ["cut to 500 examples", "one torn checkpoint"]})
    found = analyze(study, both)
    assert found.warnings.count("every trial: cut to 500 examples") == 1
    assert [t.odd for arm in found.arms for t in arm.trials if t.odd] == [("one torn checkpoint",)]


def test_the_baseline_once_more_is_told_as_noise_and_answers_nothing():
    frozen = synthetic.study(["a", "again"], family=["a"])
    again = frozen.arms[-1].model_copy(update={"replicate": 1, "phase": "screen"})
    frozen = frozen.model_copy(update={"arms": [*frozen.arms[:-1], again]})
    found = analyze(frozen, synthetic.records(frozen, effects={"a": 5.0}))
    assert "again" not in found.answer
    assert found.contrasts["again"].correction == "none"
    assert "what differs is noise" in found.contrasts["again"].reason
    assert "screen" not in found.contrasts["again"].reason


def test_diverged_trials_count_in_an_unpaired_study_too():
    frozen = synthetic.study(["a"], paired=False)
    values = {"baseline": [70.0, 70.2, 69.9, 70.1, 70.3], "a": [71.0, 71.2, 71.1, 70.9, 71.3]}
    records = synthetic.of(frozen, values)
    records[-1] = synthetic.record("a", 4, state="diverged", reason="loss is nan")
    c = analyze(frozen, records).contrasts["a"]
    assert c.imputed == 1
    assert c.intention_to_treat.estimate == pytest.approx((71.0 + 71.2 + 71.1 + 70.9 + 69.9) / 5 - 70.1)
    assert c.effect.estimate == pytest.approx(71.05 - 70.1)
