"""Scores in points (0–100, correlations and MCC −100–100) from labels and predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ablate.evaluation.config import Metric

REGRESSION: tuple[Metric, ...] = ("pearson", "spearman")


def score(metric: Metric, label: np.ndarray, prediction: np.ndarray) -> float:
    """A metric over one validation set, in points.

    F1 is of class 1. A correlation or MCC with a constant side carries no information and is 0.
    Raises ValueError for predictions that are not finite.
    """
    if not np.isfinite(prediction).all():
        raise ValueError("a prediction is not finite; the fine-tuning diverged")
    return 100.0 * float(_COMPUTE[metric](label, prediction))


def _accuracy(label: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.mean(label == prediction))


def _f1(label: np.ndarray, prediction: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(label == 1, prediction == 1, zero_division=0.0))


def _macro_f1(label: np.ndarray, prediction: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(label, prediction, average="macro", zero_division=0.0))


def _mcc(label: np.ndarray, prediction: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return 0.0 if _constant(prediction) or _constant(label) else matthews_corrcoef(label, prediction)


def _pearson(label: np.ndarray, prediction: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, label, prediction)


def _spearman(label: np.ndarray, prediction: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, label, prediction)


def _correlation(compute: Callable[..., Any], label: np.ndarray, prediction: np.ndarray) -> float:
    if _constant(prediction) or _constant(label):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # scipy warns of nearly constant predictions: a weak model, not a fault
        value = float(compute(label.astype(np.float64), prediction.astype(np.float64)).statistic)
    return value if np.isfinite(value) else 0.0


def _constant(values: np.ndarray) -> bool:
    return bool(np.all(values == values[0]))


_COMPUTE = {
    "accuracy": _accuracy, "f1": _f1, "macro-f1": _macro_f1, "mcc": _mcc,
    "pearson": _pearson, "spearman": _spearman,
}  # fmt: skip
