"""Scores as weighted sums over examples, so that a thousand bootstrap draws are one matrix product.

Every score is a function of a few means over the examples: of confusion counts (accuracy, F1, MCC) or of
moments (correlations). `weighted` takes counts per draw; `all` is one draw with every example once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Features = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]
Finish = Callable[[list[np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Scorer:
    """Features per example, and the score from their (weighted) means."""

    features: Features
    finish: Finish

    def weighted(self, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Points: [draw, seed, fine-tuning seed] from predictions [seed, fine-tuning seed, item].

        `weights` [draw, item] says how often each example was drawn, as many in all as there are examples.
        """
        shape = (len(weights), *predictions.shape[:2])
        flat = predictions.reshape(-1, predictions.shape[-1])
        features = self.features(flat, labels)
        # One product for all features takes a third of the time of one each.
        sums = weights @ np.concatenate(features).astype(weights.dtype).T
        sums /= len(labels)
        # A feature of the labels alone is one row for all runs: it broadcasts in `finish`.
        means = np.split(sums, np.cumsum([len(f) for f in features])[:-1], axis=1)
        return np.asarray(100.0 * np.broadcast_to(self.finish(means), shape[:1] + flat.shape[:1])).reshape(
            shape
        )

    def all(self, predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Points: [seed, fine-tuning seed], every example once."""
        return self.weighted(predictions, labels, np.ones((1, len(labels))))[0]


def _accuracy(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    return [x == y]


def _binary(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """True positives, predicted positives, positives of class 1."""
    return [(x == 1) & (y == 1), x == 1, (y == 1)[None]]


def _f1(m: list[np.ndarray]) -> np.ndarray:
    hit, said, true = m
    return _ratio(2 * hit, said + true)


def _classes(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Hits, predictions and labels of every class in turn."""
    found: list[np.ndarray] = []
    for label in np.union1d(np.unique(x), np.unique(y)):
        found += [(x == label) & (y == label), x == label, (y == label)[None]]
    return found


def _macro_f1(m: list[np.ndarray]) -> np.ndarray:
    present = [np.asarray(s + t > 0, dtype=float) for s, t in zip(m[1::3], m[2::3], strict=True)]
    scores = [_ratio(2 * h, s + t) for h, s, t in zip(m[::3], m[1::3], m[2::3], strict=True)]
    return np.asarray(sum(scores) / np.maximum(1.0, sum(present)))


def _mcc(m: list[np.ndarray]) -> np.ndarray:
    """Multi-class MCC (Gorodkin 2004): covariance of predicted and true class over both spreads."""
    hits = sum(m[::3])
    both = sum(s * t for s, t in zip(m[1::3], m[2::3], strict=True))
    said, true = (1 - sum(v * v for v in m[k::3]) for k in (1, 2))
    return _ratio(hits - both, np.sqrt(np.maximum(said * true, 0.0)))


def _moments(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Centred first: single precision would lose the spread of values far from 0."""
    x = x - x.mean(axis=1, keepdims=True)
    y = (y - y.mean())[None]
    return [x, y, x * x, y * y, x * y]


def _ranked(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Ranks of the whole set, ties averaged; a draw correlates these ranks (ties of drawn copies aside)."""
    return _moments(np.stack([_ranks(row) for row in x]), _ranks(y))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray(((last - count + 1 + last) / 2)[place] / len(values))


def _pearson(m: list[np.ndarray]) -> np.ndarray:
    x, y, xx, yy, xy = m
    return _ratio(xy - x * y, np.sqrt(np.maximum((xx - x * x) * (yy - y * y), 0.0)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """0 where it is not defined (a constant side carries no information), as the evaluation scores it."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    return np.divide(above, below, out=np.zeros_like(below), where=below > 1e-9)


SCORES: dict[str, Scorer] = {
    "accuracy": Scorer(_accuracy, lambda m: m[0]),
    "f1": Scorer(_binary, _f1),
    "macro-f1": Scorer(_classes, _macro_f1),
    "mcc": Scorer(_classes, _mcc),
    "pearson": Scorer(_moments, _pearson),
    "spearman": Scorer(_ranked, _pearson),
}
