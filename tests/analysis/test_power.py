"""Power of designs against statsmodels, the measured facts of few-seed designs, and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower

from ablate.analysis import power


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20, 100])
@pytest.mark.parametrize("effect", [0.1, 0.5, 1.0, 3.0])
def test_t_power_agrees_with_statsmodels(n, effect):
    expected = TTestPower().power(effect, n, 0.05)
    expected = 1.0 if np.isnan(expected) else expected  # statsmodels underflows where power is 1
    assert power.t_power(effect, 1.0, n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("n", "sd", "comparisons"), [(3, 1.0, 1), (5, 0.63, 1), (10, 2.0, 4), (20, 0.1, 10)])
def test_resolvable_agrees_with_statsmodels(n, sd, comparisons):
    expected = TTestPower().solve_power(nobs=n, alpha=0.05 / comparisons, power=0.8) * sd
    assert power.resolvable(n, sd, comparisons=comparisons) == pytest.approx(expected, rel=1e-4)


# In SD of the paired differences; two arms at ρ = .8 have differences of √(2·.2) = .632 σ.
@pytest.mark.parametrize(("n", "paired", "margin"), [(3, 2.06, 2.66), (5, 1.06, 1.60), (10, 0.63, 1.00), (20, 0.42, 0.68)])  # fmt: skip
def test_few_seed_facts(n, paired, margin):
    assert power.resolvable(n, 0.4**0.5) == pytest.approx(paired, abs=0.01)
    assert power.equivalence_margin(n, 1.0) == pytest.approx(margin, abs=0.011)


def test_tost_power_is_what_simulation_gives():
    rng = np.random.default_rng(1)
    for n, margin in [(3, 2.66), (5, 1.2), (10, 1.0)]:
        d = rng.normal(0, 1, (20_000, n))
        reach = stats.t.ppf(0.95, n - 1) * d.std(axis=1, ddof=1) / n**0.5
        simulated = np.mean((np.abs(d.mean(axis=1)) + reach) < margin)
        assert power.tost_power(margin, 1.0, n) == pytest.approx(simulated, abs=0.012)


@pytest.mark.parametrize("n", [2, 3, 10, 300])
@pytest.mark.parametrize("freedom", [1.0, 1.7])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 199])
@pytest.mark.parametrize("margin", [0.05, 0.5, 2.0, 30.0])
def test_tost_power_is_the_integral_over_the_sampled_spread(n, freedom, alpha, margin):
    df = freedom * (n - 1)
    bar, reach = stats.t.ppf(1 - alpha, df), margin * n**0.5
    spread = stats.chi(df, scale=df**-0.5)
    most = min(reach / bar, spread.isf(1e-12))

    def inside(s):
        return spread.pdf(s) * (2 * stats.norm.cdf(reach - bar * s) - 1)

    bends = [p for p in (*spread.ppf([1e-6, 0.01, 0.5, 0.99]), most - 5 / bar) if 0 < p < most]
    expected, _ = integrate.quad(inside, 0, most, points=bends or None, limit=400)
    found = power.tost_power(margin, 1.0, n, alpha=alpha, freedom=freedom)
    assert found == pytest.approx(expected, abs=1e-5)


@settings(deadline=None)
@given(st.floats(0.2, 3), st.floats(0.05, 3))
def test_blocks_needed_is_the_first_number_that_settles(margin, sd):
    n = power.blocks_needed(margin, sd)
    if n is None:
        assert (
            power.t_power(margin, sd, power.MOST_BLOCKS) < 0.8
            or power.tost_power(margin, sd, power.MOST_BLOCKS) < 0.8
        )
        return
    assert min(power.t_power(margin, sd, n), power.tost_power(margin, sd, n)) >= 0.8
    assert n == 2 or min(power.t_power(margin, sd, n - 1), power.tost_power(margin, sd, n - 1)) < 0.8


def test_no_number_of_seeds_settles_a_margin_far_below_the_noise():
    assert power.blocks_needed(0.01, 1.0) is None


def test_one_block_resolves_nothing():
    assert power.resolvable(1, 1.0) is None
    assert power.equivalence_margin(1, 1.0) is None
    assert any("1 block" in w for w in power.warnings(1, 3))


def test_plan_warns_where_a_sign_flip_test_can_never_speak():
    assert any("3 blocks can never reach 0.05" in w and "0.25" in w for w in power.warnings(3, 1))
    assert any("5 blocks can never reach 0.05" in w for w in power.warnings(5, 1))
    assert power.warnings(6, 1) == []


def test_ten_arms_under_holm_need_nine_blocks_for_a_sign_flip_test():
    assert power.blocks_for_sign_flip(10) == 9
    assert any("needs 9 blocks" in w for w in power.warnings(8, 10))
    assert power.warnings(9, 10) == []
