"""Rows of tokens in memory-mapped shards, read like one array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


class Rows:
    """[n, length] integers in files of equally many rows, the last one aside; nothing is read beforehand.

    `chosen` names the rows that there are; None: all. Indexing gives copies in memory.
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        rows: int,
        length: int,
        per_file: int,
        dtype: np.dtype,
        chosen: np.ndarray | None = None,
    ) -> None:
        self.files, self.per_file, self.dtype, self.chosen = list(files), per_file, dtype, chosen
        self.shape = (rows if chosen is None else len(chosen), length)
        self._open: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Tokens."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, slice):
            return self._gather(np.arange(*key.indices(len(self))))
        numbers = np.asarray(key)
        if numbers.dtype == bool:
            numbers = np.flatnonzero(numbers)
        numbers = numbers.astype(np.int64)
        if numbers.size and (numbers.min() < -len(self) or numbers.max() >= len(self)):
            raise IndexError(f"rows are numbered 0 to {len(self) - 1}, but {numbers.max()} was asked for")
        return self._gather(numbers % max(len(self), 1))

    def _gather(self, numbers: np.ndarray) -> np.ndarray:
        if self.chosen is not None:
            numbers = self.chosen[numbers]
        if numbers.ndim == 0:
            return np.array(self._shard(int(numbers) // self.per_file)[int(numbers) % self.per_file])
        if len(self.files) == 1:
            return np.array(self._shard(0)[numbers])
        files, within = np.divmod(numbers, self.per_file)
        found = np.empty((len(numbers), self.shape[1]), self.dtype)
        by_file = np.argsort(files, kind="stable")
        starts = np.flatnonzero(np.diff(files[by_file], prepend=-1))
        for at in np.split(by_file, starts[1:]):
            if len(at):
                found[at] = self._shard(int(files[at[0]]))[within[at]]
        return found

    def _shard(self, number: int) -> np.ndarray:
        if number not in self._open:
            self._open[number] = np.load(self.files[number], mmap_mode="r")
        return self._open[number]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)
