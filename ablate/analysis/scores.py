"""Scores as weighted sums over examples, so that a thousand bootstrap draws are one matrix product.

Every score is a function of a few sums over the examples: of a confusion table (accuracy, F1, MCC) or of
moments (correlations). `weighted` takes counts per draw; `all` is one draw with every example once;
`linear` says what each example does to the score, to first order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class Scorer(ABC):
    """A score in points, of many runs under many draws of the examples at once."""

    def weighted(self, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[draw, …] from predictions […, item].

        `weights` [draw, item] says how often each example was drawn, as many in all as there are examples.
        """
        return self._scores(predictions, labels, weights)[0]

    def all(self, predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """[…]: every example once."""
        return self._scores(predictions, labels, np.ones((1, len(labels))))[0][0]

    def all_and_weighted(
        self, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Both at the price of one ranking, which takes as long as a thousand draws."""
        once, drawn = self._scores(predictions, labels, np.ones((1, len(labels))), weights)
        return once[0], drawn

    def _scores(self, predictions: np.ndarray, labels: np.ndarray, *weights: np.ndarray) -> list[np.ndarray]:
        flat = predictions.reshape(-1, predictions.shape[-1])
        x, y = self._prepared(flat, labels)
        found = []
        for drawn in weights:
            scores = np.broadcast_to(self._score(x, y, drawn), (len(drawn), len(flat)))
            found.append(np.asarray(100.0 * scores.reshape(len(drawn), *predictions.shape[:-1])))
        return found

    def linear(self, predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores [seed, run] with every example once and slopes [seed, item], the mean of a seed's runs, from
        predictions [seed, run, item].

        A slope says how the score, in points, grows with the example's share. Their mean over all examples
        is 0; over a draw of them it is, to first order, what the draw's score has beyond that of all (the
        infinitesimal jackknife, Efron 1982).
        """
        scores, slopes = self._linear(predictions, labels)
        slopes *= 100.0
        return 100.0 * scores, slopes

    @abstractmethod
    def _prepared(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions [run, item] and labels [item] as `_score` takes them; the same for all draws."""

    @abstractmethod
    def _score(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[draw, run]."""

    @abstractmethod
    def _linear(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, not in points; where an example's share grows, those of all others shrink alike."""


@dataclass(frozen=True)
class Confusion(Scorer):
    """A score of the shares of every label and prediction: [label, prediction, draw, run]."""

    finish: Callable[[np.ndarray], np.ndarray]
    binary: bool = False  # of class 1 against all others

    def _prepared(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (x == 1, y == 1) if self.binary else (x, y)

    def _score(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if (y[1:] < y[:-1]).any():
            order = np.argsort(y, kind="stable")
            x, y, weights = x[:, order], y[order], weights[:, order]
        classes = np.array([False, True]) if self.binary else np.union1d(x, y)
        ends = np.searchsorted(y, classes, side="right")
        table = np.zeros((len(classes), len(classes), len(weights), len(x)))
        for row, start, end in zip(table, [0, *ends], ends, strict=False):
            mine, of_label = weights[:, start:end], x[:, start:end]
            # Each example meets its own label alone, and the first class is what the others leave: of two
            # classes a quarter of the products.
            row[0] = mine.sum(axis=1)[:, None]
            for said, cell in zip(classes[1:], row[1:], strict=True):
                cell[:] = mine @ (of_label == said).T.astype(weights.dtype)
                row[0] -= cell
        return self.finish(table / len(y))

    def _linear(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.binary:
            x, y, k = x == 1, y == 1, 2
        else:
            classes = np.union1d(x, y)
            x, y, k = np.searchsorted(classes, x), np.searchsorted(classes, y), len(classes)
        seeds, runs, items = x.shape
        # A byte each where they fit: of 40,000 examples a run's cells then stay in the processor's cache.
        small = np.min_scalar_type(k * k)
        cells = np.add((y * k).astype(small), x, dtype=small, casting="unsafe").reshape(-1, items)
        counts = np.stack([np.bincount(row, minlength=k * k) for row in cells])
        table = counts.T.reshape(k, k, 1, len(cells)) / items
        # Of each cell in turn a little more, then a little less, which is less than one example holds.
        one = np.eye(k * k).reshape(k, k, k * k, 1)
        step = 1e-3 / items
        up, down = (self.finish((table + h * one) / (1 + h)) for h in (step, -step))
        of_cells = (up - down).T / (2 * step * runs)  # [run, cell]
        slopes, own = np.zeros((seeds, items)), np.empty(items)
        for i, (run, row) in enumerate(zip(of_cells, cells, strict=True)):
            # Clipped, though every cell is one of the run's: then it needs no copy.
            slopes[i // runs] += np.take(run, row, out=own, mode="clip")
        return self.finish(table).reshape(seeds, runs), slopes


@dataclass(frozen=True)
class Moments(Scorer):
    """Pearson's correlation of what `prepare` makes of predictions and labels, from weighted moments."""

    prepare: Callable[[np.ndarray], np.ndarray]  # of [run, item]

    def _prepared(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = self.prepare(x), self.prepare(y[None])
        # Centred first: single precision would lose the spread of values far from 0.
        return x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)

    def _score(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        features = [x, y, x * x, y * y, x * y]
        # One product for all features takes a third of the time of one each.
        sums = weights @ np.concatenate(features).astype(weights.dtype).T / x.shape[1]
        # What is of the labels alone is one column for all runs: it broadcasts.
        mx, my, xx, yy, xy = np.split(sums, np.cumsum([len(f) for f in features])[:-1], axis=1)
        return _ratio(xy - mx * my, np.sqrt(np.maximum((xx - mx * mx) * (yy - my * my), 0.0)))

    def _linear(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = x.shape
        x, y = (_standard(self.prepare(v)) for v in (x.reshape(-1, shape[-1]), y[None]))
        r = (x * y).mean(axis=1, keepdims=True)
        # Devlin, Gnanadesikan & Kettenring 1975; a constant side has 0 everywhere.
        slopes = (x * y - r * (x * x + y * y) / 2).reshape(shape)
        return r.reshape(shape[:2]), np.asarray(slopes.mean(axis=1))


def _accuracy(table: np.ndarray) -> np.ndarray:
    return np.asarray(np.trace(table))


def _f1(table: np.ndarray) -> np.ndarray:
    return _ratio(2 * table[1, 1], table[:, 1].sum(axis=0) + table[1].sum(axis=0))


def _macro_f1(table: np.ndarray) -> np.ndarray:
    """Over the classes that are said or true in a draw."""
    hit = np.diagonal(table).transpose(2, 0, 1)
    size = table.sum(axis=0) + table.sum(axis=1)
    return np.asarray(_ratio(2 * hit, size).sum(axis=0) / np.maximum(1, (size > 1e-9).sum(axis=0)))


def _mcc(table: np.ndarray) -> np.ndarray:
    """Multi-class MCC (Gorodkin 2004): covariance of predicted and true class over both spreads."""
    said, true = table.sum(axis=0), table.sum(axis=1)
    spreads = (1 - (said**2).sum(axis=0)) * (1 - (true**2).sum(axis=0))
    return _ratio(np.trace(table) - (said * true).sum(axis=0), np.sqrt(np.maximum(spreads, 0.0)))


def _plain(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=float)


def _ranked(values: np.ndarray) -> np.ndarray:
    """Ranks of the whole set, ties averaged; a draw correlates these ranks (ties of drawn copies aside)."""
    return np.stack([_ranks(row) for row in values])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray(((last - count + 1 + last) / 2)[place] / len(values))


def _standard(values: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and variance 1; of constants, zeros."""
    centred = values - values.mean(axis=1, keepdims=True)
    return _ratio(centred, centred.std(axis=1, keepdims=True))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """0 where it is not defined (a constant side carries no information), as the evaluation scores it."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    return np.divide(above, below, out=np.zeros_like(below), where=below > 1e-9)


SCORES: dict[str, Scorer] = {
    "accuracy": Confusion(_accuracy),
    "f1": Confusion(_f1, binary=True),
    "macro-f1": Confusion(_macro_f1),
    "mcc": Confusion(_mcc),
    "pearson": Moments(_plain),
    "spearman": Moments(_ranked),
}
