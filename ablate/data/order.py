"""In which order the rows are read: a score per row, lowest first, ties in the order of the corpus.

`random` has no score: its permutation comes from the block's order stream, so it differs between blocks
and is shared by the arms of one block.
Sorting needs little memory whatever the number of rows: each file of rows becomes a sorted run on disk, and
the runs are merged a stretch of keys at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ablate.data.mapping import Mapper, here
from ablate.data.store import build_shards
from ablate.data.tokenizer import SEP, SPECIALS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ablate.data.rows import Rows

Order = Literal[
    "random",
    "corpus",
    "sentence-length",
    "word-length",
    "document-length",
    "unigram",
    "unigram-reversed",
    "fragment",
]

CHUNK_ROWS = 1 << 16  # scored at a time, which bounds memory on corpora of many gigabytes
MERGED = 1 << 23  # keys merged at a time, 64 MiB

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows [n, length], lengths [n] → [n], lowest first


def counting(token: int, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Most occurrences of a token first."""
    return -(rows == token).sum(axis=1, dtype=np.int32)


def mean_of(values: np.ndarray, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Lowest mean of a value per token first; tokens without a value (NaN) do not count."""
    found = values[rows]
    real = ~np.isnan(found)
    return np.where(real, found, 0.0).sum(axis=1) / np.maximum(real.sum(axis=1), 1)


def as_they_came(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """All alike."""
    return np.zeros(len(rows))


def by_document(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows that begin in a short document first."""
    return lengths


def surprise(counts: np.ndarray) -> np.ndarray:
    """-log2 of each token's smoothed probability [V]."""
    smoothed = counts + 1.0
    return -np.log2(smoothed / smoothed.sum())


def word_lengths(tokenizer: Tokenizer, vocabulary: int) -> np.ndarray:
    """Characters of each token [V]; NaN for special ones. The marks of pieces (##, ▁, Ġ) do not count."""
    pieces = tokenizer.get_vocab()
    found = np.full(vocabulary, np.nan)
    for piece, number in pieces.items():
        if number >= len(SPECIALS):
            found[number] = len(piece.removeprefix("##").lstrip("▁Ġ"))
    return found


def count_tokens(rows: Rows, vocabulary: int) -> np.ndarray:
    """How often each token occurs [V]."""
    counts = np.zeros(vocabulary)
    for start in range(0, len(rows), CHUNK_ROWS):
        counts += np.bincount(rows[start : start + CHUNK_ROWS].ravel(), minlength=vocabulary)
    return counts


def score_for(order: Order, rows: Rows, tokenizer: Tokenizer) -> Score:
    """The score of an order. Raises KeyError for `random`, which has none."""
    vocabulary = tokenizer.get_vocab_size()

    def likely(sign: float) -> Score:
        return partial(mean_of, sign * surprise(count_tokens(rows, vocabulary)))

    # A vocabulary without a full stop leaves the order of the corpus.
    stop = tokenizer.token_to_id(".")
    makers: dict[str, Callable[[], Score]] = {
        "corpus": lambda: as_they_came,
        "sentence-length": lambda: partial(counting, -1 if stop is None else stop),
        "word-length": lambda: partial(mean_of, word_lengths(tokenizer, vocabulary)),
        "document-length": lambda: by_document,
        "unigram": lambda: likely(1.0),
        "unigram-reversed": lambda: likely(-1.0),
        "fragment": lambda: partial(counting, SEP),
    }
    return makers[order]()


# --- sorting -----------------------------------------------------------------------------------------


def keys(scores: np.ndarray, first: int) -> np.ndarray:
    """[n] uint64 that sort as (score, row) does, for rows first, first + 1, …: no two are equal.

    The upper half is the score in single precision as an integer of the same order, the lower the row.
    """
    numbers = np.arange(first, first + len(scores), dtype=np.uint64)
    assert first + len(scores) <= 1 << 32
    bits = (np.asarray(scores, np.float32) + np.float32(0.0)).view(np.uint32)  # + 0.0: -0.0 equals 0.0
    negative = bits >> np.uint32(31) != 0
    ordered = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    return (ordered.astype(np.uint64) << np.uint64(32)) | numbers


def sort(
    score: Score,
    rows: Rows,
    place: Path,
    *,
    mapper: Mapper = here,
    merged: int = MERGED,
) -> np.ndarray:
    """Write order.npy into `place`: row numbers [n] uint32 in the order in which they are read."""
    jobs = {
        f"run-{number:05d}": partial(_run, score, file, number * rows.per_file, f"run-{number:05d}.npy")
        for number, file in enumerate(rows.files)
    }
    names = [result["files"] for result in build_shards(place, jobs, mapper).values()]
    runs = [np.load(place / name, mmap_mode="r") for files in names for name in files]
    order = np.lib.format.open_memmap(
        place / "order.npy", mode="w+", dtype=np.uint32, shape=(sum(map(len, runs)),)
    )
    at = 0
    for stretch in merge(runs, merged):
        order[at : at + len(stretch)] = stretch & np.uint64(0xFFFFFFFF)
        at += len(stretch)
    order.flush()
    del runs
    for files in names:
        for name in files:
            (place / name).unlink()
    return order


def _run(score: Score, file: Path, first: int, name: str, place: Path) -> dict[str, Any]:
    rows = np.load(file, mmap_mode="r")
    lengths = np.load(file.with_suffix(".lengths.npy"), mmap_mode="r")
    parts = [
        score(np.array(rows[start : start + CHUNK_ROWS]), np.array(lengths[start : start + CHUNK_ROWS]))
        for start in range(0, len(rows), CHUNK_ROWS)
    ]
    np.save(place / name, np.sort(keys(np.concatenate(parts), first)))
    return {"files": [name]}


def merge(runs: Sequence[np.ndarray], most: int) -> Any:
    """Sorted stretches of all keys of sorted runs, one after the other, each of some `most` keys or fewer."""
    total = sum(map(len, runs))
    pieces = max(1, -(-total // most))
    # Every run's quantiles: between two neighbours of them lies at most 1/pieces of every run.
    splits = [run[np.linspace(0, len(run) - 1, 4 * pieces).astype(np.int64)] for run in runs if len(run)]
    bounds = np.sort(np.concatenate(splits)) if splits else np.empty(0, np.uint64)
    bounds = (
        bounds[np.linspace(0, len(bounds) - 1, pieces + 1).astype(np.int64)[1:-1]] if len(bounds) else bounds
    )
    starts = [0] * len(runs)
    for bound in [*bounds, None]:
        ends = [len(run) if bound is None else int(np.searchsorted(run, bound)) for run in runs]
        yield np.sort(np.concatenate([run[a:b] for run, a, b in zip(runs, starts, ends, strict=True)]))
        starts = ends


def of_chosen(order: np.ndarray, chosen: np.ndarray | None, rows: int) -> np.ndarray:
    """The order of the chosen rows alone, by their numbers among the chosen; `rows`: of the whole corpus."""
    if chosen is None:
        return order
    place = np.full(rows, -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    found = place[order]
    return found[found >= 0].astype(np.uint32)
