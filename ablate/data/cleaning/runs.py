"""Grouping more keys than memory holds: sorted runs on disk, read back together in ascending ranges of keys.

A run holds each key once, with the lowest owner that it met and whether it met several.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

RUN_ROWS = 2_000_000  # rows sorted at a time: 50 MB with the copies that sorting makes
ROW = np.dtype([("key", "<u8"), ("owner", "<u8"), ("at", "<u4"), ("several", "?")])


class Groups(NamedTuple):
    """Rows grouped by key; the lowest (owner, at) of a group leads it."""

    leaders: np.ndarray  # ROW, one per key, ascending
    rows: np.ndarray  # ROW
    leader_of: np.ndarray  # [rows] index into leaders


def grouped(rows: np.ndarray) -> Groups:
    """Group rows by key; the lowest (owner, at) of each key leads it."""
    order = np.argsort(rows["key"], kind="stable")
    keys = rows["key"][order]
    new = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, bool)
    group = np.cumsum(new) - 1
    sizes = np.bincount(group, minlength=0)
    crowded = np.flatnonzero(sizes[group] > 1) if len(keys) else np.empty(0, np.int64)
    # Few keys repeat: only their rows are sorted by owner as well.
    some = rows[order[crowded]]
    order[crowded] = order[crowded][np.lexsort((some["at"], some["owner"], group[crowded]))]
    found = rows[order]
    leaders = found[new].copy()
    several = np.zeros(len(leaders), bool)
    np.logical_or.at(several, group[crowded], True)
    np.logical_or.at(several, group[found["several"]], True)
    leaders["several"] = several
    return Groups(leaders, found, group)


def write_run(rows: np.ndarray, scratch: Path) -> str:
    """Write rows that are sorted by key; the run's path."""
    handle, path = tempfile.mkstemp(suffix=".run", dir=scratch)
    with os.fdopen(handle, "wb") as file:
        rows.tofile(file)
    return path


def read_run(path: str) -> np.ndarray:
    """A run, mapped into memory."""
    if not os.path.getsize(path):
        return np.empty(0, ROW)
    return np.memmap(path, ROW, mode="r")


def merged(paths: Iterable[str], rows: int = RUN_ROWS) -> Iterator[Groups]:
    """All rows of all runs, in ranges of keys of about so many rows; a key is never divided."""
    runs = [read_run(path) for path in sorted(paths)]
    total = sum(map(len, runs))
    cuts = max(1, -(-total // rows))
    starts = [0] * len(runs)
    for cut in range(1, cuts + 1):
        if cut == cuts:
            ends = [len(run) for run in runs]
        else:  # keys are hashes, so equal ranges hold about equally many
            bound = np.uint64(cut * 2**64 // cuts)
            ends = [int(np.searchsorted(run["key"], bound)) for run in runs]
        parts = [np.asarray(run[a:b]) for run, a, b in zip(runs, starts, ends, strict=True)]
        starts = ends
        if any(map(len, parts)):
            yield grouped(np.concatenate(parts))
