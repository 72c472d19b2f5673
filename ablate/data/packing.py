"""From documents to rows: encode, filter by the token ratio, join with separators, cut to length.

No token is lost where chunks meet; only the last partial row of a corpus is dropped (the reference code
drops one after every 1024 documents).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data.tokenizer import CLS, SEP

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK_CHARACTERS = 4_000_000  # encoded at once: enough to keep the threads busy, some 100 MB of encodings


@dataclass
class Counts:
    """What happened to the documents of a split, stage by stage."""

    documents_read: int = 0
    characters_read: int = 0
    documents_empty: int = 0
    documents_filtered: int = 0  # by the token ratio
    documents_kept: int = 0
    tokens_encoded: int = 0  # of the documents kept, separators not counted
    tokens_packed: int = 0  # in rows
    tokens_dropped: int = 0  # the last partial row
    rows: int = 0

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def chunks(documents: Iterable[str], characters: int = CHUNK_CHARACTERS) -> Iterator[list[str]]:
    """Lists of whole documents of about so many characters."""
    chunk: list[str] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document)
        if size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def encoded(
    documents: list[str], tokenizer: Tokenizer, ratio: float | None, counts: Counts
) -> list[list[int]]:
    """Token ids of the documents that are not empty and compress well enough.

    A document is kept if n_tokens < ratio · n_characters (4.4 of the paper, threshold 0.25 in the final
    recipe). The reference measures it with a pretrained tokenizer; ours measures with its own, so a small
    vocabulary needs a larger ratio.
    """
    kept = []
    for text, encoding in zip(
        documents, tokenizer.encode_batch_fast(documents, add_special_tokens=False), strict=True
    ):
        counts.documents_read += 1
        counts.characters_read += len(text)
        ids = encoding.ids
        if not ids:
            counts.documents_empty += 1
        elif ratio is not None and len(ids) >= ratio * len(text):
            counts.documents_filtered += 1
        else:
            counts.documents_kept += 1
            counts.tokens_encoded += len(ids)
            kept.append(ids)
    return kept


class Packer:
    """Joins documents into one stream and cuts rows from it; the remainder waits for the next chunk."""

    def __init__(self, length: int, *, separator: bool, cls: bool, dtype: np.dtype) -> None:
        self.length, self.dtype = length, dtype
        self._before = [CLS] if cls else []
        self._after = [SEP] if separator else []
        self.remainder = np.empty(0, dtype)

    def add(self, documents: Iterable[list[int]]) -> np.ndarray:
        """The complete rows [n, length] that these documents fill."""
        flat = [token for ids in documents for token in (*self._before, *ids, *self._after)]
        stream = np.concatenate([self.remainder, np.array(flat, self.dtype)])
        rows = len(stream) // self.length
        self.remainder = stream[rows * self.length :]
        return stream[: rows * self.length].reshape(rows, self.length)


def pack(
    documents: Iterable[str], tokenizer: Tokenizer, packer: Packer, ratio: float | None, counts: Counts
) -> Iterator[np.ndarray]:
    """Rows of a whole corpus, chunk by chunk; `counts` is complete when the iterator is exhausted."""
    for chunk in chunks(documents):
        rows = packer.add(encoded(chunk, tokenizer, ratio, counts))
        counts.rows += len(rows)
        counts.tokens_packed += rows.size
        counts.tokens_dropped = len(packer.remainder)
        yield rows


def unpack(rows: np.ndarray, remainder: np.ndarray) -> list[list[int]]:
    """The documents that rows packed with separators hold; the inverse of packing."""
    stream: list[Any] = [*rows.ravel().tolist(), *remainder.tolist()]
    documents: list[list[int]] = []
    current: list[int] = []
    for token in stream:
        if token == SEP:
            documents.append(current)
            current = []
        elif token != CLS:
            current.append(token)
    return [*documents, current] if current else documents
