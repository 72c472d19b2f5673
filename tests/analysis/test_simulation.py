"""Error rates of the whole path over thousands of simulated studies."""

import numpy as np
import pytest

from ablate.analysis import analyze
from ablate.analysis.multiplicity import holm
from ablate.analysis.paired import effect, equivalence

from . import synthetic

STUDIES = 2000


def drawn(rng, n, sd=1.0, between=2.0, shift=0.0):
    """Arm and reference that share the block's luck."""
    block = rng.normal(0, between, n)
    arm, reference = block + rng.normal(shift, sd, n), block + rng.normal(0, sd, n)
    return dict(enumerate(arm)), dict(enumerate(reference))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_paired_t_interval_covers_within_two_points_of_nominal(n):
    rng = np.random.default_rng(n)
    inside = 0
    for _ in range(STUDIES):
        found = effect("m/x", *drawn(rng, n, shift=0.7))
        inside += found.low <= 0.7 <= found.high
    assert inside / STUDIES == pytest.approx(0.95, abs=0.02)


def test_holm_keeps_the_family_wise_error():
    rng = np.random.default_rng(7)
    false_alarms = 0
    studies = 1000
    for _ in range(studies):
        block = rng.normal(0, 2, 5)
        reference = dict(enumerate(block + rng.normal(0, 1, 5)))
        p = {
            str(arm): effect("m/x", dict(enumerate(block + rng.normal(0, 1, 5))), reference).p
            for arm in range(10)
        }
        false_alarms += min(holm(p).values()) <= 0.05
    assert false_alarms / studies <= 0.05 + 2 * (0.05 * 0.95 / studies) ** 0.5


@pytest.mark.parametrize("n", [3, 5, 10])
def test_tost_calls_a_difference_of_one_margin_equivalent_at_most_5_percent_of_the_time(n):
    rng = np.random.default_rng(100 + n)
    wrong = sum(
        equivalence(effect("m/x", *drawn(rng, n, sd=0.3, shift=1.0)), 1.0).p <= 0.05 for _ in range(STUDIES)
    )
    assert wrong / STUDIES <= 0.05 + 2 * (0.05 * 0.95 / STUDIES) ** 0.5


def test_verdicts_of_null_studies_are_false_at_most_5_percent_of_the_time():
    # A margin far below the noise: equivalence is out of reach, so any verdict is a false alarm.
    frozen = synthetic.study(["a", "b", "c"], margin=1e-6)
    wrong, studies = 0, 200
    for seed in range(studies):
        records = synthetic.records(frozen, effects={}, noise=1.0, seed=seed)
        verdicts = {c.verdict for c in analyze(frozen, records).contrasts.values()}
        wrong += bool(verdicts & {"helps", "hurts"})
    assert wrong / studies <= 0.05 + 2 * (0.05 * 0.95 / studies) ** 0.5
