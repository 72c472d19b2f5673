"""Texts to token ids: `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`, tokenised once and kept on disk.

The reference passes a single sentence as the pair (text, ""), which adds a second, empty `[SEP]`; here it
ends after one. There are no segment embeddings, as in the crammed BERT.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ablate.evaluation.tasks import Examples
from ablate.records.store import write_bytes

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Tokens:
    """Rows of token ids padded to the longest: ids [N, L], lengths [N], and a digest of their origin."""

    ids: np.ndarray
    lengths: np.ndarray
    digest: str

    def __len__(self) -> int:
        return len(self.lengths)


def encode(tokenizer: Tokenizer, examples: Examples, max_length: int, cache: Path | None = None) -> Tokens:
    """Tokenise a split, or read what an earlier trial with the same tokenizer and texts left in `cache`."""
    digest = _digest(tokenizer, examples, max_length)
    kept = cache / "tokens" / f"{digest}.npz" if cache else None
    found = _read(kept) if kept else None
    if found is None:
        found = _rows(tokenizer, examples, max_length)
        if kept:
            _write(kept, *found)
    flat, lengths = found
    return Tokens(_padded(flat, lengths), lengths, digest)


def _digest(tokenizer: Tokenizer, examples: Examples, max_length: int) -> str:
    digest = hashlib.sha256(f"1 {max_length} {examples.second is not None} {tokenizer.to_str()}".encode())
    for texts in (examples.first, examples.second or []):
        digest.update("\0".join(texts).encode("utf-8", "surrogatepass"))
        digest.update(b"\1")
    return digest.hexdigest()[:32]


def _rows(tokenizer: Tokenizer, examples: Examples, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    first = _ids(tokenizer, examples.first)
    second = _ids(tokenizer, examples.second) if examples.second is not None else None
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    rows = []
    for i, a in enumerate(first):
        if second is None:
            rows.append([cls, *a[: max_length - 2], sep])
        else:
            keep_a, keep_b = longest_first(len(a), len(second[i]), max_length - 3)
            rows.append([cls, *a[:keep_a], sep, *second[i][:keep_b], sep])
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    small = tokenizer.get_vocab_size() <= 1 << 16
    flat = np.fromiter((i for row in rows for i in row), np.uint16 if small else np.int32, int(lengths.sum()))
    return flat, lengths


def _ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def longest_first(first: int, second: int, budget: int) -> tuple[int, int]:
    """How many tokens of each text stay: the longer loses one at a time, on a tie the second."""
    if first + second <= budget:
        return first, second
    if first <= budget // 2:
        return first, budget - first
    if second <= budget // 2:
        return budget - second, second
    return budget - budget // 2, budget // 2


def _padded(flat: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows of equal width, [PAD] = 0 at the end."""
    width = int(lengths.max(initial=1))
    ids = np.zeros((len(lengths), width), flat.dtype)
    ids[np.arange(width) < lengths[:, None]] = flat
    return ids


def _write(path: Path, flat: np.ndarray, lengths: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, flat=flat, lengths=lengths)
    write_bytes(path, buffer.getvalue())


def _read(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """What was kept, or None when it is not there or torn."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            flat, lengths = kept["flat"], kept["lengths"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return (flat, lengths) if len(flat) == int(lengths.sum()) else None
