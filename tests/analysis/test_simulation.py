"""Error rates over at least a thousand simulated studies: the rows of docs/statistics.md that are fast."""

import numpy as np
import pytest

from ablate.analysis import analyze
from ablate.analysis import simulate as simulated

from . import synthetic

STUDIES = 1000


def holds(row):
    assert row.holds, row


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_within_two_points_of_nominal(n):
    rng = np.random.default_rng(n)
    holds(simulated.paired_coverage(n, 2 * STUDIES, rng))
    holds(simulated.welch_coverage(max(5, n), STUDIES, rng))
    for noise in simulated.ITEM_NOISE:
        holds(simulated.crossed_coverage(n, noise, STUDIES, rng))


@pytest.mark.slow
@pytest.mark.parametrize("score", ["mcc", "f1"])
@pytest.mark.parametrize("spread", [0.3, 0.1])
def test_the_multi_bootstrap_covers_within_two_points_of_nominal(score, spread):
    holds(simulated.bootstrap_coverage(5, score, spread, STUDIES, np.random.default_rng(0)))


@pytest.mark.parametrize("score", ["mcc", "f1"])
@pytest.mark.parametrize("spread", [0.3, 0.1])
def test_a_linearised_score_covers_within_two_points_of_nominal(score, spread):
    holds(simulated.linearised_coverage(5, score, spread, STUDIES, np.random.default_rng(0)))


@pytest.mark.parametrize("score", ["pearson", "spearman"])
@pytest.mark.parametrize("spread", [0.3, 0.05])
def test_a_correlation_covers_at_least_nominal_and_little_more(score, spread):
    row = simulated.linearised_coverage(5, score, spread, STUDIES, np.random.default_rng(0))
    assert 0.95 - 3 * row.error <= row.rate <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("cells", list(simulated.CROSSED))
def test_interactions_cover_within_two_points_of_nominal(cells):
    holds(simulated.model_coverage(5, cells, STUDIES, np.random.default_rng(11)))


def test_holm_keeps_the_family_wise_error():
    holds(simulated.holm_error(5, 10, STUDIES, np.random.default_rng(7)))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_tost_calls_a_difference_of_one_margin_equivalent_at_most_5_percent_of_the_time(n):
    holds(simulated.tost_error(n, 2 * STUDIES, np.random.default_rng(100 + n)))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_without_shared_blocks_tost_and_power_hold_too(n):
    rng = np.random.default_rng(300 + n)
    holds(simulated.unpaired_tost_error(n, 2 * STUDIES, rng))
    holds(simulated.unpaired_power(n, 2 * STUDIES, rng))


def test_a_screen_keeps_the_share_of_false_discoveries():
    holds(simulated.screen_error(STUDIES, np.random.default_rng(8)))


@pytest.mark.slow
def test_dunnett_keeps_the_family_wise_error():
    holds(simulated.dunnett_error(5, 5, STUDIES, np.random.default_rng(9)))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_power_is_as_planned(n):
    rng = np.random.default_rng(200 + n)
    holds(simulated.paired_power(n, 1, 2 * STUDIES, rng))
    holds(simulated.tost_power(n, 2 * STUDIES, rng))


def test_power_in_a_family_is_as_planned():
    holds(simulated.paired_power(5, 10, 2 * STUDIES, np.random.default_rng(10)))


def test_verdicts_of_null_studies_are_false_at_most_5_percent_of_the_time():
    # A margin far below the noise: equivalence is out of reach, so any verdict is a false alarm.
    frozen = synthetic.study(["a", "b", "c"], margin=1e-6)
    wrong, studies = 0, 200
    for seed in range(studies):
        records = synthetic.records(frozen, effects={}, noise=1.0, seed=seed)
        verdicts = {c.verdict for c in analyze(frozen, records).contrasts.values()}
        wrong += bool(verdicts & {"helps", "hurts"})
    assert wrong / studies <= 0.05 + 2 * (0.05 * 0.95 / studies) ** 0.5
