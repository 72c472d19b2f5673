"""Which tokens are hidden and by what: exactly k per row, drawn from a counter, so addressable by number.

Row n of a stream of sequences always gets the same random words (Philox, Salmon et al. 2011, keyed by the
mask seed, its counter set to n): the masks depend on nothing else, neither on the micro-batch size nor on
where a run was resumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

        Returns ids [B, L] int64, columns [B, k] ascending in each row, labels [B, k], both int64.
        """
        ids = rows.astype(np.int64)
        k = self.count(rows.shape[1])
        keys, fates, words, extra = self._draw(len(rows), rows.shape[1], k, first)
        columns = choose(self.masking.keys(keys, extra, rows, self.continues), ids < len(SPECIALS), k)
        labels = np.take_along_axis(ids, columns, axis=1)
        hidden = labels >= len(SPECIALS)
        np.put_along_axis(
            ids, columns, np.where(hidden, self._replacement(labels, fates, words), labels), axis=1
        )
        return ids, columns, labels

    def _draw(self, batch: int, length: int, k: int, first: int) -> tuple[np.ndarray, ...]:
        """Random 32-bit words per row: length for the choice, k for the fate, k for the random token, and
        what the masking needs beyond.
        """
        more = self.masking.extra(length)
        blocks = -(-(length + 2 * k + more) // (2 * _BLOCK))
        bits = np.random.Philox(key=self.seed, counter=first * blocks).random_raw(batch * blocks * _BLOCK)
        drawn = bits.view(np.uint32).reshape(batch, -1)
        return tuple(
            np.split(drawn[:, : length + 2 * k + more], (length, length + k, length + 2 * k), axis=1)
        )

    def _replacement(self, labels: np.ndarray, fates: np.ndarray, words: np.ndarray) -> np.ndarray:
        if self.rule == "all-mask":
            return np.full_like(labels, MASK)
        ordinary = np.uint64(self.vocabulary - len(SPECIALS))
        random = len(SPECIALS) + ((words * ordinary) >> np.uint64(32)).astype(np.int64)
        kept_or_random = np.where(fates < _share(0.9), random, labels)
        return np.where(fates < _share(0.8), MASK, kept_or_random)


def _share(probability: float) -> np.uint32:
    return np.uint32(round(probability * 2**32))


def choose(keys: np.ndarray, special: np.ndarray, k: int) -> np.ndarray:
    """The k columns [B, k] of ordinary tokens with the smallest random keys [B, L], ascending."""
    length = keys.shape[1]
    assert length <= 1 << COLUMN_BITS
    # The column in the low bits makes keys unique, so that the choice does not depend on how ties sort.
    keyed = ((keys >> np.uint32(1)) & ~_COLUMN) | np.arange(length, dtype=np.uint32)
    keyed |= np.where(special, _SPECIAL, np.uint32(0))
    if k < length:
        keyed.partition(k - 1, axis=1)
    keyed = keyed[:, :k]
    keyed.sort(axis=1)
    columns = (keyed & _COLUMN).astype(np.int64)
    short = np.flatnonzero(keyed[:, -1] >= _SPECIAL)
    for row in short:  # rare: sorted by key, so the ordinary tokens come first
        ordinary = int((keyed[row] < _SPECIAL).sum())
        if ordinary:
            columns[row] = np.resize(columns[row, :ordinary], k)
    columns.sort(axis=1)
    return columns
