"""The tests of one contrast: hand-worked cases, scipy and statsmodels, and cases that have no answer."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from ablate.analysis.paired import effect, equivalence, sign_flip_p
from ablate.analysis.unpaired import as_effect, unpaired

numbers = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=9)


def keyed(values):
    return dict(enumerate(map(float, values)))


def test_a_hand_worked_effect():
    # Differences 1, 2, 3: mean 2, SD 1, SE 1/√3, t = 3.464 on 2 df, t.975 = 4.3027.
    found = effect("m/x", keyed([11, 22, 33]), keyed([10, 20, 30]))
    assert found.estimate == 2
    assert found.sd == 1
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    assert found.p == pytest.approx(0.0741799, abs=1e-6)
    assert found.sign_flip_p == 0.25
    assert found.differences == {0: 1, 1: 2, 2: 3}


@settings(deadline=None)
@given(pairs)
def test_effect_agrees_with_scipy(values):
    arm, reference = np.array(values).T
    differences = arm - reference
    assume(np.std(differences) > 1e-3)
    found = effect("m/x", keyed(arm), keyed(reference))
    expected = stats.ttest_rel(arm, reference)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.lists(numbers, min_size=2, max_size=8))
def test_sign_flip_p_agrees_with_scipys_exact_permutation_test(differences):
    differences = np.array(differences)
    expected = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue)


def test_sign_flip_p_never_falls_below_its_floor_and_gives_way_beyond_22_blocks():
    assert sign_flip_p(np.ones(5)) == 2 / 2**5
    assert sign_flip_p(np.ones(22)) == 2 / 2**22
    assert sign_flip_p(np.ones(23)) is None


@settings(deadline=None)
@given(pairs, st.floats(0.1, 20))
def test_equivalence_agrees_with_statsmodels(values, margin):
    arm, reference = np.array(values).T
    assume(np.std(arm - reference) > 1e-3)
    found = equivalence(effect("m/x", keyed(arm), keyed(reference)), margin)
    expected, *_ = ttost_paired(arm, reference, -margin, margin)
    assert found is not None
    assert found.p == pytest.approx(float(expected), rel=1e-6, abs=1e-12)


@settings(deadline=None)
@given(
    st.lists(numbers, min_size=2, max_size=9), st.lists(numbers, min_size=2, max_size=9), st.floats(0.1, 20)
)
def test_equivalence_without_shared_blocks_agrees_with_statsmodels(arm, reference, margin):
    found = as_effect(unpaired(arm, reference), "m/x")
    assume(found.se is not None and found.se > 1e-3)
    expected, *_ = ttost_ind(np.array(arm), np.array(reference), -margin, margin, usevar="unequal")
    assert equivalence(found, margin).p == pytest.approx(float(expected), rel=1e-6, abs=1e-12)


@settings(deadline=None)
@given(pairs, st.floats(0.1, 20))
def test_equivalence_at_5_percent_is_the_90_percent_interval_inside_the_margin(values, margin):
    arm, reference = np.array(values).T
    assume(np.std(arm - reference) > 1e-3)
    found = equivalence(effect("m/x", keyed(arm), keyed(reference)), margin)
    assert found is not None
    assume(abs(found.p - 0.05) > 1e-9)
    assert (found.p < 0.05) == (-margin < found.low and found.high < margin)


def test_only_common_blocks_count():
    found = effect("m/x", {0: 1.0, 1: 2.0, 3: 9.0}, {1: 1.0, 2: 5.0, 3: 4.0})
    assert found.differences == {1: 1.0, 3: 5.0}


def test_no_common_block_says_so():
    found = effect("m/x", {0: 1.0}, {1: 1.0})
    assert (found.n, found.estimate, found.p) == (0, None, None)
    assert "no block" in found.note


def test_one_block_has_an_estimate_and_no_interval():
    found = effect("m/x", {0: 3.0}, {0: 1.0})
    assert (found.estimate, found.low, found.p, found.sd) == (2.0, None, None, None)
    assert "one block" in found.note
    assert equivalence(found, 1.0) is None


@pytest.mark.parametrize("shift", [0.0, 2.5, -0.1])
def test_differences_without_spread_get_no_fake_p(shift):
    reference = [70.1, 71.3, 69.4, 70.7]
    found = effect("m/x", keyed([x + shift for x in reference]), keyed(reference))
    assert found.estimate == pytest.approx(shift)
    assert (found.p, found.low, found.high) == (None, None, None)
    assert ("identical" if shift == 0 else "no spread") in found.note
    assert equivalence(found, 5.0) is None


def test_rounding_noise_is_not_spread():
    reference = np.array([0.1, 0.7, 1.3, 2.9], dtype=np.float32)
    shifted = (reference + np.float32(0.3)).astype(float)
    assert effect("m/x", keyed(shifted), keyed(reference.astype(float))).p is None


def test_correlation_shows_what_pairing_bought():
    found = effect("m/x", keyed([1, 2, 4]), keyed([1.1, 2.2, 3.7]))
    assert found.correlation == pytest.approx(np.corrcoef([1, 2, 4], [1.1, 2.2, 3.7])[0, 1])
    assert effect("m/x", keyed([1, 2]), keyed([1.5, 2.1])).correlation is None


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(numbers, numbers), min_size=4, max_size=9))
def test_paired_and_welch_agree_with_pingouin(pairs):
    """A second opinion where it is installed (`pip install pingouin`, GPL: no dependency)."""
    pingouin = pytest.importorskip("pingouin")
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    found = effect("m/x", dict(enumerate(a)), dict(enumerate(b)))
    assume(found.sd)
    row = pingouin.ttest(a, b, paired=True).iloc[0]
    assert found.p == pytest.approx(row["p_val"], rel=1e-6)
    loose = unpaired(list(a), list(b))
    assume(loose.p is not None)
    row = pingouin.ttest(a, b, paired=False, correction=True).iloc[0]
    assert (loose.p, loose.df) == pytest.approx((row["p_val"], row["dof"]), rel=1e-6)
    margin = 2.0
    expected = pingouin.tost(a, b, bound=margin, paired=True).iloc[0]["pval"]
    assert equivalence(found, margin).p == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("size", [1e-100, 1e-3, 1.0, 1e6, 1e99])
def test_the_correlation_of_the_pairs_is_numpys_whatever_the_unit(size):
    rng = np.random.default_rng(3)
    for n in (3, 5, 12):
        arm, reference = size * rng.normal(3, 1, n), size * rng.normal(3, 1, n)
        found = effect("m", dict(enumerate(arm)), dict(enumerate(reference)))
        assert found.correlation == pytest.approx(np.corrcoef(arm / size, reference / size)[0, 1])
