"""Interactions from factorial data: the truth is found, aliases are named, statsmodels agrees."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from ablate.analysis import analyze
from ablate.analysis.factorial import interactions, is_factorial

from . import synthetic

FACTORS = {"a": ("0", "1"), "b": ("0", "1"), "c": ("0", "1")}
REFERENCE = dict.fromkeys(FACTORS, "0")


def full(factors=FACTORS):
    return {
        "".join(cell): dict(zip(factors, cell, strict=True)) for cell in itertools.product(*factors.values())
    }


def drawn(levels, rng, blocks=3, noise=0.3, truth=lambda v: v["a"] + 0.3 * v["b"] - 0.8 * v["a"] * v["b"]):
    luck = rng.normal(0, 2, blocks)
    return {
        arm: {
            k: 70 + luck[k] + truth({f: float(x) for f, x in own.items()}) + rng.normal(0, noise)
            for k in range(blocks)
        }
        for arm, own in levels.items()
    }


def terms(found):
    return {t.name: t for t in found.terms}


def test_the_truth_is_inside_the_intervals():
    found = terms(interactions(full(), drawn(full(), np.random.default_rng(0), blocks=20), REFERENCE))
    # Averaged over b: a is 1 − 0.8/2; an interaction's coefficient is the product's whole change.
    for name, truth in {"a=1": 0.6, "b=1": -0.1, "c=1": 0.0, "a=1 × b=1": -0.8, "a=1 × c=1": 0.0}.items():
        assert found[name].low <= truth <= found[name].high
        assert found[name].estimate == pytest.approx(truth, abs=0.2)


def test_a_balanced_study_agrees_with_least_squares_on_blocks():
    levels = full()
    values = drawn(levels, np.random.default_rng(1))
    found = interactions(levels, values, REFERENCE)
    rows = [
        {**{f: float(x) - 0.5 for f, x in levels[arm].items()}, "block": k, "y": y}
        for arm, blocks in values.items()
        for k, y in blocks.items()
    ]
    fit = smf.ols("y ~ (a + b + c)**2 + C(block)", pd.DataFrame(rows)).fit()
    assert found.model == "mixedlm"
    assert found.df == fit.df_resid
    for ours, theirs in {"a=1": "a", "a=1 × b=1": "a:b"}.items():
        assert terms(found)[ours].estimate == pytest.approx(fit.params[theirs], rel=1e-4)
        assert terms(found)[ours].p == pytest.approx(fit.pvalues[theirs], rel=1e-2, abs=1e-6)


def test_aliases_of_a_fraction_are_named():
    half = {k: v for k, v in full().items() if sum(map(int, v.values())) % 2 == 0}  # c = a·b: resolution III
    found = interactions(half, drawn(half, np.random.default_rng(2)), REFERENCE)
    assert terms(found)["c=1"].aliases == ("a=1 × b=1",)
    assert "a=1 = b=1 × c=1" in found.aliased


def test_levels_beyond_two_are_contrasts_with_the_reference():
    factors = {"a": ("0", "1", "2"), "b": ("0", "1")}
    values = drawn(full(factors), np.random.default_rng(3), blocks=10, truth=lambda v: v["a"] ** 2)
    found = terms(interactions(full(factors), values, dict.fromkeys(factors, "0")))
    assert found["a=1"].estimate == pytest.approx(1, abs=0.3)
    assert found["a=2"].estimate == pytest.approx(4, abs=0.3)


def test_one_block_is_fitted_by_least_squares_and_too_little_data_by_nothing():
    found = interactions(full(), drawn(full(), np.random.default_rng(4), blocks=1), REFERENCE)
    assert found.model == "ols"
    assert found.df == 1
    tiny = {k: v for k, v in full().items() if k in ("000", "110")}
    assert interactions(tiny, drawn(tiny, np.random.default_rng(5), blocks=1), REFERENCE) is None


THREE = {"a": ("0", "1", "2"), "b": ("0", "1")}


def three(rng, truth, kept=lambda v: True):
    """Three levels by two, without the cells that are not kept."""
    levels = {arm: v for arm, v in full(THREE).items() if kept(v)}
    return interactions(levels, drawn(levels, rng, blocks=6, truth=truth), dict.fromkeys(THREE, "0"))


def test_a_factor_that_lost_its_reference_level_has_no_effects():
    found = three(np.random.default_rng(8), lambda v: v["a"] ** 2 + 0.5 * v["b"], lambda v: v["a"] != "0")
    # What differs between a=1 and a=2 was once reported as the effect of a=1: −3 where the truth is +1.
    assert set(terms(found)) == {"b=1"}
    assert terms(found)["b=1"].low <= 0.5 <= terms(found)["b=1"].high
    assert found.sd_residual < 0.5  # the levels' own difference is not taken for noise
    assert found.notes == (
        "no trial is left at the reference level a=0: the effects of a cannot be estimated",
    )
    assert not found.aliased


def test_an_interaction_with_an_empty_cell_is_not_half_reported():
    def truth(v):
        return 2.0 * (v["a"] == 2) * v["b"]  # a=1 × b=1 is 0, and was once −2, with p < .001

    found = three(np.random.default_rng(9), truth, lambda v: (v["a"], v["b"]) != ("0", "1"))
    assert set(terms(found)) == {"a=1", "a=2", "b=1"}
    assert "a × b cannot be estimated beside the other terms and is taken as zero" in found.notes


def test_blocks_that_hold_one_level_each_say_nothing_of_it():
    values = drawn(full(), np.random.default_rng(10), blocks=2)
    apart = {arm: {k: y for k, y in own.items() if k == int(arm[0])} for arm, own in values.items()}
    found = interactions(full(), apart, REFERENCE)
    assert "a=1" not in terms(found)
    assert "a=1 cannot be estimated beside the other terms and is taken as zero" in found.notes


@pytest.mark.parametrize("luck", [0.0, 2.0])
def test_without_spread_there_is_nothing_to_test(luck):
    values = drawn(full(), np.random.default_rng(11), noise=0.0)
    if not luck:
        values = {arm: dict.fromkeys(own, 70.1) for arm, own in values.items()}
    found = interactions(full(), values, REFERENCE)
    assert found.terms == ()
    assert "no spread to test against" in found.notes[-1]


def test_blocks_that_do_not_differ_print_no_warning():
    rng = np.random.default_rng(12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            values = {arm: {k: rng.normal() for k in range(5)} for arm in full()}
            assert interactions(full(), values, REFERENCE) is not None


def test_blocks_that_differ_by_noise_alone_are_no_failure_of_the_model():
    rng, models = np.random.default_rng(13), set()
    for _ in range(20):
        values = {arm: {k: rng.normal() for k in range(5)} for arm in full()}
        found = interactions(full(), values, REFERENCE)
        models.add(found.model)
        assert len(found.notes) == (found.model == "ols")
        assert all("as happens where they hardly differ" in note for note in found.notes)
    assert models == {"ols", "mixedlm"}


def test_one_factor_data_get_no_interactions():
    levels = {"base": REFERENCE, "a": {**REFERENCE, "a": "1"}, "b": {**REFERENCE, "b": "1"}}
    assert not is_factorial(levels, REFERENCE)
    assert is_factorial(full(), REFERENCE)


def test_false_interactions_stay_at_alpha():
    rng, wrong, studies = np.random.default_rng(6), 0, 150
    for _ in range(studies):
        values = drawn(full(), rng, blocks=2, truth=lambda v: v["a"])
        wrong += any(
            t.adjusted_p <= 0.05 for t in interactions(full(), values, REFERENCE).terms if len(t.factors) == 2
        )
    assert wrong / studies <= 0.05 + 2 * (0.05 * 0.95 / studies) ** 0.5


def test_a_factorial_studys_findings_carry_them():
    frozen = synthetic.study([k for k in full() if k != "000"], design="factorial")
    arms = [
        arm.model_copy(update={"levels": own}) for arm, own in zip(frozen.arms, full().values(), strict=True)
    ]
    frozen = frozen.model_copy(update={"arms": arms})
    values = drawn(full(), np.random.default_rng(7), blocks=5)
    named = {"baseline": values.pop("000"), **values}
    found = analyze(frozen, synthetic.of(frozen, {a: v.values() for a, v in named.items()}))
    assert found.interactions is not None
    assert terms(found.interactions)["a=1 × b=1"].adjusted_p < 0.05
    assert "; interaction: a=1 × b=1 (−" in found.answer
    assert found.answer.endswith(" points).")
    assert analyze(synthetic.study(), synthetic.records(synthetic.study())).interactions is None


def test_the_answer_says_where_no_interaction_shows():
    frozen = synthetic.study(["a", "b", "both"], design="factorial")
    own = ({"a": "0", "b": "0"}, {"a": "1", "b": "0"}, {"a": "0", "b": "1"}, {"a": "1", "b": "1"})
    arms = [a.model_copy(update={"levels": v}) for a, v in zip(frozen.arms, own, strict=True)]
    frozen = frozen.model_copy(update={"arms": arms})
    found = analyze(frozen, synthetic.records(frozen, effects={"a": 2.0, "b": 1.0, "both": 3.0}))
    assert found.answer.endswith("; the interaction is not clear.")


def test_a_probe_shows_where_single_effects_do_not_add_up():
    """Arms outside the family, on two of five blocks, that change two factors at once."""
    own = {"baseline": "000", "a": "100", "b": "010", "c": "001", "a, b": "110", "b, c": "011"}
    frozen = synthetic.study([k for k in own if k != "baseline"], family=["a", "b", "c"])
    arms = [
        arm.model_copy(
            update={
                "levels": dict(zip("abc", own[arm.name], strict=True)),
                "phase": "screen" if "," in arm.name else "confirm",
            }
        )
        for arm in frozen.arms
    ]
    frozen = frozen.model_copy(update={"arms": arms})
    effects = {"a": 1.0, "b": 1.0, "c": 0.0, "a, b": -2.0, "b, c": 1.0}
    records = synthetic.records(frozen, effects=effects)
    found = analyze(frozen, [r for r in records if "," not in r.arm or r.block < 2])
    assert terms(found.interactions)["a=1 × b=1"].high < -3
    assert terms(found.interactions)["b=1 × c=1"].adjusted_p > 0.05
    assert "a=1 × c=1 cannot be estimated" in " ".join(found.interactions.notes)
    assert "interaction: a=1 × b=1" in found.answer


def test_the_answer_of_a_fraction_names_main_effects_and_what_they_are_confounded_with():
    half = {k: v for k, v in full().items() if sum(map(int, v.values())) % 2 == 0}  # resolution III
    frozen = synthetic.study([k for k in half if k != "000"], design="fractional")
    arms = [a.model_copy(update={"levels": v}) for a, v in zip(frozen.arms, half.values(), strict=True)]
    frozen = frozen.model_copy(update={"arms": arms})
    found = analyze(frozen, synthetic.records(frozen, effects={"110": 3.0, "101": 3.0, "011": 0.0}))
    assert "; main effect: a=1 or b=1 × c=1 (+2.95 [" in found.answer  # no arm changes a alone
