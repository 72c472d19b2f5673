"""Scores agree with scikit-learn, scipy and hand-worked formulas, in points."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from ablate.evaluation.metrics import score

REFERENCES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "mcc": sklearn.metrics.matthews_corrcoef,
    "f1": sklearn.metrics.f1_score,
    "macro-f1": lambda y, p: sklearn.metrics.f1_score(y, p, average="macro"),
    "pearson": lambda y, p: scipy.stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: scipy.stats.spearmanr(y, p).statistic,
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_a_metric_is_its_reference_times_a_hundred(metric):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 200)
    prediction = np.where(rng.random(200) < 0.7, label, 1 - label)
    if metric in ("pearson", "spearman"):
        label, prediction = label * 1.0, prediction + rng.normal(size=200)
    assert score(metric, label, prediction) == pytest.approx(100 * REFERENCES[metric](label, prediction))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=50))
def test_mcc_and_f1_follow_the_confusion_matrix(rows):
    label, prediction = np.array(rows).T
    tp, tn = int(np.sum(label & prediction)), int(np.sum((1 - label) & (1 - prediction)))
    fp, fn = int(np.sum((1 - label) & prediction)), int(np.sum(label & (1 - prediction)))
    root = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    assert score("mcc", label, prediction) == pytest.approx(100 * (tp * tn - fp * fn) / root if root else 0.0)
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0
    assert score("f1", label, prediction) == pytest.approx(100 * f1)


@pytest.mark.parametrize("metric", ["mcc", "pearson", "spearman"])
def test_a_constant_prediction_carries_no_information(metric):
    assert score(metric, np.array([0, 1, 1, 0]), np.ones(4)) == 0.0


def test_a_prediction_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        score("pearson", np.array([0.0, 1.0]), np.array([0.0, np.nan]))
