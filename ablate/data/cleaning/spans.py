"""Hashes of stretches of text: every window, n-gram or sentence of a batch of documents in a few array steps.

A stretch's hash is polynomial in its bytes, modulo 2^64, so two prefix sums give it whatever its length
(Karp & Rabin 1987); bytes go through a fixed random table first and the sum through a mixer, since the low
bits of such a polynomial are weak. At 10^9 stretches a chance collision is a matter of a few per cent.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ablate.data.cleaning.interface import Document

BATCH_CHARACTERS = 500_000  # hashed at once: some 30 MB of arrays, and 1 % of the time in their overhead

_BASE = 0x9E3779B97F4A7C15 | 5  # odd, so that it has an inverse
_INVERSE = pow(_BASE, -1, 2**64)
_TABLE = np.random.Generator(np.random.Philox(key=2024)).integers(0, 2**64, 256, dtype=np.uint64)


def batches(documents: Iterable[Document], characters: int = BATCH_CHARACTERS) -> Iterator[list[Document]]:
    """Lists of whole documents of about so many characters."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Hashed:
    """Bytes of which any stretch can be hashed; equal stretches have equal hashes, wherever they lie."""

    def __init__(self, data: np.ndarray) -> None:
        down, self._up = _powers(1 << int(len(data)).bit_length())
        self._sums = np.zeros(len(data) + 1, np.uint64)
        np.cumsum(_TABLE[data] * down[: len(data)], out=self._sums[1:])

    def __call__(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """One 64-bit hash per stretch [start, end)."""
        return mixed((self._sums[end] - self._sums[start]) * self._up[start])


@functools.lru_cache(maxsize=2)
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of the base's inverse and of the base, modulo 2^64."""
    powers = []
    for base in (_INVERSE, _BASE):
        steps = np.full(size + 1, base, np.uint64)
        steps[0] = 1
        powers.append(np.cumprod(steps, dtype=np.uint64))
    return powers[0], powers[1]


def mixed(value: np.ndarray) -> np.ndarray:
    """Every bit of the result depends on every bit given (the finalizer of splitmix64, a bijection)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


# Letters and digits are words, in lower case; a full stop, a question or exclamation mark, a quote or a new
# line ends a sentence; everything else parts words. Bytes from 0x80 on belong to letters (see `Words`).
_CLASSES = bytes(
    byte if byte >= 0x80 or chr(byte).isalnum() else 10 if chr(byte) in '.!?\n\r"' else 32
    for byte in range(256)
)  # fmt: skip
_FOREIGN_QUOTES = re.compile("[“”„«»…]")
_FOREIGN_MARKS = re.compile(r"[^\w\s\x00-\x7f]")


@dataclass(frozen=True)
class Words:
    """The words of a batch of texts: without case and punctuation, numbered through the batch."""

    text: np.ndarray  # [words] which text each lies in
    start: np.ndarray  # [words] its first byte in `hashed`
    end: np.ndarray
    opens: np.ndarray  # [words] whether a sentence may begin with it
    closes: np.ndarray  # [words] whether a sentence may end with it
    hashed: Hashed

    def grams(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """First words and hashes of all runs of n words inside one text."""
        first = np.arange(max(len(self.start) - n + 1, 0))
        first = first[self.text[first] == self.text[first + n - 1]]
        return first, self.hashes(first, n)

    def hashes(self, first: np.ndarray, n: int) -> np.ndarray:
        """Hashes of the runs of n words that begin with these."""
        return self.hashed(self.start[first], self.end[first + n - 1])


def words(texts: list[str]) -> Words:
    """Find the words of texts; non-ASCII quotes end sentences, other marks part words."""
    # A zero byte marks where a text ends, so none may hold one.
    plain = "\n\0\n".join(text.replace("\0", " ") for text in texts).lower()
    if not plain.isascii():
        plain = _FOREIGN_MARKS.sub(" ", _FOREIGN_QUOTES.sub("\n", plain))
    raw = np.frombuffer((plain + "\n").encode(errors="replace"), np.uint8)
    text_of = np.cumsum(raw == 0)
    kinds = np.frombuffer(raw.tobytes().translate(_CLASSES), np.uint8)
    inside = (kinds != 10) & (kinds != 32)
    # Each word is kept with one byte after it, always a blank: what lay between two words does not count.
    kept = inside.copy()
    kept[1:] |= inside[:-1]
    before = np.concatenate([[False], inside[:-1]])
    first, last = np.flatnonzero(inside & ~before), np.flatnonzero(~inside & before)
    breaks = np.cumsum(kinds == 10)
    gap = breaks[first[1:]] > breaks[last[:-1] - 1] if len(first) else np.empty(0, bool)
    edge = np.ones(min(len(first), 1), bool)
    place = np.cumsum(kept) - kept
    return Words(
        text_of[first], place[first], place[last],
        np.concatenate([edge, gap]), np.concatenate([gap, edge]),
        Hashed(np.where(inside, kinds, 32)[kept].astype(np.uint8)),
    )  # fmt: skip
