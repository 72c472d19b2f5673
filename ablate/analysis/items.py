"""Effects from saved predictions that would hold for new seeds and new examples.

A score's spread over seeds says nothing of the examples it was measured on: a seed-only interval covers a
new validation set's effect in as little as a fifth of cases. Where the score is a mean over examples
(accuracy), seeds and examples are crossed random effects with closed forms; where it is not (MCC, F1,
correlations), the multi-bootstrap (Sellam et al. 2022) draws both again. Of many examples such a score is
as good as a mean: of what each of them adds to it, and the closed forms hold again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.analysis.findings import TaskEffect
from ablate.analysis.scores import SCORES

DRAWS = 1000
Method = Literal["seed x item", "seed x item, linearised", "multi-bootstrap"]
LEAST_SEEDS = 3  # below, resampling seeds has hardly anything to draw from
# Examples from which on a score counts as the mean of its parts. Even of 120 they cover as well as the
# multi-bootstrap (docs/statistics.md); a thousand draws of QQP's 40,430 cost 160 GFLOP for 1,000 trials.
MANY = 10_000


@dataclass(frozen=True)
class Parts:
    """The runs of one arm where the score is a mean over examples, or as good as one."""

    each: np.ndarray  # [seed, fine-tuning seed], in points
    items: np.ndarray  # [seed, item]: what each example adds, the mean over fine-tuning seeds, in points


def parts(score: str, predictions: np.ndarray, labels: np.ndarray) -> Parts:
    """Score predictions [seed, fine-tuning seed, item]."""
    if score == "accuracy":
        hits = predictions == labels
        return Parts(100.0 * hits.mean(axis=2), 100.0 * hits.mean(axis=1))
    each, slopes = SCORES[score].linear(predictions, labels)
    return Parts(each, each.mean(axis=1, keepdims=True) + slopes)


def crossed(
    metric: str,
    differences: np.ndarray,
    *,
    score: str = "accuracy",
    alpha: float = 0.05,
    finetuning_seeds: int = 1,
) -> TaskEffect:
    """A score that is a mean over examples: `differences` [seed, item] of arm and reference, in points.

    d = μ + seed + item + rest, all random and independent. The variance of the mean is
    (MS_seed + MS_item − MS_rest) / (seeds · items), its degrees of freedom Satterthwaite's.
    """
    seeds, items = differences.shape
    found = TaskEffect(
        metric, score, "none", seeds, items, finetuning_seeds, float(differences.mean()), level=1 - alpha
    )
    if seeds < 2 or items < 2:
        return replace(found, note="one block: no interval")
    method: Method = "seed x item" if score == "accuracy" else "seed x item, linearised"
    return _interval(found, method, *mean_squares(differences))


def _interval(
    found: TaskEffect, method: Method, ms_seed: float, ms_item: float, ms_rest: float
) -> TaskEffect:
    """The t interval from the mean squares of seeds, items and their interaction."""
    seeds, items = found.seeds, found.items
    # Chance can make the sum too small, even negative, though the truth is never below either mean square.
    # Half-way back covers .94 to .97 with 3 to 10 seeds; no correction .93 to .97, a whole one .95 to .98.
    total, least = ms_seed + ms_item - ms_rest, max(ms_seed, ms_item)
    total = max(total, (total + least) / 2, ms_rest)
    found = replace(
        found,
        sd_seed=math.sqrt(max(0.0, (ms_seed - ms_rest) / items)),
        sd_item=math.sqrt(max(0.0, (ms_item - ms_rest) / seeds)),
        sd_residual=math.sqrt(ms_rest),
    )
    if total <= 0:
        return replace(found, note="no prediction differs: no spread to test against")
    spread = ms_seed**2 / (seeds - 1) + ms_item**2 / (items - 1) + ms_rest**2 / ((seeds - 1) * (items - 1))
    df = max(float(seeds - 1), total**2 / spread)
    se = math.sqrt(total / (seeds * items))
    reach = float(stdtrit(df, (1 + found.level) / 2)) * se
    mean = found.estimate
    assert mean is not None
    p = float(2 * stdtr(df, -abs(mean) / se))
    return replace(found, method=method, low=mean - reach, high=mean + reach, p=p, df=df)


def mean_squares(d: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of seeds (rows), items (columns) and what is left."""
    seeds, items = d.shape
    d = d - d.mean()
    ms_seed = items * float((d.mean(axis=1) ** 2).sum()) / (seeds - 1)
    ms_item = seeds * float((d.mean(axis=0) ** 2).sum()) / (items - 1)
    rest = float(np.vdot(d, d)) - ms_seed * (seeds - 1) - ms_item * (items - 1)
    return ms_seed, ms_item, max(0.0, rest) / ((seeds - 1) * (items - 1))


def item_draws(items: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each example is in each draw: [draw, item].

    Counted and not taken from `rng.multinomial`, which is six times slower: 2.9 s for 40,000 examples.
    """
    counts = np.empty((draws, items), np.float32)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, items, items), minlength=items)
    return counts


@dataclass(frozen=True)
class Drawn:
    """The runs of one arm under the multi-bootstrap, in points."""

    each: np.ndarray  # […, fine-tuning seed]: every example once
    drawn: np.ndarray  # [draw, …, fine-tuning seed]: under each draw of the examples
    items: int


def draw(score: str, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Drawn:
    """Score predictions […, item] as they are and under `weights` [draw, item]."""
    return Drawn(*SCORES[score].all_and_weighted(predictions, labels, weights), len(labels))


def seed_draws(seeds: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """The share that each seed has of each draw: [draw, seed]."""
    return np.asarray(rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds)


def multi_bootstrap(
    metric: str, score: str, arm: Drawn, reference: Drawn, *, chosen: np.ndarray, alpha: float = 0.05
) -> TaskEffect:
    """Any score. Each draw takes seeds (`chosen`) and items, both the same for both arms, scores every run,
    averages fine-tuning seeds, then seeds.

    The draws' variance is split into seeds, items and both together, and enters the t interval of `crossed`:
    plain percentiles count the interaction twice over and know nothing of degrees of freedom (coverage .82
    with three seeds where the interaction is small).
    """
    seeds, repeats = arm.each.shape
    each = (arm.each - reference.each).mean(axis=1)  # per seed
    found = TaskEffect(metric, score, "none", seeds, arm.items, repeats, float(each.mean()), level=1 - alpha)
    if seeds < LEAST_SEEDS:
        return replace(found, note=f"{seeds} block(s): the multi-bootstrap needs {LEAST_SEEDS}")
    drawn = (arm.drawn - reference.drawn).mean(axis=2)
    by_items = drawn.mean(axis=1)
    together = (chosen * drawn).sum(axis=1) - chosen @ each - by_items + each.mean()
    size, small = seeds * arm.items, seeds / (seeds - 1)
    return _interval(
        found, "multi-bootstrap", size * float(each.var(ddof=1)) / seeds,
        size * float(by_items.var(ddof=1)), size * small * float(together.var(ddof=1)),
    )  # fmt: skip
