"""Which tokens are hidden and by what: exactly k per row, drawn from a counter, so addressable by number.

Row n of a stream of sequences always gets the same random words (Philox, Salmon et al. 2011, keyed by the
mask seed, its counter set to n): the masks depend on nothing else, neither on the micro-batch size nor on
where a run was resumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Literal, get_args

import numpy as np

from ablate.data.tokenizer import MASK, SPECIALS
from ablate.knobs import Config, Knob, one_of

MaskRule = Literal["80-10-10", "all-mask"]
Drawn = np.ndarray  # [B, L] uint32

COLUMN_BITS = 12  # of a 32-bit key; rows of up to 4096 tokens
_COLUMN = np.uint32((1 << COLUMN_BITS) - 1)
_SPECIAL = np.uint32(1 << 31)  # sorts after every ordinary token
_BLOCK = 4  # 64-bit words per step of the Philox counter


class TokenMasking(Config):
    """Every token on its own (Devlin et al. 2019)."""

    kind: Literal["token"] = "token"

    def extra(self, length: int) -> int:
        """Random words per row beyond those that every masking draws."""
        return 0

    def keys(self, keys_BL: Drawn, extra_BE: Drawn, rows_BL: np.ndarray, continues_V: np.ndarray) -> Drawn:
        """Random keys whose smallest are hidden; tokens with one key go together, from left to right.

        `continues_V` is true for word pieces that go on with the word before them.
        """
        return keys_BL


class WholeWordMasking(TokenMasking):
    """All pieces of a word together, the last word chosen perhaps in part: the number per row is exact
    (whole-word masking, BERT's release notes, 2019).
    """

    kind: Literal["whole-word"] = "whole-word"  # type: ignore[assignment]

    def keys(self, keys_BL: Drawn, extra_BE: Drawn, rows_BL: np.ndarray, continues_V: np.ndarray) -> Drawn:
        return _shared(keys_BL, ~continues_V[rows_BL])


class SpanMasking(TokenMasking):
    """Runs of tokens whose lengths are geometric, the last one perhaps in part (Joshi et al. 2020,
    arXiv:1907.10529).
    """

    kind: Literal["span"] = "span"  # type: ignore[assignment]
    stop: Annotated[float, Knob("chance that a span ends after a token; SpanBERT 0.2", 0.05, 1.0)] = 0.2
    longest: Annotated[int, Knob("tokens of the longest span; SpanBERT 10", 2, 64, log=True)] = 10

    def extra(self, length: int) -> int:
        return length

    def keys(self, keys_BL: Drawn, extra_BE: Drawn, rows_BL: np.ndarray, continues_V: np.ndarray) -> Drawn:
        starts_BL = extra_BE < _share(self.stop)
        starts_BL[:, 0] = True
        since_BL = np.arange(rows_BL.shape[1]) - _starting(starts_BL)
        return _shared(keys_BL, starts_BL | (since_BL % self.longest == 0))


def _starting(starts_BL: np.ndarray) -> np.ndarray:
    """[B, L]: the column where the run of each token begins."""
    columns = np.where(starts_BL, np.arange(starts_BL.shape[1]), 0)
    return np.maximum.accumulate(columns, axis=1)


def _shared(keys_BL: Drawn, starts_BL: np.ndarray) -> Drawn:
    """The key of a run's first token, for all of it."""
    return np.take_along_axis(keys_BL, _starting(starts_BL), axis=1)


MaskingConfig = Annotated[TokenMasking | WholeWordMasking | SpanMasking, one_of]


@dataclass(frozen=True)
class Masker:
    """Hides exactly round(rate · length) tokens of each row (the reference's fixed count).

    `80-10-10` (Devlin et al. 2019): 80 % become [MASK], 10 % a random ordinary token, 10 % stay;
    `all-mask`: all become [MASK]. Special tokens are never chosen and never drawn. A row with fewer
    ordinary tokens than that predicts some of them twice, so that shapes stay static; a row without any
    predicts special tokens as they stand (packed text has no such row).
    """

    seed: int
    rate: float
    rule: MaskRule
    vocabulary: int
    masking: TokenMasking = TokenMasking()
    continues: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))  # [V]

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"mask rate must lie in (0, 1], but it is {self.rate}")
        if self.rule not in get_args(MaskRule):
            raise ValueError(
                f"mask rule must be one of {', '.join(get_args(MaskRule))}, but it is {self.rule}"
            )
        if self.vocabulary <= len(SPECIALS):
            raise ValueError(
                f"vocabulary must exceed the {len(SPECIALS)} special tokens, but it is {self.vocabulary}"
            )

    def count(self, length: int) -> int:
        """Predicted tokens per row, at least one."""
        return max(1, round(self.rate * length))

    def __call__(self, rows: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mask rows [B, L], which are sequences first, first + 1, … of the stream.

        Returns ids [B, L], positions [B, k] in the flat B·L, ascending, and labels [B, k], all int64.
        """
        ids = rows.astype(np.int64)
        k = self.count(rows.shape[1])
        keys, fates, words, extra = self._draw(len(rows), rows.shape[1], k, first)
        positions = choose(self.masking.keys(keys, extra, rows, self.continues), rows < len(SPECIALS), k)
        labels = ids.take(positions)
        ids.put(positions, self._replacement(labels, fates, words))
        return ids, positions, labels

    def _draw(self, batch: int, length: int, k: int, first: int) -> tuple[np.ndarray, ...]:
        """Random 32-bit words per row: length for the choice, k for the fate, k for the random token, and
        what the masking needs beyond.
        """
        ends = np.cumsum([length, k, k, self.masking.extra(length)]).tolist()
        blocks = -(-ends[-1] // (2 * _BLOCK))
        bits = np.random.Philox(key=self.seed, counter=first * blocks).random_raw(batch * blocks * _BLOCK)
        drawn = bits.view(np.uint32).reshape(batch, -1)
        return tuple(drawn[:, start:end] for start, end in pairwise([0, *ends]))

    def _replacement(self, labels: np.ndarray, fates: np.ndarray, words: np.ndarray) -> np.ndarray:
        if self.rule == "all-mask":
            put = np.full_like(labels, MASK)
        else:
            put = np.where(fates < _share(0.8), MASK, labels)
            # Unsigned: what lies below 0.8 wraps around to above 0.1.
            random = np.flatnonzero(fates - _share(0.8) < _share(0.9) - _share(0.8))
            ordinary = np.uint64(self.vocabulary - len(SPECIALS))
            drawn = (words.ravel()[random] * ordinary) >> np.uint64(32)
            put.put(random, len(SPECIALS) + drawn.astype(np.int64))
        if len(labels) and labels.min() < len(SPECIALS):  # rare: a row without any ordinary token
            put = np.where(labels < len(SPECIALS), labels, put)
        return put


def _share(probability: float) -> np.uint32:
    return np.uint32(round(probability * 2**32))


def choose(keys: np.ndarray, special: np.ndarray, k: int) -> np.ndarray:
    """Where the k ordinary tokens of each row with its smallest random keys [B, L] are: positions [B, k] in
    the flat B·L, ascending.
    """
    length = keys.shape[1]
    assert length <= 1 << COLUMN_BITS
    # The column in the low bits makes keys unique, so that exactly k are no larger than the k-th, and the
    # choice does not depend on how ties sort.
    keyed = keys >> np.uint32(1)
    keyed &= ~_COLUMN
    keyed |= np.arange(length, dtype=np.uint32)
    np.bitwise_or(keyed, _SPECIAL, out=keyed, where=special)
    largest = np.partition(keyed, k - 1, axis=1)[:, k - 1 : k]
    positions = np.flatnonzero(keyed <= largest).reshape(-1, k)
    for row in np.flatnonzero(largest >= _SPECIAL):  # rare: fewer than k ordinary tokens
        ordinary = np.sort(keyed[row][keyed[row] < _SPECIAL])
        if len(ordinary):
            positions[row] = np.sort(np.resize(ordinary & _COLUMN, k)) + row * length
    return positions
