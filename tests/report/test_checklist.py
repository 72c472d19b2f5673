"""The checklists: answers come from the records, and what no record knows is not answered."""

import pytest

from ablate.records import StudyPaths
from ablate.report import render_checklist

from ..analysis import synthetic


@pytest.fixture
def root(tmp_path):
    frozen = synthetic.study()
    return synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False)


def answers(root):
    return {(item["venue"], item["number"]): item for item in render_checklist(root)[1]}


def test_compute_and_statistics_are_the_records_own(root):
    found = answers(root)
    compute = found["acl", "C1"]
    assert compute["answer"] == "yes"
    for part in ("1.23 M", "20 trials", "90s", "Test CPU"):
        assert part in compute["text"]
    assert "Holm over the declared family of 3" in found["neurips", "7"]["text"]
    assert "±0.5 points" in found["neurips", "7"]["text"]


def test_a_study_changed_after_data_does_not_claim_to_be_preregistered(tmp_path):
    frozen = synthetic.study(post_hoc=["the margin was 0.2"])
    root = synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False)
    text = answers(root)["acl", "C3"]["text"]
    assert "before the first trial" not in text
    assert "the margin was 0.2" in text


def test_without_records_nothing_is_answered_yes_that_records_would_know(tmp_path):
    root = synthetic.write(tmp_path, synthetic.study(), [], curves=False)
    found = answers(root)
    assert found["acl", "B6"]["answer"] == "no"
    assert found["acl", "C4"]["answer"] == "no"
    assert found["acl", "C1"]["answer"] == "partly"
    assert found["acl", "C3"]["answer"] == "no"
    assert found["neurips", "1"]["answer"] == "no"
    assert found["neurips", "4"]["answer"] == "partly"  # by which code is not known


def test_what_a_paper_claims_no_record_knows(root):
    claims = answers(root)["neurips", "1"]
    assert claims["answer"] == "partly"
    assert "model.position=none" in claims["text"]
    assert "yours to say" in claims["text"]


def test_arms_that_lost_blocks_are_no_means_over_all_of_them(tmp_path):
    frozen = synthetic.study()
    found = [record for record in synthetic.records(frozen) if (record.arm, record.block) != ("baseline", 0)]
    root = synthetic.write(tmp_path, frozen, found, curves=False)
    assert "Means over 4 to 5 blocks" in answers(root)["acl", "C3"]["text"]


def test_knobs_tuned_for_every_arm_are_not_said_to_stay(tmp_path):
    search = {
        "name": "tune", "base": "baseline", "phase": "tune", "space": {"train.lr": "all"}, "sampler": {},
        "trials": 4, "blocks": [0], "seed": 0, "budget": {},
    }  # fmt: skip
    frozen = synthetic.study(searches=[search])
    root = synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False)
    text = answers(root)["acl", "C2"]["text"]
    assert "Tuned for every arm within the study: train.lr" in text
    assert "not tuned per arm" not in text


def test_one_venue_alone_and_what_is_left_to_the_authors(root):
    text, items = render_checklist(root, "neurips")
    assert {item["venue"] for item in items} == {"neurips"}
    assert "No record answers: 2 limitations" in text
    assert "ACL" not in text


def test_it_reads_and_writes_nothing_but_records(root):
    before = sorted(StudyPaths(root).root.rglob("*"))
    render_checklist(root)
    assert sorted(StudyPaths(root).root.rglob("*")) == before


def test_runs_without_pairing_recipe_or_plan_are_not_told_as_if_they_had_them(tmp_path):
    frozen = synthetic.study(paired=False, source="runs.csv", budget={})
    bare = [arm.model_copy(update={"recipe": {}}) for arm in frozen.arms]
    frozen = frozen.model_copy(update={"arms": bare})
    synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False)
    text, _ = render_checklist(tmp_path)
    assert "Welch" in text
    assert "No recipe was recorded" in text
    assert "after the runs" in text
    assert "ablate import runs.csv" in text
    for wrong in ("within-block", "share seed", "before the first trial", "complete recipe stands"):
        assert wrong not in text, wrong
