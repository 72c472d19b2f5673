"""The stopping rule: what looking again and again costs, shown by simulation and against known tables."""

import numpy as np
import pytest
from scipy.special import stdtr, stdtrit

from ablate.analysis import analyze
from ablate.analysis.boundaries import bounds
from ablate.analysis.sequential import StoppingRule, decide
from ablate.design.grow import decision
from ablate.report.tables import caption

from . import synthetic


def crossed(looks, level, sides=2, studies=100_000, seed=0):
    """Share of null studies in which some look reaches its nominal level."""
    x = np.random.default_rng(seed).normal(size=(studies, looks[-1]))
    known, hit = bounds(looks, sides=sides), np.zeros(studies, bool)
    for n in looks:
        t = x[:, :n].mean(axis=1) / x[:, :n].std(axis=1, ddof=1) * n**0.5
        p = 2 * stdtr(n - 1, -np.abs(t)) if sides == 2 else stdtr(n - 1, -t)
        hit |= p <= known.at(n, level)
    return hit.mean()


def within(share, level, studies):
    return abs(share - level) <= 3 * (level * (1 - level) / studies) ** 0.5


@pytest.mark.parametrize("looks", [(2, 3, 4), tuple(range(3, 11)), (5, 10, 20)])
@pytest.mark.parametrize("sides", [1, 2])
def test_all_looks_together_spend_exactly_alpha(looks, sides):
    assert within(crossed(looks, 0.05, sides), 0.05, 100_000)


def test_small_levels_as_holm_needs_them_are_exact_too():
    assert within(crossed(tuple(range(3, 11)), 0.005, studies=200_000), 0.005, 200_000)


def test_one_look_is_the_ordinary_t_test():
    for level in (0.001, 0.05, 0.3):
        assert bounds((5,)).at(5, level) == pytest.approx(level, rel=1e-3)
        assert bounds((5,)).spent(5, level) == pytest.approx(level, rel=1e-3)


def test_with_many_blocks_the_bounds_are_those_of_the_normal_tables():
    # Linear spending, two equal looks, two-sided .05: .025 is spent at the first; the second bound of the
    # bivariate normal with correlation √.5 is z = 2.157 (simulated here with 4 million pairs).
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 4_000_000))
    second = np.abs(a + b)[np.abs(a) < 2.2414] / 2**0.5
    bar = np.sort(second)[-int(0.025 * 4_000_000)]
    found = bounds((25, 50)).at(50, 0.05)
    normal = 2 * stdtr(10_000, -bar)  # the same nominal level, whatever the degrees of freedom
    assert found == pytest.approx(normal, rel=0.05)


def test_before_the_first_look_nothing_may_be_concluded():
    found = decide({"a": [5.0, 5.1]}, StoppingRule(3, 6, margin=0.5))
    assert found.contrasts["a"].settled is None
    assert found.contrasts["a"].p is None
    assert found.next_look == 3


def test_a_large_effect_stops_early_and_an_equal_arm_is_settled_as_equivalent():
    rule = StoppingRule(3, 10, margin=1.0)
    found = decide({"a": [-9.0, -9.1, -8.9], "b": [0.01, -0.02, 0.01]}, rule)
    assert found.contrasts["a"].settled == "hurts"
    assert found.contrasts["b"].settled == "equivalent"
    assert found.open == ()
    assert found.next_look is None
    turned = decide({"a": [-9.0, -9.1, -8.9]}, StoppingRule(3, 10, margin=1.0, higher_is_better=False))
    assert turned.contrasts["a"].settled == "helps"


def test_an_open_contrast_asks_for_the_next_block_until_the_last():
    d = [0.4, -0.9, 1.1, -0.2, 0.8, 0.1]
    rule = StoppingRule(3, 6, margin=0.2)
    assert decide({"a": d[:4]}, rule).next_look == 5
    last = decide({"a": d}, rule)
    assert last.contrasts["a"].settled is None
    assert last.open == ("a",)
    assert last.next_look is None


def test_a_verdict_once_reached_is_kept_by_later_looks():
    rule = StoppingRule(3, 8, margin=None)
    early = decide({"a": [5.0, 5.1, 4.9]}, rule).contrasts["a"]
    late = decide({"a": [5.0, 5.1, 4.9, 0.0, 6.0]}, rule).contrasts["a"]
    assert late.p <= early.p <= 0.05
    assert late.settled == early.settled == "helps"


def test_a_contrast_without_spread_is_stuck_and_does_not_keep_the_study_alive():
    found = decide({"a": [0.0] * 4}, StoppingRule(3, 8, margin=0.5))
    assert found.contrasts["a"].stuck
    assert found.next_look is None


def test_the_family_keeps_its_size_when_an_arm_has_no_data():
    rule = StoppingRule(3, 8)
    alone = decide({"a": [1.0, 1.3, 0.9]}, rule).contrasts["a"]
    beside = decide({"a": [1.0, 1.3, 0.9], "b": [], "c": [2.0]}, rule).contrasts["a"]
    assert beside.adjusted_p == pytest.approx(3 * alone.p)


def test_the_repeated_interval_is_wider_than_the_ordinary_one_and_excludes_zero_when_p_says_so():
    rule = StoppingRule(3, 8)
    d = np.array([1.0, 1.4, 0.8, 1.2, 1.1])
    found = decide({"a": d}, rule).contrasts["a"]
    ordinary = stdtrit(4, 0.975) * d.std(ddof=1) / 5**0.5
    assert found.high - found.low > 2 * ordinary
    assert found.low > 0
    assert found.nominal < 0.05


def test_a_rule_that_cannot_test_is_refused():
    with pytest.raises(ValueError, match="2 <= min <= max"):
        StoppingRule(1, 5)


# --- whole studies -----------------------------------------------------------------------------------


def run(rng, shifts, rule, sd=1.0):
    """Add blocks until the rule says stop, open arms only; what was settled, and blocks used."""
    x = rng.normal(0, sd, (rule.most, len(shifts))) + np.array(shifts)
    baseline = rng.normal(0, sd, rule.most) * 0.5  # arms share their reference: correlated contrasts
    x = x - baseline[:, None]
    used = np.full(len(shifts), rule.least)
    while True:
        found = decide({str(j): x[: used[j], j] for j in range(len(shifts))}, rule)
        if found.next_look is None:
            return [found.contrasts[str(j)].settled for j in range(len(shifts))], used
        used = np.where([str(j) in found.open for j in range(len(shifts))], found.next_look, used)


def test_family_wise_error_of_elastic_null_studies_stays_at_alpha():
    rng, rule, studies = np.random.default_rng(3), StoppingRule(3, 8), 1000
    wrong = sum(any(run(rng, [0.0] * 4, rule)[0]) for _ in range(studies))
    assert wrong / studies <= 0.05 + 2 * (0.05 * 0.95 / studies) ** 0.5


def test_false_equivalence_of_arms_one_margin_away_stays_at_alpha():
    rng, rule, studies = np.random.default_rng(4), StoppingRule(3, 8, margin=2.0), 1000
    wrong = sum("equivalent" in run(rng, [2.0, -2.0], rule, sd=0.5)[0] for _ in range(studies))
    assert wrong / studies <= 0.05 + 2 * (0.05 * 0.95 / studies) ** 0.5


def test_large_effects_need_fewer_blocks_than_the_maximum():
    rng, rule = np.random.default_rng(5), StoppingRule(3, 10)
    ran = [run(rng, [6.0], rule) for _ in range(200)]
    assert np.mean([s == ["helps"] for s, _ in ran]) > 0.99
    assert np.mean([u[0] for _, u in ran]) < 6


def test_peeking_at_ordinary_p_values_is_what_the_rule_prevents():
    # Without the rule: a t test at .05 after each of 3 to 10 blocks is a false alarm in more than 1 of 8.
    x = np.random.default_rng(6).normal(size=(20_000, 10))
    hit = np.zeros(len(x), bool)
    for n in range(3, 11):
        t = x[:, :n].mean(axis=1) / x[:, :n].std(axis=1, ddof=1) * n**0.5
        hit |= 2 * stdtr(n - 1, -np.abs(t)) <= 0.05
    assert hit.mean() > 0.125


@pytest.mark.parametrize("seed", range(5))
def test_the_report_says_at_every_look_what_the_study_decided_by(seed):
    """Blocks are added by `design.grow` from outcomes, verdicts are told by `analyze` from records."""
    effects = {"large": 3.0, "none": 0.0, "small": 0.4, "loses a block": -2.0}
    rule = {"min": 3, "max": 8, "until": "settled"}
    whole = synthetic.study(list(effects), blocks=8, elastic=rule)
    records = [
        synthetic.record(r.arm, r.block, state="diverged") if (r.arm, r.block) == ("loses a block", 1) else r
        for r in synthetic.records(whole, effects=effects, noise=0.6, seed=seed)
    ]
    for look in range(2, 9):
        trials = {t: cell for t, cell in whole.trials.items() if cell[1] < look}
        study = whole.model_copy(update={"trials": trials})
        here = [r for r in records if r.block < look]
        outcomes = {r.trial: r.metrics.get(synthetic.METRIC) for r in here}
        decided, found = decision(study, outcomes), analyze(study, here)
        for arm, c in found.contrasts.items():
            assert c.sequential == decided.contrasts[arm]
            assert c.verdict == (decided.contrasts[arm].settled or "inconclusive")
            assert c.adjusted_p == decided.contrasts[arm].adjusted_p
    assert found.contrasts["large"].verdict == "helps"
    assert "sequential over 3 to 8 blocks" in caption(found)


ELASTIC = {"min": 3, "max": 10, "until": "settled"}


def of(values, **more):
    """The contrast of arm `a` in a study whose blocks were added by a rule."""
    baseline, arm = values
    frozen = synthetic.study(["a"], blocks=len(arm), elastic=ELASTIC, **more)
    found = analyze(frozen, synthetic.of(frozen, {"baseline": baseline, "a": arm}))
    return found, found.contrasts["a"]


def test_the_interval_beside_a_sequential_p_is_the_one_that_holds_at_every_look():
    base = np.array([70.0, 71.0, 69.0, 70.5])
    found, c = of((base, base + [1.1, 1.6, 1.2, 2.0]))
    assert (c.effect.low, c.effect.high) == (c.sequential.low, c.sequential.high)
    plain = stdtrit(3, 0.975) * c.effect.se
    assert c.effect.high - c.effect.estimate > 1.5 * plain  # which covered in .91 of studies that stop
    assert f"[{c.effect.low:+.1f}, {c.effect.high:+.1f}]" in found.answer
    assert "sequential paired t" in c.reason
    assert "t interval that holds at every look" in caption(found)
    rule = StoppingRule(3, 10, margin=0.5)
    one_sided = stdtrit(3, 1 - rule.level(4, 0.05, sides=1)) * c.effect.se
    assert c.equivalence.high == pytest.approx(c.effect.estimate + one_sided)


def test_before_the_first_look_there_is_no_interval():
    _, c = of(([70.0, 71.0], [75.0, 76.1]))
    assert c.effect.estimate == pytest.approx(5.05)
    assert (c.effect.low, c.effect.high, c.resolvable, c.equivalence) == (None, None, None, None)
    assert c.reason == "no interval and no test before the first look, at 3 blocks"


def test_differences_that_rounding_made_settle_nothing():
    base = np.float32([62.1, 63.9, 70.2, 95.3])
    _, c = of((base, np.float32(base.astype(float) + 0.3)))
    assert np.ptp(list(c.effect.differences.values())) > 0
    assert (c.verdict, c.adjusted_p, c.sequential.settled) == ("inconclusive", None, None)


def test_the_resolvable_effect_is_one_that_the_rule_finds():
    base = np.full(10, 70.0)
    spread = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1, -1]) * 0.9
    _, c = of((base, base + spread), margin=0.01)
    shift, rng, studies = c.resolvable / c.effect.sd * 1.25**0.5, np.random.default_rng(7), 1000
    power = np.mean([run(rng, [shift], StoppingRule(3, 10))[0] == ["helps"] for _ in range(studies)])
    assert 0.8 - 3 * (0.16 / studies) ** 0.5 <= power <= 0.9  # .65 of what ten fixed blocks resolve


def test_other_metrics_and_arms_beside_the_family_have_the_rules_interval_too():
    """A metric that equals the outcome is read at the looks that the outcome chose."""
    base = np.array([70.0, 71.0, 69.0, 70.5])
    frozen = synthetic.study(["a", "b"], blocks=4, elastic=ELASTIC, family=["a"])
    arm = base + [1.1, 1.6, 1.2, 2.0]
    records = [
        r.model_copy(update={"metrics": {**r.metrics, "glue/cola": r.metrics[synthetic.METRIC]}})
        for r in synthetic.of(frozen, {"baseline": base, "a": arm, "b": arm})
    ]
    a, b = analyze(frozen, records).contrasts.values()
    for e in (a.secondary["glue/cola"], b.effect, b.secondary["glue/cola"]):
        assert (e.low, e.high) == (a.effect.low, a.effect.high)
    assert not b.in_family
    assert b.adjusted_p == pytest.approx(a.sequential.p)
    assert b.adjusted_p > 2 * b.effect.p
    before = analyze(frozen, [r for r in records if r.block < 2]).contrasts["a"].secondary["glue/cola"]
    assert (before.low, before.p) == (None, None)
    assert "before the first look" in before.note
