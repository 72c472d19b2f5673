"""In which order the rows are read: a score per row, lowest first, ties in the order of the corpus.

`random` has no score: its permutation comes from the block's order stream, so it differs between blocks
and is shared by the arms of one block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from ablate.data.tokenizer import SEP

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Order = Literal["random", "corpus", "sentence-length", "unigram", "unigram-reversed", "fragment"]

CHUNK_ROWS = 1 << 16  # scored at a time, which bounds memory on corpora of many gigabytes

Score = Callable[[np.ndarray], np.ndarray]  # rows [n, length] → one number per row


def counting(token: int) -> Score:
    """Most occurrences of a token first."""
    return lambda rows: -(rows == token).sum(axis=1, dtype=np.int32)


def likelihood(rows: np.ndarray, vocabulary: int) -> Score:
    """Rows of frequent words first: mean smoothed log2 unigram probability, descending."""
    counts = np.ones(vocabulary)
    for start in range(0, len(rows), CHUNK_ROWS):
        counts += np.bincount(rows[start : start + CHUNK_ROWS].ravel(), minlength=vocabulary)
    log_probability = np.log2(counts / counts.sum())
    return lambda part: -log_probability[part].mean(axis=1)


def score_for(order: Order, rows: np.ndarray, tokenizer: Tokenizer) -> Score:
    """The score of an order. Raises KeyError for `random`, which has none."""
    vocabulary = tokenizer.get_vocab_size()

    def reversed_likelihood() -> Score:
        likely = likelihood(rows, vocabulary)
        return lambda part: -likely(part)

    stop = tokenizer.token_to_id(".")
    makers: dict[str, Callable[[], Score]] = {
        "corpus": lambda: lambda part: np.zeros(len(part)),
        # A vocabulary without a full stop leaves the order of the corpus.
        "sentence-length": lambda: counting(-1 if stop is None else stop),
        "unigram": lambda: likelihood(rows, vocabulary),
        "unigram-reversed": reversed_likelihood,
        "fragment": lambda: counting(SEP),
    }
    return makers[order]()


def fixed_order(order: Order, rows: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """Row numbers [n] uint32 in the order in which they are read."""
    score = score_for(order, rows, tokenizer)
    parts = [score(rows[start : start + CHUNK_ROWS]) for start in range(0, len(rows), CHUNK_ROWS)]
    return np.argsort(np.concatenate(parts), kind="stable").astype(np.uint32)
