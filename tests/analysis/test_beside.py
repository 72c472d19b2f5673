"""Unpaired arms, screens, best of k, pairing, mechanism: by hand and against the libraries."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ablate.analysis import analyze
from ablate.analysis.evidence import Curve, read_evidence
from ablate.analysis.mechanism import curvature, mechanism
from ablate.analysis.multiplicity import benjamini_hochberg
from ablate.analysis.pairing import pairing
from ablate.analysis.search import best_of_k
from ablate.analysis.unpaired import dunnett, unpaired
from ablate.report.series import heat
from ablate.scheduling.importance import importance

from . import synthetic

samples = st.lists(st.floats(-50, 50).map(lambda x: round(x, 2)), min_size=2, max_size=8)


@settings(max_examples=50, deadline=None)
@given(samples, samples)
def test_unpaired_effects_are_welchs(a, b):
    found = unpaired(a, b)
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        assert found.p is None
        return
    assume(np.ptp(a) > 0 and np.ptp(b) > 0)  # scipy warns of one constant side
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("arms", "each", "reference"), [(1, 5, 5), (3, 5, 5), (5, 3, 9), (5, 20, 2), (8, 4, 4), (2, 2, 2)])  # fmt: skip
def test_dunnett_agrees_with_scipy(arms, each, reference):
    rng = np.random.default_rng(arms)
    base = rng.normal(size=reference)
    values = {str(i): rng.normal(rng.normal(0, 0.8), 1, each + i % 2) for i in range(arms)}
    expected = stats.dunnett(*values.values(), control=base, rng=np.random.default_rng(1)).pvalue
    # scipy's integral is quasi-random: it differs by 1e-4 between seeds.
    assert list(dunnett(values, base).values()) == pytest.approx(list(np.atleast_1d(expected)), abs=5e-4)


def test_dunnett_of_one_arm_is_the_t_test_of_equal_variances():
    rng = np.random.default_rng(3)
    arm, base = rng.normal(1, 1, 6), rng.normal(0, 1, 4)
    assert dunnett({"a": arm}, base)["a"] == pytest.approx(stats.ttest_ind(arm, base).pvalue, rel=1e-9)


def test_dunnett_of_200_arms_is_what_simulation_gives():
    rng = np.random.default_rng(4)
    arms, each = 200, 4
    values = {str(i): rng.normal(size=each) for i in range(arms)}
    base = rng.normal(size=each)
    values["0"] = base + 1.1 * np.std(base) + rng.normal(0, 0.1, each)
    df = (arms + 1) * (each - 1)
    spread = np.sqrt(sum(np.var(v, ddof=1) for v in [*values.values(), base]) / (arms + 1))
    means, scale = rng.normal(0, each**-0.5, (20_000, arms + 1)), np.sqrt(rng.chisquare(df, 20_000) / df)
    largest = np.abs(means[:, 1:] - means[:, :1]).max(axis=1) / (scale * np.sqrt(2 / each))
    found = dunnett(values, base)
    for name in ("0", min(found, key=found.get), max(found, key=found.get)):
        t = abs(values[name].mean() - base.mean()) / (spread * np.sqrt(2 / each))
        assert found[name] == pytest.approx(np.mean(largest >= t), abs=0.015)


def test_dunnett_leaves_out_what_cannot_be_tested():
    rng = np.random.default_rng(0)
    base = rng.normal(size=5)
    found = dunnett({"a": base + 5, "b": [1.0], "c": rng.normal(size=5)}, base)
    assert set(found) == {"a", "c"}
    assert found["a"] < 0.01 < found["c"]
    assert dunnett({"a": [1.0, 1.0]}, [1.0, 1.0]) == {}


def test_a_study_without_shared_blocks_is_tested_unpaired():
    frozen = synthetic.study(["a"], paired=False)
    values = {"baseline": [70, 71, 72, 73, 74], "a": [75, 74, 76, 78, 77]}
    c = analyze(frozen, synthetic.of(frozen, values)).contrasts["a"]
    expected = stats.ttest_ind(values["a"], values["baseline"], equal_var=False)
    assert c.effect.p == pytest.approx(expected.pvalue)
    assert c.unpaired.dunnett_p == pytest.approx(
        stats.dunnett(values["a"], control=values["baseline"], rng=np.random.default_rng(0)).pvalue[0],
        abs=1e-3,
    )
    assert "Welch" in c.reason


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_benjamini_hochberg_agrees_with_statsmodels(p):
    found = benjamini_hochberg({str(i): x for i, x in enumerate(p)})
    assert list(found.values()) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_a_screen_is_labelled():
    frozen = synthetic.study(["a", "b"], family=[])
    arms = [a.model_copy(update={"phase": "screen"}) for a in frozen.arms]
    frozen = frozen.model_copy(update={"arms": arms})
    found = analyze(frozen, synthetic.records(frozen, effects={"a": 3.0})).contrasts
    assert found["a"].correction == "benjamini-hochberg"
    assert "screen" in found["a"].reason
    assert found["a"].adjusted_p >= found["a"].effect.p


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=7), st.booleans())
def test_best_of_k_is_the_mean_over_all_subsets(scores, higher):
    found = best_of_k("s", scores, higher_is_better=higher)
    best = max if higher else min
    for k, expected, sd in zip(found.k, found.expected, found.sd, strict=True):
        every = [best(subset) for subset in itertools.combinations(scores, k)]
        assert expected == pytest.approx(np.mean(every), abs=1e-9)
        assert sd == pytest.approx(np.std(every), abs=1e-6)


def test_pairing_measures_what_sharing_blocks_bought():
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 2, 4000)
    a, b = (dict(enumerate(shared + rng.normal(0, 1, 4000))) for _ in range(2))
    found = pairing({"a": (a, b)})
    assert found.correlation == pytest.approx(0.8, abs=0.05)
    assert found.variance_ratio == pytest.approx(0.2, abs=0.04)
    assert pairing({"a": ({0: 1.0}, {0: 2.0})}) is None


def curve(speed, height, steps=400, tokens=1000.0):
    """A loss that falls with the logarithm of the tokens; every step takes 1/speed seconds."""
    step = np.arange(1, steps * speed + 1)
    return Curve(step / speed, step * tokens, height - np.log(step))


def test_speed_and_quality_are_told_apart():
    reference = {b: curve(1.0, 10.0 + b) for b in range(3)}
    fast = mechanism({b: curve(2.0, 10.0 + b) for b in range(3)}, reference)
    assert fast.equal_tokens.estimate == pytest.approx(0, abs=1e-9)
    assert fast.speed.estimate == pytest.approx(-np.log(2), abs=0.02)
    assert fast.tokens_ratio == pytest.approx(2)
    better = mechanism({b: curve(1.0, 9.5 + b) for b in range(3)}, reference)
    assert better.equal_tokens.estimate == pytest.approx(-0.5)
    assert better.speed.estimate == 0
    slow = mechanism({b: curve(0.5, 10.0 + b) for b in range(3)}, reference)
    assert slow.speed.estimate == pytest.approx(np.log(2), abs=0.03)
    for found in (fast, better, slow):
        assert found.equal_time.estimate == pytest.approx(found.equal_tokens.estimate + found.speed.estimate)


def test_speeds_that_differ_both_ways_are_not_called_equal():
    """× 1.25 and × 0.8 in turn: the mean ratio is near 1, and neither arm was the faster."""
    arms = {b: curve(1.25 if b % 2 else 0.8, 10.0) for b in range(4)}
    found = mechanism(arms, {b: curve(1.0, 10.0) for b in range(4)})
    assert found.tokens_ratio == pytest.approx(1.0, abs=0.03)
    assert found.note == "which of the two was faster differs from block to block"


def test_the_heat_map_takes_the_outcomes_direction_from_the_study():
    frozen = synthetic.study(["a"], metric="tasks/edits", higher_is_better=False)
    found = analyze(frozen, synthetic.records(frozen, effects={"a": -5.0}))
    ((_, tiles),) = heat(found).rows
    assert tiles[heat(found).metrics.index("tasks/edits")].good


def test_the_curve_of_a_failed_trial_is_read_but_counts_for_nothing(tmp_path):
    frozen = synthetic.study(["a"])
    done = synthetic.records(frozen)
    ended = [
        r.model_copy(update={"state": "diverged", "metrics": {}}) if (r.arm, r.block) == ("a", 0) else r
        for r in done
    ]
    evidence = read_evidence(synthetic.write(tmp_path, frozen, ended), ended)
    assert set(evidence.curves) == {r.trial for r in done}
    split = analyze(frozen, ended, evidence=evidence).arm("a").contrast.mechanism
    whole = analyze(frozen, done, evidence=evidence).arm("a").contrast.mechanism
    assert (split.equal_time.n, whole.equal_time.n) == (len(frozen.blocks) - 1, len(frozen.blocks))


def test_curves_that_cannot_be_compared_give_no_split():
    empty = Curve(np.empty(0), np.empty(0), np.empty(0))
    assert mechanism({0: empty}, {0: curve(1.0, 9.0)}) is None
    assert mechanism({0: curve(1.0, 9.0)}, {1: curve(1.0, 9.0)}) is None


def test_a_curve_that_still_falls_is_told_from_a_flat_one():
    falling = curvature({b: curve(1.0, 12.0 + b) for b in range(3)})
    assert falling.falling
    assert falling.last_doubling == pytest.approx(np.log(2), abs=0.02)
    x = np.arange(1.0, 400)
    rng = np.random.default_rng(2)
    flat = curvature({b: Curve(x, x, 3 + rng.normal(0, 0.01, len(x))) for b in range(3)})
    assert flat.falling is False
    assert curvature({}) is None


def test_importance_finds_the_knob_that_matters_and_is_silent_on_little_data():
    rng = np.random.default_rng(3)
    domain = (
        '{"name": "FloatDistribution", "attributes": {"low": 0.0, "high": 1.0, "step": null, "log": false}}'
    )
    params = [{"x": float(a), "y": float(b)} for a, b in rng.uniform(size=(60, 2))]
    domains = [{"x": domain, "y": domain}] * 60
    shares = importance(params, domains, [-((p["x"] - 0.3) ** 2) for p in params])
    assert shares["x"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert importance(params[:5], domains[:5], list(range(5))) == {}
