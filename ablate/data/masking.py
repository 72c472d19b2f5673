"""Which tokens are hidden and by what: exactly k per row, drawn from a counter, so addressable by number.

Row n of a stream of sequences always gets the same random words (Philox, Salmon et al. 2011, keyed by the
mask seed, its counter set to n): the masks depend on nothing else, neither on the micro-batch size nor on
where a run was resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ablate.data.tokenizer import MASK, SPECIALS

MaskRule = Literal["80-10-10", "all-mask"]

COLUMN_BITS = 12  # of a 32-bit key; rows of up to 4096 tokens
_COLUMN = np.uint32((1 << COLUMN_BITS) - 1)
_SPECIAL = np.uint32(1 << 31)  # sorts after every ordinary token
_BLOCK = 4  # 64-bit words per step of the Philox counter


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
        keys, fates, words = self._draw(len(rows), rows.shape[1], k, first)
        columns = choose(keys, ids < len(SPECIALS), k)
        labels = np.take_along_axis(ids, columns, axis=1)
        hidden = labels >= len(SPECIALS)
        np.put_along_axis(
            ids, columns, np.where(hidden, self._replacement(labels, fates, words), labels), axis=1
        )
        return ids, columns, labels

    def _draw(self, batch: int, length: int, k: int, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random 32-bit words per row: length for the choice, k for the fate, k for the random token."""
        blocks = -(-(length + 2 * k) // (2 * _BLOCK))
        bits = np.random.Philox(key=self.seed, counter=first * blocks).random_raw(batch * blocks * _BLOCK)
        drawn = bits.view(np.uint32).reshape(batch, -1)
        return drawn[:, :length], drawn[:, length : length + k], drawn[:, length + k : length + 2 * k]

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
