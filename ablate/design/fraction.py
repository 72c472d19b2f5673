"""Two-level fractional factorials: which runs, at what resolution, and what is then confounded with what.

pyDOE3 builds the runs from generators. The fraction taken is always the one that holds the baseline (all
factors at their low level): the others differ by signs alone, and the baseline is what readers compare with.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablate.words import roman

MOST = 15  # factors: the defining relation has 2^(factors − base) words


class NoFractionError(ValueError):
    """There is no fraction of the wanted resolution; the message says what there is."""


@dataclass(frozen=True)
class Fraction:
    """Runs (rows) by factors (columns); True is the level that is not the baseline's."""

    runs: tuple[tuple[bool, ...], ...]
    resolution: int | None  # length of the shortest word of the defining relation; None: a full factorial
    aliases: tuple[str, ...]  # `a = -bc + de`, for main effects and two-factor interactions


def fraction(names: Sequence[str], resolution: int) -> Fraction:
    """The smallest fraction of at least that resolution. Raises NoFractionError."""
    signs = _signs(len(names), resolution)
    # A column times a sign is the same design in another fraction; the first row becomes the baseline.
    signs = signs * -signs[0]
    runs = tuple(tuple(bool(sign > 0) for sign in row) for row in signs)
    return Fraction(runs, shortest_word(signs), aliases(signs, names))


def _signs(factors: int, resolution: int) -> np.ndarray:
    from pyDOE3 import ff2n, fracfact

    if factors > MOST:
        raise NoFractionError(f"at most {MOST} factors; here are {factors}")
    if factors <= 2:
        return np.asarray(ff2n(factors))
    if factors < resolution:
        raise NoFractionError(
            f"{factors} factors have no fraction of resolution {roman(resolution)}, which needs at least "
            f"{resolution}; use `resolution: {factors}` or kind: factorial ({2**factors} arms)"
        )
    base, words = generators(factors, resolution)
    letters = "abcdefghijklmnopqrstuvwxyz"
    said = ["".join(letters[i] for i in range(base) if word >> i & 1) for word in words]
    return np.asarray(fracfact(" ".join([*letters[:base], *said])))


def generators(factors: int, resolution: int) -> tuple[int, tuple[int, ...]]:
    """Base factors and, for each further factor, the product of base factors that it equals (as bits).

    The fewest base factors for which the words of the defining relation are all long enough. pyDOE3's own
    `fracfact_by_res` is not used: for 7 factors at resolution V it gives a design of resolution IV (1.6.2).
    """
    base = factors.bit_length()  # at least this many, for runs to outnumber the factors
    while base < factors:
        found = _choose(base, factors, resolution)
        if found is not None:
            return base, found
        base += 1
    return factors, ()


def _choose(base: int, factors: int, resolution: int, most: int = 20_000) -> tuple[int, ...] | None:
    """Generators by backtracking, longest first; None when there are none, or none among `most` tries."""
    words = sorted(range(1, 2**base), key=lambda word: (-word.bit_count(), word))
    words = [word for word in words if word.bit_count() >= resolution - 1]
    tries = itertools.count()

    def extend(taken: tuple[int, ...], relation: tuple[int, ...], start: int) -> tuple[int, ...] | None:
        if len(taken) == factors - base:
            return taken
        for at in range(start, len(words)):
            if next(tries) > most:
                return None
            new = words[at] | 1 << base + len(taken)
            more = (new, *(new ^ word for word in relation))
            if all(word.bit_count() >= resolution for word in more):
                found = extend((*taken, words[at]), (*relation, *more), at + 1)
                if found is not None:
                    return found
        return None

    return extend((), (), 0)


def shortest_word(signs: np.ndarray) -> int | None:
    """The resolution: how many factors multiply to a constant, at least. None when none do."""
    runs, factors = signs.shape
    if runs >= 2**factors:
        return None
    for length in range(1, factors + 1):
        for word in itertools.combinations(range(factors), length):
            if abs(signs[:, word].prod(axis=1).sum()) == runs:
                return length
    return None


def aliases(signs: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """Every chain of main effects and two-factor interactions that the runs cannot tell apart."""
    columns: dict[tuple[float, ...], list[str]] = {}
    words = [*itertools.combinations(range(len(names)), 1), *itertools.combinations(range(len(names)), 2)]
    for word in words:
        column = signs[:, word].prod(axis=1)
        sign = column[0]
        said = "×".join(names[i] for i in word)
        columns.setdefault(tuple(column * sign), []).append(("" if sign > 0 else "-") + said)
    return tuple(_chain(words) for words in columns.values() if len(words) > 1)


def _chain(words: list[str]) -> str:
    first, *others = words
    flip = first.startswith("-")
    rest = [w.removeprefix("-") if w.startswith("-") == flip else f"-{w.removeprefix('-')}" for w in others]
    return f"{first.removeprefix('-')} = " + " = ".join(rest)
