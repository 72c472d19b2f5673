"""Arms differ from their reference in what they claim and in nothing else; identities survive renaming."""

import pytest

from ablate.design import arms, freeze, revise
from ablate.knobs import get
from ablate.study import Study

HEAD = """\
question: Does it bite?
baseline: crammed-small
budget: 10 steps
outcome: {metric: eval/mlm_loss, margin: 0.05}
"""
ONE = """
design:
  factors:
    model.position: [rope, {kind: rope, theta: 500}, none]
    train.lr: [1e-2]
    budget: [0 steps, 20 steps]
  groups: {biases: {model.attention.qkv_bias: true, model.linear_bias: true}}
  blocks: 3
"""
STEPS = """
design:
  kind: cumulative
  groups: {biases: {model.attention.qkv_bias: true, model.linear_bias: true}}
  steps: [{model.position: learned}, biases, {model.norm_placement: post, train.lr: 1e-4}]
  blocks: 2
"""


@pytest.fixture
def load(tmp_path):
    def load(text, name="study.yaml"):
        (tmp_path / name).write_text(text)
        return Study.load(tmp_path / name)

    return load


def test_one_factor_changes_one_knob_per_arm(load):
    found = arms(load(HEAD + ONE))
    assert [a.name for a in found] == [
        "baseline", "model.position=rope", "model.position=rope(theta=500)", "model.position=none",
        "train.lr=0.01", "budget=0 steps", "budget=20 steps", "biases",
    ]  # fmt: skip
    changed = [set(a.changes(found[0])) for a in found]
    assert changed == [
        set(), {"model.position"}, {"model.position"}, {"model.position"}, {"train.lr"}, {"budget"}, {"budget"},
        {"model.attention.qkv_bias", "model.linear_bias"},
    ]  # fmt: skip
    assert all(a.reference == "baseline" for a in found[1:])


def test_a_cumulative_design_adds_a_step_to_the_arm_before(load):
    found = arms(load(HEAD + STEPS))
    assert [a.name for a in found] == [
        "baseline", "1: model.position=learned", "2: biases", "3: model.norm_placement=post, train.lr=0.0001",
    ]  # fmt: skip
    assert [a.reference for a in found] == [None, "baseline", "1: model.position=learned", "2: biases"]
    for before, arm in zip(found, found[1:], strict=False):
        assert set(before.changes(found[0])) < set(arm.changes(found[0]))
    assert get(found[-1].recipe, "model.position").kind == "learned"


def test_every_block_holds_every_arm_once(load):
    frozen = freeze(load(HEAD + ONE), created="2026-01-01T00:00:00Z")
    assert len(frozen.trials) == 8 * 3
    held = {(name, block) for name, block in frozen.trials.values()}
    assert held == {(a.name, block) for a in frozen.arms for block in range(3)}


def test_identity_depends_on_recipe_block_and_budget_and_not_on_names(load):
    first = freeze(load(HEAD + ONE), created="")
    renamed = freeze(load(HEAD.replace("Does it bite?", "Really?") + ONE, "other.yaml"), created="later")
    assert set(first.trials) == set(renamed.trials)
    longer = freeze(load(HEAD.replace("10 steps", "11 steps") + ONE), created="")
    same = set(first.trials) & set(longer.trials)
    assert {first.trials[t][0] for t in same} == {"budget=0 steps", "budget=20 steps"}


def test_more_blocks_keep_the_trials_there_are(load):
    first = freeze(load(HEAD + ONE), created="")
    more = freeze(load(HEAD + ONE.replace("blocks: 3", "blocks: 5")), created="")
    assert set(first.trials) < set(more.trials)
    revised, told = revise(first, more, has_data=True)
    assert revised.post_hoc == []
    assert told[0].startswith("added 16 trials")


def test_a_changed_margin_or_family_after_data_is_post_hoc_and_before_data_is_not(load):
    first = freeze(load(HEAD + ONE), created="t0")
    edited = HEAD.replace("margin: 0.05", "margin: 0.5") + ONE.replace("[1e-2]", "[1e-2, 1e-4]")
    second = freeze(load(edited), created="t1")
    revised, told = revise(first, second, has_data=True)
    assert [line.split(" changed")[0] for line in revised.post_hoc] == ["margin", "family"]
    assert revised.created == "t0"
    assert any("train.lr=0.0001" in line for line in told)
    assert revise(first, second, has_data=False)[0].post_hoc == []
    again, _ = revise(revised, second, has_data=True)
    assert again.post_hoc == revised.post_hoc


def test_a_frozen_study_holds_whole_recipes_and_the_papers_words(load):
    frozen = freeze(load(HEAD + ONE), created="")
    assert frozen.arms[1].recipe["model"]["position"]["kind"] == "rope"
    assert frozen.arms[1].changes == {"model.position": [{"kind": "scaled-sinusoidal"}, {"kind": "rope"}]}
    claims = frozen.model_dump()["claims"]
    assert set(claims) == {"model.position", "train.lr", "model.attention.qkv_bias", "model.linear_bias"}
    assert all(c["meaning"] for c in claims.values())
    assert frozen.outcome["higher_is_better"] is False
