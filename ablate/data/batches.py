"""Batches: masked rows, addressed by how many sequences were consumed before.

A batch is a pure function of (rows, order, seeds, start, size): resuming is arithmetic, and cutting the
same stretch into other micro-batches gives the same rows with the same masks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ablate.data.errors import DataError
from ablate.data.masking import Masker, MaskRule, TokenMasking
from ablate.data.rows import Rows

log = logging.getLogger(__name__)

# Cut at once and handed out in micro-batches: for one of 4,096 tokens alone, calls cost more than their work.
AHEAD_TOKENS = 1 << 16


@dataclass(frozen=True)
class Batch:
    """Masked rows; k tokens of each are predicted."""

    ids: np.ndarray  # [B, L] int64, masked
    positions: np.ndarray  # [B·k] int64, flat indices into B·L, ascending
    labels: np.ndarray  # [B·k] int64, the tokens that were there
    epoch: int  # of the last row, counted from 0


@dataclass(frozen=True)
class _Cut:
    """Masked rows from `start` on, as the masker gives them."""

    start: int
    ids: np.ndarray  # [n, L]
    positions: np.ndarray  # [n, k], flat in n·L
    labels: np.ndarray  # [n, k]

    def holds(self, start: int, size: int) -> bool:
        return self.start <= start and start + size <= self.start + len(self.ids)


class Batches:
    """The endless stream of masked rows of one block.

    `order` None: every epoch is a new permutation from the order seed. A fixed order holds for the first
    `sorted_epochs` (None: for all), since it is meant as a curriculum; later epochs are permutations as well,
    the same ones that the random arm of the block sees. The log says when an epoch begins again.
    """

    def __init__(
        self,
        rows: np.ndarray | Rows,
        order: np.ndarray | None,
        *,
        order_seed: int,
        mask_seed: int,
        mask_rate: float,
        mask_rule: MaskRule,
        vocabulary: int,
        masking: TokenMasking | None = None,
        continues: np.ndarray | None = None,
        sorted_epochs: int | None = 1,
    ) -> None:
        if len(rows) == 0:
            raise DataError(
                "batches need at least one row; the corpus has none; add text or shorten data.length"
            )
        if order is not None and len(order) != len(rows):
            raise DataError(
                f"an order must name every row once; it has {len(order)} entries for {len(rows)} rows"
            )
        self.rows, self.order, self._order_seed = rows, order, order_seed
        self._sorted_epochs = sorted_epochs
        self._announced = 0
        pieces = np.zeros(vocabulary, dtype=bool) if continues is None else continues
        self.masker = Masker(mask_seed, mask_rate, mask_rule, vocabulary, masking or TokenMasking(), pieces)
        self._permutation: tuple[int, np.ndarray] | None = None  # of the epoch read last
        self._cut: _Cut | None = None  # the stretch that the last batch came from

    @property
    def predicted(self) -> int:
        """Predicted tokens per row."""
        return self.masker.count(self.rows.shape[1])

    def batch(self, start: int, size: int) -> Batch:
        """The `size` rows that follow the first `start` ones of the stream."""
        length = self.rows.shape[1]
        if self._cut is None or not self._cut.holds(start, size):
            self._cut = self._cut_from(start, max(size, AHEAD_TOKENS // length))
        part = slice(start - self._cut.start, start - self._cut.start + size)
        ids = self._cut.ids[part].copy()  # the caller's own, whatever it does to it
        positions = self._cut.positions[part] - part.start * length
        labels = self._cut.labels[part].copy()
        epoch = (start + size - 1) // len(self.rows)
        if epoch > self._announced:
            self._announced = epoch
            log.info(
                "the %d rows of the corpus are read for the %d. time, in %s order",
                len(self.rows), epoch + 1, "the same" if self._keeps_order(epoch) else "a new",
            )  # fmt: skip
        return Batch(ids, positions.ravel(), labels.ravel(), epoch)

    def _cut_from(self, start: int, size: int) -> _Cut:
        return _Cut(start, *self.masker(self.rows[self.numbers(start, size)], start))

    def numbers(self, start: int, size: int) -> np.ndarray:
        """Which rows [size] these are; a stretch may run over the end of an epoch, even several."""
        parts = []
        while size > 0:
            epoch, offset = divmod(start, len(self.rows))
            part = self._epoch(epoch)[offset : offset + size]
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _epoch(self, epoch: int) -> np.ndarray:
        if self.order is not None and self._keeps_order(epoch):
            return self.order
        if self._permutation is None or self._permutation[0] != epoch:
            generator = np.random.Generator(np.random.Philox(key=self._order_seed, counter=epoch << 64))
            self._permutation = (epoch, generator.permutation(len(self.rows)))
        return self._permutation[1]

    def _keeps_order(self, epoch: int) -> bool:
        return self.order is not None and (self._sorted_epochs is None or epoch < self._sorted_epochs)
