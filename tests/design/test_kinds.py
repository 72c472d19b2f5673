"""Crossed, fractional and cumulative designs are what textbooks say they are; checked on their arms."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyDOE3 import fracfact_aliasing

from ablate.design import arms, freeze
from ablate.design.fraction import NoFractionError, fraction
from ablate.study import Study, StudyError
from ablate.words import roman

HEAD = """\
question: Does it bite?
baseline: crammed-small
budget: 10 steps
outcome: {metric: eval/mlm_loss, margin: 0.05}
"""
FACTORS = """\
  factors:
    model.position: [rope]
    model.norm_placement: [post]
    train.lr: [1e-2]
    train.clip: [null]
  groups: {biases: {model.attention.qkv_bias: true, model.linear_bias: true}}
"""


@pytest.fixture
def load(tmp_path):
    def load(design):
        (tmp_path / "study.yaml").write_text(HEAD + "design:\n" + design)
        return Study.load(tmp_path / "study.yaml")

    return load


@st.composite
def fractions(draw):
    resolution = draw(st.sampled_from([3, 4, 5]))
    return draw(st.integers(resolution, 10)), resolution


@settings(deadline=None, max_examples=25)
@given(fractions())
def test_a_fraction_is_balanced_orthogonal_holds_the_baseline_and_keeps_its_resolution(drawn):
    factors, resolution = drawn
    found = fraction([f"f{i}" for i in range(factors)], resolution)
    signs = np.where(np.array(found.runs), 1, -1)
    assert not any(found.runs[0]), "the baseline is a run"
    assert len(set(found.runs)) == len(found.runs)
    assert (signs.T @ signs == len(signs) * np.eye(factors)).all(), "balanced and orthogonal"
    assert found.resolution is None or found.resolution >= resolution
    for length in range(1, resolution):
        for word in itertools.combinations(range(factors), length):
            assert abs(signs[:, word].prod(axis=1).sum()) < len(signs), "no word shorter than the resolution"


# Runs of the smallest two-level fractions (Box, Hunter & Hunter 2005, table 6.22).
@pytest.mark.parametrize(
    ("factors", "resolution", "runs"),
    [(3, 3, 4), (4, 4, 8), (5, 3, 8), (5, 5, 16), (6, 4, 16), (7, 3, 8), (7, 4, 16), (8, 4, 16), (8, 5, 64),
     (9, 3, 16), (9, 4, 32), (10, 5, 128), (11, 4, 32), (15, 3, 16)],
)  # fmt: skip
def test_fractions_are_as_small_as_the_books(factors, resolution, runs):
    assert len(fraction([f"f{i}" for i in range(factors)], resolution).runs) == runs


def test_aliases_agree_with_pydoe3_and_carry_their_signs():
    found = fraction(["a", "b", "c", "d", "e"], 3)
    signs = np.where(np.array(found.runs), 1.0, -1.0)
    theirs, _ = fracfact_aliasing(-signs)  # theirs knows positive words only
    short = {frozenset(w for w in chain.split(" = ") if len(w) <= 2) for chain in theirs}
    ours = {
        frozenset(w.removeprefix("-").replace("×", "") for w in chain.split(" = ")) for chain in found.aliases
    }
    assert ours == {chain for chain in short if len(chain) > 1}
    column = dict(zip("abcde", signs.T, strict=True))
    for chain in found.aliases:
        first, *rest = chain.split(" = ")
        value = np.prod([column[f] for f in first.split("×")], axis=0)
        for word in rest:
            sign = -1 if word.startswith("-") else 1
            assert (
                sign * np.prod([column[f] for f in word.removeprefix("-").split("×")], axis=0) == value
            ).all()


def test_a_fraction_that_does_not_exist_says_what_does():
    with pytest.raises(NoFractionError, match=r"3 factors have no fraction of resolution IV.*resolution: 3"):
        fraction(["a", "b", "c"], 4)
    assert [roman(r) for r in (3, 4, 5, None)] == ["III", "IV", "V", "full"]


def test_a_factorial_crosses_every_level_with_every_other(load):
    found = arms(load("  kind: factorial\n  factors: {model.position: [rope, none], train.lr: [1e-2]}\n"))
    assert len(found) == 3 * 2
    cells = {(a.levels["model.position"], a.levels["train.lr"]) for a in found}
    assert cells == set(itertools.product(["scaled-sinusoidal", "rope", "none"], ["0.001", "0.01"]))
    for arm in found:
        changed = {f for f, level in arm.levels.items() if level != found[0].levels[f]}
        assert set(arm.changes(found[0])) == changed


def test_a_fractional_study_states_resolution_and_aliases_and_every_arms_levels(load):
    frozen = freeze(load("  kind: fractional\n" + FACTORS + "  blocks: 2\n"), created="")
    assert (len(frozen.arms), frozen.resolution) == (16, 5), "the half fraction's one word has all five"
    frozen = freeze(load("  kind: fractional\n  resolution: 3\n" + FACTORS), created="")
    assert (len(frozen.arms), frozen.resolution) == (8, 3)
    assert any("model.position" in chain for chain in frozen.aliases)
    assert set(frozen.factors) == {
        "model.position",
        "model.norm_placement",
        "train.lr",
        "train.clip",
        "biases",
    }
    assert frozen.factors["biases"] == ["off", "on"]
    assert all(set(arm.levels) == set(frozen.factors) for arm in frozen.arms)
    counts = [sum(arm.levels["biases"] == level for arm in frozen.arms) for level in ("off", "on")]
    assert counts == [4, 4]


def test_a_probe_adds_crossed_arms_outside_the_family_and_repeats_none(load):
    plain = arms(load("  kind: one-factor\n" + FACTORS))
    frozen = freeze(
        load("  kind: one-factor\n" + FACTORS + "  probe: {blocks: 2}\n  blocks: 4\n"), created=""
    )
    probe = [arm for arm in frozen.arms if arm.group == "probe"]
    assert [a.name for a in frozen.arms[: len(plain)]] == [a.name for a in plain]
    assert probe
    assert all(len(arm.changes) > 1 and arm.phase == "screen" for arm in probe)
    assert not {arm.name for arm in probe} & set(frozen.family)
    held = [block for name, block in frozen.trials.values() if name == probe[0].name]
    assert held == [0, 1]


def test_a_replicate_shares_the_baselines_recipe_and_is_a_trial_of_its_own(load):
    frozen = freeze(load("  factors: {model.position: [rope]}\n  replicates: 2\n  blocks: 3\n"), created="")
    again = frozen.arms[-1]
    assert (again.name, again.replicate, again.changes, again.reference) == (
        "baseline again",
        1,
        {},
        "baseline",
    )
    assert len(frozen.trials) == 9
    assert frozen.family == ["model.position=rope"]


def test_back_takes_the_steps_away_in_the_order_they_came(load):
    found = arms(
        load(
            "  kind: cumulative\n  back: true\n"
            "  steps: [{model.position: rope}, {model.norm_placement: post}, {train.lr: 1e-2}]\n"
        )
    )
    assert [a.name for a in found[4:]] == [
        "back 1: without model.position=rope", "back 2: without model.norm_placement=post",
    ]  # fmt: skip
    assert [a.reference for a in found[4:]] == [found[3].name, found[4].name]
    assert set(found[4].changes(found[0])) == {"model.norm_placement", "train.lr"}
    assert set(found[5].changes(found[0])) == {"train.lr"}


WRONG = [
    ("  kind: factorial\n  factors: {model.position: [rope]}\n", "design", "at least two factors"),
    ("  kind: fractional\n  factors: {model.position: [rope, none], train.lr: [1e-2]}\n",
     "design.factors.model.position.1", "one level besides the baseline's"),
    ("  kind: fractional\n  factors: {model.position: [rope], train.lr: [1e-2], train.clip: [null]}\n",
     "design.resolution", "use `resolution: 3`"),
    ("  kind: one-factor\n  factors: {model.position: [rope]}\n  steps: [{train.lr: 1}]\n", "design.steps", "belongs to kind: cumulative"),
    ("  kind: cumulative\n  factors: {model.position: [rope]}\n", "design.factors", "its keys are groups, steps, back"),
    ("  kind: one-factor\n  factors: {model.position: [rope], train.lr: [1e-2]}\n  probe: {factors: [modle.position]}\n", "design.probe.factors", "no factor or group 'modle.position'"),
    ("  kind: one-factor\n  factors: {model.position: [rope]}\n  probe: true\n", "design", "at least two factors or groups"),
    ("  kind: one-factor\n  factors: {train.lr: [1e-2]}\n  tune: [train.lr]\n", "design.tune", "either varied or tuned"),
    ("  kind: one-factor\n  factors: {train.lr: [1e-2]}\n  blocks: {min: 5, max: 4}\n", "design.blocks", "min must be below max"),
    ("  kind: one-factor\n  factors: {train.lr: [1e-2]}\n  blocks: {min: 3, max: 4, until: setled}\n", "design.blocks.until", "settled"),
    ("  kind: search\n  space: {train.lr: all}\n", "design", "needs `trials`"),
    ("  kind: search\n  trials: 5\n", "design", "needs `space`"),
    ("  kind: search\n  trials: 5\n  space: {train.lrr: all}\n", "design.space.train.lrr", "did you mean 'train.lr'"),
    ("  kind: search\n  trials: 5\n  space: {train.lr: {low: 1e-9, high: 1e-2}}\n", "design.space.train.lr", "must lie within"),
    ("  kind: search\n  trials: 5\n  space: {train.lr: {low: 1e-2, high: 1e-3}}\n", "design.space.train.lr", "low must be below high"),
    ("  kind: search\n  trials: 5\n  space: {model.position: [rpoe]}\n", "design.space.model.position.0", "did you mean 'rope'"),
    ("  kind: search\n  trials: 5\n  space: {model.position: {low: 1, high: 2}}\n", "design.space.model.position", "list its levels"),
    ("  kind: search\n  trials: 5\n  sampler: tpee\n  space: {train.lr: all}\n", "design.sampler", "did you mean 'tpe'"),
    ("  kind: search\n  trials: 5\n  sampler: nsga2\n  space: {train.lr: all}\n", "design.sampler", "two outcomes"),
    ("  kind: search\n  sampler: grid\n  space: {train.lr: all}\n", "design.space.train.lr", "needs a list of levels"),
    ("  kind: search\n  trials: 5\n  space: {train.lr: all}\n  pruner: successive-halving\n  blocks: 3\n", "design.pruner", "blocks: 1"),
    ("  kind: search\n  trials: 5\n  space: {train.lr: all}\n  pruner: wilcoxon\n  blocks: 2\n", "design.pruner", "set `blocks` higher"),
    ("  kind: search\n  trials: 5\n  space: {train.lr: all}\n  prior: [runs/nowhere]\n", "design.prior.0", "no study.json"),
]  # fmt: skip


@pytest.mark.parametrize(("design", "key", "says"), WRONG)
def test_each_mistake_in_a_design_names_its_key_and_way_out(load, design, key, says):
    with pytest.raises(StudyError) as caught:
        load(design)
    told = caught.value.problems
    assert any(p.key == key and says in p.message for p in told), [(p.key, p.message) for p in told]
    assert all(p.line > 1 for p in told)
