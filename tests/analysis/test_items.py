"""Effects for new seeds and new examples: by hand, against statsmodels and the evaluation's own scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.anova import anova_lm

from ablate.analysis.items import crossed, draw, item_draws, mean_squares, multi_bootstrap, parts, seed_draws
from ablate.analysis.nested import nested
from ablate.analysis.scores import SCORES
from ablate.evaluation.metrics import score


@pytest.mark.parametrize("name", list(SCORES))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.sampled_from([2, 3]))
def test_every_score_is_the_evaluations_own(name, seed, classes):
    rng = np.random.default_rng(seed)
    if name in ("pearson", "spearman"):
        labels = rng.integers(0, 6, 40).astype(float)
        predictions = labels + rng.normal(0, 2, (2, 3, 40))
    else:
        classes = 2 if name == "f1" else classes
        labels, predictions = rng.integers(0, classes, 40), rng.integers(0, classes, (2, 3, 40))
    expected = [[score(name, labels, run) for run in seeds] for seeds in predictions]
    assert SCORES[name].all(predictions, labels) == pytest.approx(np.array(expected), abs=1e-6)


def test_counts_weigh_as_copies_do():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 2, 30), rng.integers(0, 2, (1, 1, 30))
    drawn = rng.integers(0, 30, 30)
    counts = np.bincount(drawn, minlength=30)[None].astype(float)
    for name in ("accuracy", "f1", "macro-f1", "mcc", "pearson"):
        copied = score(name, labels[drawn], predictions[0, 0][drawn])
        assert SCORES[name].weighted(predictions, labels, counts)[0, 0, 0] == pytest.approx(copied)


@pytest.mark.parametrize("name", list(SCORES))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_slopes_are_what_a_little_more_of_an_example_does(name, seed):
    rng = np.random.default_rng(seed)
    if name in ("pearson", "spearman"):
        labels = rng.normal(size=40)
        predictions = labels + rng.normal(size=(2, 3, 40))
    else:
        classes = 2 if name == "f1" else 3
        labels, others = rng.integers(0, classes, 40), rng.integers(0, classes, (2, 3, 40))
        predictions = np.where(rng.random((2, 3, 40)) < 0.6, labels, others)
    more = np.eye(40) * 40
    up, down = (SCORES[name].weighted(predictions, labels, 1 - h + h * more) for h in (1e-5, -1e-5))
    scores, slopes = SCORES[name].linear(predictions, labels)
    assert scores == pytest.approx(SCORES[name].all(predictions, labels), abs=1e-9)
    assert slopes == pytest.approx(np.moveaxis((up - down) / 2e-5, 0, -1).mean(axis=1), rel=1e-3, abs=1e-2)
    assert slopes.mean(axis=-1) == pytest.approx(0, abs=1e-6)


def test_a_constant_prediction_scores_zero_correlation():
    for name in ("mcc", "pearson", "spearman"):
        assert SCORES[name].all(np.ones((1, 1, 9)), np.arange(9.0) % 2)[0, 0] == 0
        assert SCORES[name].linear(np.ones((1, 1, 9)), np.arange(9.0) % 2)[1] == pytest.approx(0, abs=0.01)


def test_mean_squares_agree_with_statsmodels():
    import pandas as pd
    import statsmodels.formula.api as smf

    d = np.random.default_rng(1).normal(size=(4, 7)) + np.arange(4)[:, None]
    frame = pd.DataFrame([(i, j, d[i, j]) for i in range(4) for j in range(7)], columns=["seed", "item", "y"])
    table = anova_lm(smf.ols("y ~ C(seed) + C(item)", frame).fit())
    assert mean_squares(d) == pytest.approx(table["mean_sq"].tolist())


def test_without_item_noise_the_interval_is_the_seeds_t_interval():
    from scipy import stats

    d = np.array([1.0, 2.0, 4.0])[:, None] + np.zeros((3, 50))
    found = crossed("m/x", d)
    low, high = stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.df == pytest.approx(2)


def test_one_block_or_identical_predictions_have_no_interval():
    assert crossed("m/x", np.ones((1, 9))).low is None
    assert "no prediction differs" in crossed("m/x", np.zeros((3, 9))).note
    same = np.random.default_rng(0).integers(0, 2, (3, 1, 40))
    weights = item_draws(40, 100, np.random.default_rng(0))
    runs = draw("mcc", same, same[0, 0], weights)
    chosen = seed_draws(3, 100, np.random.default_rng(0))
    found = multi_bootstrap("m/x", "mcc", runs, runs, chosen=chosen)
    assert (found.estimate, found.low) == (0, None)
    sides = [draw("mcc", side, same[0, 0], weights) for side in (same[:2], same[1:])]
    assert "needs 3" in multi_bootstrap("m/x", "mcc", *sides, chosen=chosen).note


def test_the_multi_bootstrap_of_an_item_mean_agrees_with_the_closed_form():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 400)
    ease = rng.normal(0.8, 1, 400)
    arms = []
    for shift in (0.3, 0.0):
        right = ease + shift + rng.normal(0, 0.2, (6, 1, 1)) + rng.normal(0, 1, (6, 2, 400)) > 0
        arms.append(np.where(right, labels, 1 - labels))
    rows = 100 * ((arms[0] == labels).mean(1) - (arms[1] == labels).mean(1))
    exact = crossed("m/x", rows)
    weights = item_draws(400, 4000, rng)
    runs = [draw("accuracy", arm, labels, weights) for arm in arms]
    drawn = multi_bootstrap("m/x", "accuracy", *runs, chosen=seed_draws(6, 4000, rng))
    assert drawn.estimate == pytest.approx(exact.estimate)
    assert drawn.high - drawn.low == pytest.approx(exact.high - exact.low, rel=0.1)


@pytest.mark.parametrize("score", ["f1", "macro-f1", "mcc", "spearman"])
def test_of_many_examples_a_linearised_score_has_the_multi_bootstraps_interval(score):
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 10_000)
    ease, arms = rng.normal(0.8, 1, 10_000), []
    for shift in (0.05, 0.0):
        own = rng.normal(0, 0.01, (4, 1, 1)) + rng.normal(0, 0.3, 10_000)  # examples matter as seeds do
        right = ease + shift + own + rng.normal(0, 1, (4, 2, 10_000))
        arms.append(np.where(right > 0, labels, 1 - labels) if score != "spearman" else labels + right)
    one, other = (parts(score, arm, labels) for arm in arms)
    found = crossed("m/x", one.items - other.items, score=score)
    weights = item_draws(10_000, 1000, rng)
    runs = [draw(score, arm, labels, weights) for arm in arms]
    drawn = multi_bootstrap("m/x", score, *runs, chosen=seed_draws(4, 1000, rng))
    assert found.method == "seed x item, linearised"
    assert found.estimate == pytest.approx(drawn.estimate)
    assert found.high - found.low == pytest.approx(
        drawn.high - drawn.low, rel=0.06
    )  # 1,000 draws know it to 5 %
    assert found.sd_item == pytest.approx(drawn.sd_item, rel=0.15)


def test_fine_tuning_seeds_are_components_not_observations():
    rng = np.random.default_rng(3)
    d = rng.normal(0, 1.0, (4000, 1)) + rng.normal(0, 2.0, (4000, 4))
    found = nested("m/x", d)
    assert found.sd_pretraining == pytest.approx(1.0, abs=0.1)
    assert found.sd_finetuning == pytest.approx(2.0, abs=0.05)
    assert found.share_finetuning == pytest.approx(0.5, abs=0.05)
    assert nested("m/x", d[:1]) is None
    assert nested("m/x", d[:, :1]) is None
