"""Error rates of every method over simulated studies: `python -m ablate.analysis.simulate [studies]`.

Each row calls the functions that make findings on data whose truth is known. The tests hold the same rows to
their nominal values; docs/statistics.md shows the table.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ablate.analysis import power
from ablate.analysis.factorial import interactions
from ablate.analysis.items import crossed, draw, item_draws, multi_bootstrap, parts, seed_draws
from ablate.analysis.multiplicity import benjamini_hochberg, holm
from ablate.analysis.paired import Effect, effect, equivalence
from ablate.analysis.sequential import StoppingRule, decide
from ablate.analysis.unpaired import as_effect, dunnett, unpaired

Blocks = Mapping[int, float]


@dataclass(frozen=True)
class Row:
    """One simulated rate: `nominal` is what it should be, at most (`bound`) or about."""

    kind: str  # coverage, error, power
    method: str
    setting: str
    rate: float
    nominal: float
    studies: int
    bound: bool = False
    extra: str = ""

    @property
    def error(self) -> float:
        """Monte-Carlo standard error at the nominal rate."""
        return float((self.nominal * (1 - self.nominal) / self.studies) ** 0.5)

    @property
    def holds(self) -> bool:
        """Coverage and power within two points, error rates at most nominal, both beside chance."""
        slack = 3 * self.error
        if self.bound:
            return self.rate <= self.nominal + slack
        return abs(self.rate - self.nominal) <= 0.02 + slack


def keyed(values: np.ndarray) -> Blocks:
    """Values by block."""
    return dict(enumerate(map(float, values)))


def _rate(studies: int, hit: Callable[[], bool]) -> float:
    return sum(hit() for _ in range(studies)) / studies


# --- coverage ----------------------------------------------------------------------------------------


def paired_coverage(n: int, studies: int, rng: np.random.Generator) -> Row:
    """The paired t interval of normal differences."""

    def inside() -> bool:
        e = effect("m/x", keyed(rng.normal(0.7, 1, n)), dict.fromkeys(range(n), 0.0))
        return e.low is not None and e.high is not None and e.low <= 0.7 <= e.high

    return Row("coverage", "paired t", f"{n} blocks", _rate(studies, inside), 0.95, studies)


def welch_coverage(n: int, studies: int, rng: np.random.Generator) -> Row:
    """Welch's interval where the spreads differ twofold."""

    def inside() -> bool:
        u = unpaired(list(rng.normal(0.7, 2, n)), list(rng.normal(0, 1, n)))
        return u.low is not None and u.high is not None and u.low <= 0.7 <= u.high

    setting = f"{n} trials per arm, spreads 2:1"
    return Row("coverage", "Welch t", setting, _rate(studies, inside), 0.95, studies)


ITEM_NOISE = {"items": (0.0, 10.0, 20.0), "seeds": (3.0, 0.0, 20.0), "both": (1.0, 10.0, 20.0)}


def crossed_coverage(n: int, noise: str, studies: int, rng: np.random.Generator) -> Row:
    """Seed × item: a mean that should hold for new seeds and new examples."""
    seed, item, rest = ITEM_NOISE[noise]

    def inside() -> bool:
        d = 2 + rng.normal(0, seed, (n, 1)) + rng.normal(0, item, (1, 200)) + rng.normal(0, rest, (n, 200))
        t = crossed("m/x", d)
        return t.low is not None and t.high is not None and t.low <= 2 <= t.high

    setting = f"{n} seeds, noise of {noise}"
    return Row("coverage", "seed × item", setting, _rate(studies, inside), 0.95, studies)


def _runs(n: int, spread: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two equal arms on 120 examples of their own difficulty, two fine-tuning seeds each."""
    labels, ease = rng.integers(0, 2, 120), rng.normal(1, 1, 120)
    shared = rng.normal(0, spread, (n, 1, 1))
    arms = []
    for _ in range(2):
        own = rng.normal(0, spread, (n, 1, 1)) + rng.normal(0, spread, 120)  # likes other examples
        right = ease + shared + own + rng.normal(0, 1, (n, 2, 120)) > 0
        arms.append(np.where(right, labels, 1 - labels))
    return arms[0], arms[1], labels


def _graded(n: int, spread: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two equal arms that grade 120 examples, as correlations score them; seeds err more or less far."""
    truth = rng.normal(0, 1, 120)
    shared = rng.normal(0, spread, (n, 1, 1))
    arms = []
    for _ in range(2):
        own, likes = rng.normal(0, spread, (n, 1, 1)), rng.normal(0, spread, 120)
        arms.append(truth + likes + np.exp(shared + own) * rng.normal(0, 1, (n, 2, 120)))
    return arms[0], arms[1], truth


RUNS = {"mcc": _runs, "f1": _runs, "pearson": _graded, "spearman": _graded}


def bootstrap_coverage(n: int, score: str, spread: float, studies: int, rng: np.random.Generator) -> Row:
    """Multi-bootstrap of a score that is no mean; the arms are equal, so the truth is 0."""

    def inside() -> bool:
        arm, reference, labels = RUNS[score](n, spread, rng)
        weights = item_draws(len(labels), 300, rng)
        sides = [draw(score, side, labels, weights) for side in (arm, reference)]
        t = multi_bootstrap("m/x", score, *sides, chosen=seed_draws(n, len(weights), rng))
        return t.low is not None and t.high is not None and t.low <= 0 <= t.high

    setting = f"{score}, {n} seeds, noise {spread:g}"
    return Row("coverage", "multi-bootstrap", setting, _rate(studies, inside), 0.95, studies)


def linearised_coverage(n: int, score: str, spread: float, studies: int, rng: np.random.Generator) -> Row:
    """The same studies, the score as the mean of its parts: of as few examples it is least like one."""

    def inside() -> bool:
        arm, reference, labels = RUNS[score](n, spread, rng)
        one, other = (parts(score, side, labels) for side in (arm, reference))
        t = crossed("m/x", one.items - other.items, score=score)
        return t.low is not None and t.high is not None and t.low <= 0 <= t.high

    setting = f"{score}, {n} seeds, noise {spread:g}"
    return Row("coverage", "seed × item, linearised", setting, _rate(studies, inside), 0.95, studies)


def repeated_coverage(studies: int, rng: np.random.Generator) -> Row:
    """The interval of a stopping rule, at whatever look it stopped."""
    rule = StoppingRule(3, 10)

    def inside() -> bool:
        d = list(rng.normal(1, 1, rule.most))
        for n in rule.looks:
            found = decide({"a": d[:n]}, rule)
            if found.next_look is None:
                break
        c = found.contrasts["a"]
        return c.low is not None and c.high is not None and c.low <= 1 <= c.high

    rate = _rate(studies, inside)
    # It covers at all looks together, so at one of them it covers more: only too little would be wrong.
    return Row("error", "repeated t interval misses", "3 to 10 blocks", 1 - rate, 0.05, studies, bound=True)


CROSSED = {
    "every cell in every block": "00 10 01 11",
    "a probe on two blocks": "000 100 010 001 110 011",
}


def model_coverage(n: int, cells: str, studies: int, rng: np.random.Generator) -> Row:
    """The interaction of two factors, from the model of a factorial study that lost two trials."""
    arms = {arm: dict(zip("abc", arm, strict=False)) for arm in CROSSED[cells].split()}

    single = [arm for arm in arms if arm.count("1") < 2]  # of the others none may be spared

    def inside() -> bool:
        luck, values = rng.normal(0, 1, n), dict[str, dict[int, float]]()
        for arm, own in arms.items():
            most = 2 if len(own) == 3 and arm not in single else n
            truth = -0.8 * (own["a"] == own["b"] == "1")
            values[arm] = {k: luck[k] + truth + rng.normal() for k in range(most)}
        for _ in range(2):
            values[str(rng.choice(single))].pop(int(rng.integers(n)), None)
        found = interactions(arms, values, dict.fromkeys(next(iter(arms.values())), "0"))
        assert found is not None
        (term,) = (t for t in found.terms if t.factors == ("a", "b"))
        return term.low <= -0.8 <= term.high

    setting = f"interaction, {n} blocks, two trials lost, {cells}"
    return Row("coverage", "factorial model", setting, _rate(studies, inside), 0.95, studies)


# --- errors ------------------------------------------------------------------------------------------


def _null(arms: int, n: int, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    block = rng.normal(0, 2, n)
    return [block + rng.normal(0, 1, n) for _ in range(arms)], block + rng.normal(0, 1, n)


def holm_error(n: int, arms: int, studies: int, rng: np.random.Generator) -> Row:
    """Any false verdict among null arms that share a baseline."""

    def wrong() -> bool:
        others, base = _null(arms, n, rng)
        p = holm({str(i): effect("m/x", keyed(x), keyed(base)).p for i, x in enumerate(others)})
        return any(x is not None and x <= 0.05 for x in p.values())

    setting = f"{arms} null arms, {n} blocks"
    return Row("error", "family-wise, Holm", setting, _rate(studies, wrong), 0.05, studies, bound=True)


def uncorrected_error(n: int, arms: int, studies: int, rng: np.random.Generator) -> Row:
    """The same without correction, for scale; it has no nominal value to hold."""

    def wrong() -> bool:
        others, base = _null(arms, n, rng)
        return any((effect("m/x", keyed(x), keyed(base)).p or 1) <= 0.05 for x in others)

    setting = f"{arms} null arms, {n} blocks"
    rate = _rate(studies, wrong)
    return Row("error", "family-wise, uncorrected (not used)", setting, rate, 1.0, studies, bound=True)


def dunnett_error(n: int, arms: int, studies: int, rng: np.random.Generator) -> Row:
    """Any false alarm of Dunnett's test among null arms without shared blocks."""

    def wrong() -> bool:
        p = dunnett({str(i): list(rng.normal(0, 1, n)) for i in range(arms)}, list(rng.normal(0, 1, n)))
        return min(p.values()) <= 0.05

    setting = f"{arms} null arms, {n} trials each"
    return Row("error", "family-wise, Dunnett", setting, _rate(studies, wrong), 0.05, studies, bound=True)


def sequential_error(arms: int, studies: int, rng: np.random.Generator) -> Row:
    """Any false verdict at any look, arms dropped once settled."""
    rule = StoppingRule(3, 8)

    def wrong() -> bool:
        others, base = _null(arms, rule.most, rng)
        d = {str(i): list(x - base) for i, x in enumerate(others)}
        return any(
            c.settled
            for n in rule.looks
            for c in decide({a: x[:n] for a, x in d.items()}, rule).contrasts.values()
        )

    setting = f"{arms} null arms, a look after each of 3 to 8 blocks"
    return Row(
        "error", "family-wise, stopping rule", setting, _rate(studies, wrong), 0.05, studies, bound=True
    )


def tost_error(n: int, studies: int, rng: np.random.Generator) -> Row:
    """Equivalence claimed of an arm that is one margin away."""

    def wrong() -> bool:
        e = effect("m/x", keyed(rng.normal(1, 0.4, n)), dict.fromkeys(range(n), 0.0))
        found = equivalence(e, 1.0)
        return found is not None and found.p <= 0.05

    setting = f"{n} blocks, truth at the margin"
    return Row("error", "false equivalence, TOST", setting, _rate(studies, wrong), 0.05, studies, bound=True)


def unpaired_tost_error(n: int, studies: int, rng: np.random.Generator) -> Row:
    """Equivalence claimed of an arm that is one margin away and shares no blocks with its reference."""

    def wrong() -> bool:
        found = unpaired(list(rng.normal(1, 0.4, n)), list(rng.normal(0, 0.2, n)))
        tost = equivalence(as_effect(found, "m/x"), 1.0)
        return tost is not None and tost.p <= 0.05

    setting = f"{n} trials per arm, spreads 2:1, truth at the margin"
    return Row(
        "error", "false equivalence, unpaired TOST", setting, _rate(studies, wrong), 0.05, studies, bound=True
    )


def screen_error(studies: int, rng: np.random.Generator) -> Row:
    """Share of false among the discoveries of a screen with 15 null and 5 real arms."""

    def share() -> float:
        p = {}
        for i in range(20):
            x = rng.normal(2.5 if i < 5 else 0, 1, 6)
            p[str(i)] = effect("m/x", keyed(x), dict.fromkeys(range(6), 0.0)).p
        found = [int(a) for a, x in benjamini_hochberg(p).items() if x is not None and x <= 0.05]
        return sum(i >= 5 for i in found) / max(1, len(found))

    rate = sum(share() for _ in range(studies)) / studies
    setting = "15 null and 5 real arms, 6 blocks"
    return Row("error", "false discoveries, Benjamini–Hochberg", setting, rate, 0.05, studies, bound=True)


# --- power -------------------------------------------------------------------------------------------


def paired_power(n: int, comparisons: int, studies: int, rng: np.random.Generator) -> Row:
    """The effect that `resolvable` names is found four times in five."""
    size = power.resolvable(n, 1.0, comparisons=comparisons) or 0.0

    def found() -> bool:
        e = effect("m/x", keyed(rng.normal(size, 1, n)), dict.fromkeys(range(n), 0.0))
        return e.p is not None and e.p <= 0.05 / comparisons

    setting = f"{n} blocks, effect {size:.2f} SD" + (f", family of {comparisons}" if comparisons > 1 else "")
    return Row("power", "paired t at the resolvable effect", setting, _rate(studies, found), 0.8, studies)


def tost_power(n: int, studies: int, rng: np.random.Generator) -> Row:
    """The margin that `equivalence_margin` names is shown of equal arms four times in five."""
    margin = power.equivalence_margin(n, 1.0) or 0.0

    def found() -> bool:
        e = effect("m/x", keyed(rng.normal(0, 1, n)), dict.fromkeys(range(n), 0.0))
        tost = equivalence(e, margin)
        return tost is not None and tost.p <= 0.05

    setting = f"{n} blocks, margin {margin:.2f} SD"
    return Row("power", "TOST of equal arms", setting, _rate(studies, found), 0.8, studies)


def unpaired_power(n: int, studies: int, rng: np.random.Generator) -> Row:
    """The effect that `resolvable` names for arms that share no blocks is found four times in five."""

    def drawn(size: float) -> Effect:
        found = unpaired(list(rng.normal(size, 1, n)), list(rng.normal(0, 1, n)))
        return as_effect(found, "m/x")

    # Welch's t keeps fewer degrees of freedom than the 2 (n - 1) of equal spreads: 1.6 (n - 1) with 3 trials.
    freedom = sum(drawn(0.0).freedom for _ in range(1000)) / 1000
    size = power.resolvable(n, math.sqrt(2), freedom=freedom) or 0.0

    def found() -> bool:
        p = drawn(size).p
        return p is not None and p <= 0.05

    setting = f"{n} trials per arm, effect {size:.2f} SD"
    return Row("power", "Welch t at the resolvable effect", setting, _rate(studies, found), 0.8, studies)


def sequential_power(size: float, studies: int, rng: np.random.Generator) -> Row:
    """What the stopping rule finds and how many blocks it takes, beside a fixed design of its maximum."""
    rule, used, hits = StoppingRule(3, 10), 0, 0
    for _ in range(studies):
        d = list(rng.normal(size, 1, rule.most))
        for n in rule.looks:
            found = decide({"a": d[:n]}, rule)
            if found.next_look is None:
                break
        used += n
        hits += found.contrasts["a"].settled == "helps"
    fixed = power.t_power(size, 1.0, rule.most)
    extra = f"{used / studies:.1f} blocks on average; 10 fixed blocks: {fixed:.2f}"
    setting = f"effect {size:g} SD, 3 to 10 blocks"
    return Row("power", "stopping rule", setting, hits / studies, fixed, studies, bound=True, extra=extra)


def rows(studies: int = 2000, seed: int = 0) -> Iterator[Row]:
    """The whole table; slow ones over at least 1,000 studies too."""
    rng = np.random.default_rng(seed)
    for n in (3, 5, 10):
        yield paired_coverage(n, studies, rng)
    for n in (5, 10):
        yield welch_coverage(n, studies, rng)
    for n in (3, 5, 10):
        for noise in ITEM_NOISE:
            yield crossed_coverage(n, noise, studies, rng)
    yield repeated_coverage(studies, rng)
    yield uncorrected_error(5, 10, studies, rng)
    for n in (3, 5, 10):
        yield holm_error(n, 10, studies, rng)
    yield dunnett_error(5, 5, max(1000, studies // 2), rng)
    yield sequential_error(5, max(1000, studies // 2), rng)
    for n in (3, 5, 10):
        yield tost_error(n, studies, rng)
    yield screen_error(studies, rng)
    for n in (3, 5, 10):
        yield paired_power(n, 1, studies, rng)
    yield paired_power(5, 10, studies, rng)
    for n in (3, 5, 10):
        yield tost_power(n, studies, rng)
    for size in (1.0, 2.0, 4.0):
        yield sequential_power(size, max(1000, studies // 2), rng)
    for n in (3, 5):
        for score in ("mcc", "f1"):
            for spread in (0.3, 0.1):
                yield bootstrap_coverage(n, score, spread, max(1000, studies // 2), rng)
    for n in (3, 5):
        for score in ("mcc", "f1"):
            for spread in (0.3, 0.1):
                yield linearised_coverage(n, score, spread, studies, rng)
    for n in (3, 5, 10):
        yield unpaired_tost_error(n, studies, rng)
        yield unpaired_power(n, studies, rng)
    alone = np.random.default_rng(20261128)  # these need none of the rows before them
    for n in (3, 5):
        for cells in CROSSED:
            yield model_coverage(n, cells, max(1000, studies // 2), alone)
    for n in (3, 5):
        for score in ("pearson", "spearman"):
            for spread in (0.3, 0.05):
                yield bootstrap_coverage(n, score, spread, max(1000, studies // 2), alone)
                yield linearised_coverage(n, score, spread, max(1000, studies // 2), alone)


def markdown(found: Iterator[Row]) -> Iterator[str]:
    """The table, a line at a time."""
    yield "| | method | setting | rate | nominal | studies |"
    yield "| :-- | :-- | :-- | --: | --: | --: |"
    for row in found:
        nominal = "–" if row.nominal == 1 else f"{'≤ ' if row.bound else ''}{row.nominal:.3g}"
        setting = f"{row.setting}; {row.extra}" if row.extra else row.setting
        yield f"| {row.kind} | {row.method} | {setting} | {row.rate:.3f} | {nominal} | {row.studies:,} |"


if __name__ == "__main__":
    for line in markdown(rows(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)):
        print(line, flush=True)
