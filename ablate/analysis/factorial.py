"""Main effects and two-way interactions of factorial data, from one model over all trials.

Factors are coded so that a coefficient is the change from the reference level to another, averaged over the
levels of the other factors. One-factor data cannot show interactions and get no model here.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.analysis.findings import Interactions, Term
from ablate.analysis.multiplicity import holm
from ablate.analysis.paired import ROUNDING


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
    gone = [f for f in reference if all(row.get(f, reference[f]) != reference[f] for row in rows)]
    main = {f: _main(rows, f, reference[f]) for f in reference if f not in gone}
    # Without its reference level a factor has no contrast with it, but its levels still differ: the model
    # allows for them, as it does for blocks, and they are no terms.
    nuisance = [v for f in gone for v in _indicators([row[f] for row in rows])[1:]]
    pairs = [
        [_product(a, b) for a, b in itertools.product(*two)]
        for two in itertools.combinations(main.values(), 2)
    ]
    basis = _basis([*_indicators(blocks), *nuisance])
    kept, aliases, lost = _independent([*main.values(), *pairs], basis)
    notes = [
        f"no trial is left at the reference level {f}={reference[f]}: the effects of {f} cannot be estimated"
        for f in gone
    ]
    taken = basis.shape[1]
    df = len(y) - taken - len(kept)
    if df < 1:
        kept = [c for c in kept if len(c.factors) == 1]
        df = len(y) - taken - len(kept)
        notes.append("too few trials for interactions: main effects alone were fitted")
    if df < 1 or not kept:
        return None
    notes += [f"{name} cannot be estimated beside the other terms and is taken as zero" for name in lost]
    terms: tuple[Term, ...] = ()
    everything = np.column_stack([basis, *(c.values for c in kept)])
    rest = y - everything @ np.linalg.lstsq(everything, y)[0]
    if float(np.linalg.norm(rest)) <= ROUNDING * float(np.abs(y).max()) * df**0.5:
        fit = _Fit("ols", np.empty(0), np.empty(0), None, 0.0)
        notes.append("the same in every block but for rounding: no spread to test against")
    else:
        fit = _fit(y, kept, blocks, nuisance, notes)
        terms = _terms(kept, fit, df, aliases, alpha)
    chains = tuple(" = ".join((name, *others)) for name, others in aliases.items() if others)
    formula = [*(c.name for c in kept), *(f"C({f})" for f in gone), fit.blocks]
    return Interactions(
        fit.model, "outcome ~ " + " + ".join(formula), len(y), float(df),
        terms, fit.sd_block, fit.sd_residual, chains, tuple(notes),
    )  # fmt: skip


def _main(rows: Sequence[Mapping[str, str]], factor: str, reference: str) -> list[_Column]:
    """Simple coding: indicator of a level less 1/levels; two levels become −½ and +½."""
    own = [row.get(factor, reference) for row in rows]
    others = [v for v in dict.fromkeys(own) if v != reference]
    return [
        _Column((factor,), (level,), np.array([float(v == level) for v in own]) - 1 / (1 + len(others)))
        for level in others
    ]


def _product(a: _Column, b: _Column) -> _Column:
    return _Column(a.factors + b.factors, a.levels + b.levels, a.values * b.values)


def _indicators(values: Sequence[Any] | np.ndarray) -> list[np.ndarray]:
    """One column per different value."""
    found = np.asarray(values)
    return [(found == v).astype(float) for v in np.unique(found)]


def _basis(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Orthonormal columns that span those."""
    basis = np.empty((len(columns[0]), 0))
    for column in columns:
        basis = _wider(basis, column)
    return basis


def _wider(basis: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The basis with what a column adds to it; the same where it adds nothing."""
    left = column - basis @ (basis.T @ column)
    size = float(np.linalg.norm(left))
    if size <= 1e-8 * max(1.0, float(np.linalg.norm(column))):
        return basis
    return np.column_stack([basis, left / size])


def _independent(
    groups: Sequence[Sequence[_Column]], basis: np.ndarray
) -> tuple[list[_Column], dict[str, tuple[str, ...]], list[str]]:
    """Columns that can be told apart (lower order first); kept name → aliases; what is lost among several.

    An interaction is kept or lost as a whole: were only the columns of its empty cells left out, those that
    stay would be contrasts with another level than the reference.
    """
    kept: list[_Column] = []
    aliases: dict[str, tuple[str, ...]] = {}
    lost: list[str] = []
    for group in groups:
        wider, new, dependent = basis, [], []
        for column in group:
            before, wider = wider, _wider(wider, column.values)
            twin = next((k for k in kept if _same(k.values, column.values)), None)
            if wider is not before:
                new.append(column)
            elif twin is not None:
                aliases[twin.name] += (column.name,)
            else:
                dependent.append(column.name)
        if dependent and new and len(group[0].factors) > 1:
            lost.append(" × ".join(group[0].factors))
            continue
        kept, basis = kept + new, wider
        aliases |= {c.name: () for c in new}
        lost += dependent
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
    sd_residual: float

    @property
    def blocks(self) -> str:
        """How the formula writes the blocks: at random, or an intercept for each."""
        return "(1 | block)" if self.model == "mixedlm" else "C(block)"


def _fit(
    y: np.ndarray, kept: Sequence[_Column], blocks: np.ndarray, nuisance: Sequence[np.ndarray],
    notes: list[str],
) -> _Fit:  # fmt: skip
    """REML with a random intercept; ordinary least squares with an intercept per block where REML fails."""
    x = np.column_stack([np.ones(len(y)), *(c.values for c in kept), *nuisance])
    if len(set(blocks)) > 1:
        mixed = _mixed(y, x, blocks, len(kept))
        if mixed is not None:
            return mixed
        # The optimizer gives up at or near the bound of 0, which says nothing against the data.
        notes.append(
            "the variance between blocks could not be estimated, as happens where they hardly differ: least "
            "squares with an intercept per block, which needs none"
        )
    full = np.column_stack([x[:, 1:], *_indicators(blocks)])
    import statsmodels.api as sm

    found = sm.OLS(y, full).fit()
    terms = len(kept)
    return _Fit(
        "ols", np.asarray(found.params)[:terms], np.asarray(found.bse)[:terms], None,
        float(np.sqrt(found.mse_resid)),
    )  # fmt: skip


def _mixed(y: np.ndarray, x: np.ndarray, blocks: np.ndarray, terms: int) -> _Fit | None:
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import ConvergenceWarning, SingularMatrixWarning

    spread = float(y.std()) or 1.0  # fitted in units of the spread, where the optimizer is at home
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", SingularMatrixWarning)  # on the way, where blocks hardly differ
        try:
            found = sm.MixedLM((y - y.mean()) / spread, x, groups=blocks).fit(reml=True)
        except (ConvergenceWarning, np.linalg.LinAlgError, ValueError):
            return None
    errors = np.asarray(found.bse_fe) * spread
    if not found.converged or not np.isfinite(errors).all():
        return None
    between = max(0.0, float(np.asarray(found.cov_re)[0, 0]))
    return _Fit(
        "mixedlm", np.asarray(found.fe_params)[1 : 1 + terms] * spread, errors[1 : 1 + terms],
        between**0.5 * spread, float(found.scale) ** 0.5 * spread,
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
