"""Main effects and two-way interactions of factorial data, from one model over all trials.

Factors are coded so that a coefficient is the change from the reference level to another, averaged over the
levels of the other factors. One-factor data cannot show interactions and get no model here.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.analysis.findings import Interactions, Term
from ablate.analysis.multiplicity import holm


@dataclass(frozen=True)
class _Column:
    """One coded column: a level of a factor, or a product of two such."""

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    values: np.ndarray

    @property
    def name(self) -> str:
        return " × ".join(f"{f}={v}" for f, v in zip(self.factors, self.levels, strict=True))


def is_factorial(levels: Mapping[str, Mapping[str, str]], reference: Mapping[str, str]) -> bool:
    """Whether some arm changes two factors at once: without that, no interaction can be seen."""
    return any(sum(own.get(f) != reference[f] for f in reference) >= 2 for own in levels.values() if own)


def interactions(
    levels: Mapping[str, Mapping[str, str]],
    values: Mapping[str, Mapping[int, float]],
    reference: Mapping[str, str],
    *,
    alpha: float = 0.05,
) -> Interactions | None:
    """`levels`: arm → factor → level; `values`: arm → block → outcome; `reference`: the baseline's levels.

    Mixed model with a random intercept per block (REML); t with the residual degrees of freedom after blocks
    and terms, which is exact where every block holds every arm. None where nothing can be fitted.
    """
    cells = [
        (arm, block, y) for arm in levels if levels[arm] for block, y in sorted(values.get(arm, {}).items())
    ]
    if not cells:
        return None
    rows = [levels[arm] for arm, _, _ in cells]
    blocks = np.array([block for _, block, _ in cells])
    y = np.array([value for _, _, value in cells])
    singles = _main(rows, reference)
    pairs = [_product(a, b) for a, b in itertools.combinations(singles, 2) if a.factors != b.factors]
    kept, aliases, lost = _independent(singles, pairs, len(y))
    strata = len(set(blocks))
    notes: list[str] = []
    df = len(y) - len(kept) - strata
    if df < 1:
        kept, df = [c for c in kept if len(c.factors) == 1], len(y) - len(singles) - strata
        notes.append("too few trials for interactions: main effects alone were fitted")
    if df < 1 or not kept:
        return None
    fit = _fit(y, kept, blocks, notes)
    terms = _terms(kept, fit, df, aliases, alpha)
    notes += [f"{name} cannot be estimated beside the other terms" for name in lost]
    chains = tuple(" = ".join((name, *others)) for name, others in aliases.items() if others)
    return Interactions(
        fit.model, "outcome ~ " + " + ".join([*(c.name for c in kept), fit.blocks]), len(y), float(df),
        terms, fit.sd_block, fit.sd_residual, chains, tuple(notes),
    )  # fmt: skip


def _main(rows: Sequence[Mapping[str, str]], reference: Mapping[str, str]) -> list[_Column]:
    """Simple coding: indicator of a level less 1/levels; two levels become −½ and +½."""
    found = []
    for factor in reference:
        own = [row.get(factor, reference[factor]) for row in rows]
        others = [v for v in dict.fromkeys(own) if v != reference[factor]]
        for level in others:
            coded = np.array([float(v == level) for v in own]) - 1 / (1 + len(others))
            found.append(_Column((factor,), (level,), coded))
    return found


def _product(a: _Column, b: _Column) -> _Column:
    return _Column(a.factors + b.factors, a.levels + b.levels, a.values * b.values)


def _independent(
    singles: Sequence[_Column], pairs: Sequence[_Column], trials: int
) -> tuple[list[_Column], dict[str, tuple[str, ...]], list[str]]:
    """Columns that can be told apart (lower order first); kept name → aliases; what is lost among several."""
    kept: list[_Column] = []
    basis = np.ones((trials, 1)) / np.sqrt(trials)
    aliases: dict[str, tuple[str, ...]] = {}
    lost: list[str] = []
    for column in (*singles, *pairs):
        left = column.values - basis @ (basis.T @ column.values)
        if float(np.linalg.norm(left)) > 1e-8 * max(1.0, float(np.linalg.norm(column.values))):
            kept.append(column)
            aliases[column.name] = ()
            basis = np.column_stack([basis, left / np.linalg.norm(left)])
            continue
        twin = next((k for k in kept if _same(k.values, column.values)), None)
        if twin is None:
            lost.append(column.name)
        else:
            aliases[twin.name] += (column.name,)
    return kept, aliases, lost


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two columns are one but for scale and mean."""
    a, b = a - a.mean(), b - b.mean()
    together = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return together > 0 and abs(float(a @ b)) > (1 - 1e-9) * together


@dataclass(frozen=True)
class _Fit:
    model: Literal["mixedlm", "ols"]
    estimates: np.ndarray
    errors: np.ndarray
    sd_block: float | None
    sd_residual: float | None

    @property
    def blocks(self) -> str:
        """How the formula writes the blocks: at random, or an intercept for each."""
        return "(1 | block)" if self.model == "mixedlm" else "C(block)"


def _fit(y: np.ndarray, kept: Sequence[_Column], blocks: np.ndarray, notes: list[str]) -> _Fit:
    """REML with a random intercept; ordinary least squares with an intercept per block where REML fails."""
    x = np.column_stack([np.ones(len(y)), *(c.values for c in kept)])
    if len(set(blocks)) > 1:
        mixed = _mixed(y, x, blocks)
        if mixed is not None:
            return mixed
        notes.append("the mixed model did not converge: least squares with an intercept per block")
    dummies = np.column_stack([(blocks == b).astype(float) for b in sorted(set(blocks))])
    full = np.column_stack([x[:, 1:], dummies])
    import statsmodels.api as sm

    found = sm.OLS(y, full).fit()
    terms = len(kept)
    return _Fit(
        "ols", np.asarray(found.params)[:terms], np.asarray(found.bse)[:terms], None,
        float(np.sqrt(found.mse_resid)),
    )  # fmt: skip


def _mixed(y: np.ndarray, x: np.ndarray, blocks: np.ndarray) -> _Fit | None:
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    spread = float(y.std()) or 1.0  # fitted in units of the spread, where the optimizer is at home
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            found = sm.MixedLM((y - y.mean()) / spread, x, groups=blocks).fit(reml=True)
        except (ConvergenceWarning, np.linalg.LinAlgError, ValueError):
            return None
    errors = np.asarray(found.bse_fe) * spread
    if not found.converged or not np.isfinite(errors).all():
        return None
    between = max(0.0, float(np.asarray(found.cov_re)[0, 0]))
    return _Fit(
        "mixedlm", np.asarray(found.fe_params)[1:] * spread, errors[1:], between**0.5 * spread,
        float(found.scale) ** 0.5 * spread,
    )  # fmt: skip


def _terms(
    kept: Sequence[_Column], fit: _Fit, df: int, aliases: Mapping[str, tuple[str, ...]], alpha: float
) -> tuple[Term, ...]:
    reach = float(stdtrit(df, 1 - alpha / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.nan_to_num(2 * stdtr(df, -np.abs(fit.estimates / fit.errors)), nan=1.0)
    adjusted: dict[str, float | None] = {}
    for order in (1, 2):
        group = {c.name: float(x) for c, x in zip(kept, p, strict=True) if len(c.factors) == order}
        adjusted |= holm(group)
    return tuple(
        Term(
            c.name, c.factors, c.levels, float(b), float(b - reach * se), float(b + reach * se), float(x),
            float(adjusted[c.name] or 0.0), aliases.get(c.name, ()),
        )
        for c, b, se, x in zip(kept, fit.estimates, fit.errors, p, strict=True)
    )  # fmt: skip
