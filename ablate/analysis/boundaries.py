"""Exact group-sequential bounds of the one-sample t test: what each look may spend of alpha, and a p-value
that may be read at every look.

For normal differences with mean zero the statistic U_n = Σx / √Σx² (a function of t) is a Markov chain whose
law knows no parameter: U_{n+1} = U_n cos θ + sin θ, where √n·tan θ follows t with n degrees of freedom,
independent of the past (Basu 1955). So bounds follow by integration over one dimension, without the large
samples that a normal approximation asks for. Spending: α·(n / most)^ρ (Kim & DeMets 1987); sequential
p-values: Liu & Anderson 2008.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

RHO = 1.0  # spends in proportion to the blocks: large effects stop early; 3 would be near O'Brien-Fleming
# Levels for which bounds are tabulated; a sequential p-value is interpolated between them, 1e-6 at least.
_LEVELS = np.concatenate([np.geomspace(1e-6, 0.1, 76), np.linspace(0.1, 1.0, 46)[1:]])
_TAIL, _MIDDLE = 110, 60  # cells on each side; doubling both moves no nominal level by 2 %


@dataclass(frozen=True)
class Bounds:
    """Nominal levels: row l, column k is the p-value that look k must reach to reject at level l."""

    looks: tuple[int, ...]
    levels: np.ndarray
    nominal: np.ndarray

    def at(self, n: int, level: float) -> float:
        """The nominal level of the last look at or before n blocks; 0 before the first look."""
        look = self._look(n)
        if look is None:
            return 0.0
        return float(np.exp(np.interp(math.log(level), np.log(self.levels), np.log(self.nominal[:, look]))))

    def spent(self, n: int, p: float) -> float:
        """The level at which p, seen at n blocks, is just enough; 1 before the first look."""
        look = self._look(n)
        if look is None:
            return 1.0
        known = np.log(self.nominal[:, look])
        if math.log(max(p, 1e-300)) > known[-1]:
            return 1.0
        return float(np.exp(np.interp(math.log(max(p, 1e-300)), known, np.log(self.levels))))

    def _look(self, n: int) -> int | None:
        found = [k for k, look in enumerate(self.looks) if look <= n]
        return found[-1] if found else None


@functools.lru_cache(maxsize=32)
def bounds(looks: tuple[int, ...], *, sides: int = 2, rho: float = RHO) -> Bounds:
    """Bounds for looks at these numbers of blocks, ascending, from 2 on; the last spends all that is left."""
    assert list(looks) == sorted(set(looks)), looks
    assert looks[0] >= 2, looks
    edges = _edges()
    mass = np.tile(np.diff(edges), (len(_LEVELS), 1))  # [level, cell] at looks[0] blocks, nothing stopped yet
    spent = np.zeros(len(_LEVELS))
    nominal = np.empty((len(_LEVELS), len(looks)))
    for n in range(looks[0], looks[-1] + 1):
        if n > looks[0]:
            mass = mass @ _step(n - 1)
        if n in looks:
            k = looks.index(n)
            due = _LEVELS * (n / looks[-1]) ** rho
            nominal[:, k], mass = _stop(mass, edges, np.maximum(due - spent, 0.0), sides)
            spent = due
    return Bounds(looks, _LEVELS, np.maximum.accumulate(nominal, axis=0))


def _edges() -> np.ndarray:
    """Cell edges as lower-tail probabilities of t: fine where levels lie, coarse in the middle."""
    tail = np.geomspace(1e-8, 0.05, _TAIL)
    lower = np.concatenate([[0.0], tail, np.linspace(0.05, 0.5, _MIDDLE + 1)[1:]])
    return np.concatenate([lower, 1.0 - lower[-2::-1]])


def _statistic(n: int, probability: np.ndarray) -> np.ndarray:
    """U_n at a lower-tail probability; ±√n at 0 and 1."""
    # The upper half is mirrored: 1 − 1e-8 has lost the digits that its quantile needs.
    tail = np.minimum(probability, 1.0 - probability)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = -stdtrit(n - 1, tail)
        u = np.where(tail > 0, t / np.sqrt((n - 1 + t * t) / n), math.sqrt(n))
    return np.where(probability < 0.5, -u, u)


@functools.lru_cache(maxsize=256)
def _step(n: int) -> np.ndarray:
    """Chance of passing from each cell at n blocks to each cell at n + 1."""
    edges = _edges()
    u = _statistic(n, (edges[:-1] + edges[1:]) / 2)[:, None]
    c = _statistic(n + 1, edges[1:-1])[None, :]
    radius, peak = np.sqrt(1 + u * u), np.arctan2(1.0, u)  # u cos θ + sin θ = radius · cos(θ − peak)
    reach = np.arccos(np.clip(c / radius, -1.0, 1.0))

    def below(angle: np.ndarray) -> np.ndarray:
        inside = np.clip(angle, -math.pi / 2, math.pi / 2)
        return np.asarray(stdtr(n, math.sqrt(n) * np.tan(inside)))

    above = below(peak + reach) - below(peak - reach) + below(peak + reach - 2 * math.pi)
    cumulated = np.hstack([np.zeros_like(u), 1.0 - above, np.ones_like(u)])
    return np.maximum(np.diff(cumulated, axis=1), 0.0)


def _stop(mass: np.ndarray, edges: np.ndarray, due: np.ndarray, sides: int) -> tuple[np.ndarray, np.ndarray]:
    """The p-value whose tail holds `due` of what is still running, and the mass that runs on."""
    cells = mass.shape[1]
    upper = mass[:, ::-1] + (mass if sides == 2 else 0.0)  # from the far tail inwards
    upper = upper[:, : cells // 2] if sides == 2 else upper
    tail = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(upper, axis=1)], axis=1)
    p = edges[: tail.shape[1]] * sides
    nominal = np.array([np.interp(d, t, p) for d, t in zip(due, tail, strict=True)])
    # The share of each cell that lies inside the bound.
    kept = np.clip((p[1:] - nominal[:, None]) / np.diff(p), 0.0, 1.0)
    inside = np.ones_like(mass)
    inside[:, cells - kept.shape[1] :] = kept[:, ::-1]
    if sides == 2:
        inside[:, : kept.shape[1]] = kept
    return np.maximum(nominal, 1e-12), mass * inside
