"""Packing: documents joined into one stream with their separators, and cut into rows.

    rows/<key>/train-00000.npy          rows [n, length]
    rows/<key>/train-00000.lengths.npy  for each row the size of the document that it begins in

No row is padded and no document is truncated: one that ends within a row is followed by the next. No token is
lost where chunks or shards meet: how far each shard reaches in the stream is counted beforehand, so that each
file of rows can be cut by itself. Only the last partial row of a corpus is dropped (the reference code drops
one after every 1024 documents).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data.mapping import Mapper
from ablate.data.store import build_shards
from ablate.data.tokenizer import CLS, SEP

if TYPE_CHECKING:
    from ablate.data.config import DataConfig


@dataclass
class Counts:
    """What happened to the documents of a split, stage by stage."""

    documents_read: int = 0
    characters_read: int = 0
    documents_empty: int = 0  # without a token
    documents_filtered: int = 0  # by the token ratio
    documents_left_out: int = 0  # so that the shares of a mixture hold
    documents_kept: int = 0
    documents_across_rows: int = 0  # of those kept: begin in one row and end in another
    tokens_encoded: int = 0  # of the documents kept, separators not counted
    tokens_packed: int = 0  # in rows
    tokens_dropped: int = 0  # the last partial row
    tokens_padding: int = 0
    tokens_truncated: int = 0
    rows: int = 0

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Frame:
    """How documents become a stream: which stay, and what stands around each of them."""

    length: int
    separator: bool
    cls: bool
    ratio: float | None

    @classmethod
    def of(cls, config: DataConfig) -> Frame:
        return cls(config.length, config.separator, config.cls, config.token_ratio)

    def kept(self, documents: np.ndarray, limit: int | None = None) -> np.ndarray:
        """Which documents of a table stay: [n] bool.

        A document is kept if n_tokens < ratio · n_characters (4.4 of the paper, threshold 0.25 in the final
        recipe). The reference measures it with a pretrained tokenizer; ours measures with its own, so a small
        vocabulary needs a larger ratio. `limit`: the highest rank that stays.
        """
        kept = documents["tokens"] > 0
        if self.ratio is not None:
            kept &= documents["tokens"] < self.ratio * documents["characters"]
        return kept if limit is None else kept & (documents["rank"] <= np.uint64(limit))

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens of documents in the stream, frame included."""
        return tokens.astype(np.int64) + self.cls + self.separator

    def join(self, flat: np.ndarray, tokens: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The stream [n] of the kept ones among documents with so many `tokens`, whose ids `flat` holds."""
        sizes = self.sizes(tokens[kept])
        ends = np.cumsum(sizes)
        stream = np.empty(int(ends[-1]) if len(ends) else 0, flat.dtype)
        inside = np.ones(len(stream), dtype=bool)
        if self.separator:
            stream[ends - 1], inside[ends - 1] = SEP, False
        if self.cls:
            stream[ends - sizes], inside[ends - sizes] = CLS, False
        stream[inside] = flat if kept.all() else flat[np.repeat(kept, tokens)]
        return stream


@dataclass(frozen=True)
class Encoded:
    """One shard of encoded documents and its place in the stream."""

    name: Path  # without the endings of its two files
    dtype: str
    limit: int | None  # the highest rank that stays
    start: int  # in the stream
    size: int

    def table(self) -> np.ndarray:
        """What is known of each document."""
        return np.load(self.name.with_name(f"{self.name.name}.documents.npy"))

    def flat(self) -> np.ndarray:
        """The tokens of all documents."""
        return np.fromfile(self.name.with_name(f"{self.name.name}.bin"), self.dtype)


def plan(
    folder: Path,
    shards: Sequence[dict[str, Any]],
    frame: Frame,
    shares: Sequence[float] | None,
    most: int | None = None,
) -> tuple[list[Encoded], Counts]:
    """Where each shard lies in the stream, and what becomes of its documents.

    `shares`: of the parts of a source of several; `most`: tokens wanted, to which each part gives its share.
    """
    counts, placed, start = Counts(), [], 0
    limits = _limits(folder, shards, frame, shares, most) if shares else {}
    for shard in shards:
        found = Encoded(folder / shard["name"], shard["dtype"], limits.get(shard["part"]), start, 0)
        documents = found.table()
        kept = frame.kept(documents, found.limit)
        sizes = frame.sizes(documents["tokens"][kept])
        _count(counts, documents, kept, frame)
        ends = start + np.cumsum(sizes)
        counts.documents_across_rows += int(
            ((ends - sizes) // frame.length < (ends - 1) // frame.length).sum()
        )
        size = int(sizes.sum())
        placed.append(Encoded(found.name, found.dtype, found.limit, start, size))
        start += size
    counts.rows = start // frame.length
    counts.tokens_packed = counts.rows * frame.length
    counts.tokens_dropped = start - counts.tokens_packed
    return placed, counts


def _count(counts: Counts, documents: np.ndarray, kept: np.ndarray, frame: Frame) -> None:
    stay = frame.kept(documents)
    empty = documents["tokens"] == 0
    counts.documents_read += len(documents)
    counts.characters_read += int(documents["characters"].sum())
    counts.documents_empty += int(empty.sum())
    counts.documents_filtered += int((~stay & ~empty).sum())
    counts.documents_left_out += int((stay & ~kept).sum())
    counts.documents_kept += int(kept.sum())
    counts.tokens_encoded += int(documents["tokens"][kept].sum())


def _limits(
    folder: Path,
    shards: Sequence[dict[str, Any]],
    frame: Frame,
    shares: Sequence[float],
    most: int | None,
) -> dict[int, int]:
    """For each part of a mixture the highest rank of a document that stays, so that shares hold in tokens.

    Without `most` the part that gives least limits the others; with it each gives its share of so many tokens
    or what it has, the document in which its share ends included.
    """
    sizes, ranks = {}, {}
    for part in range(len(shares)):
        tables = [
            Encoded(folder / s["name"], s["dtype"], None, 0, 0).table() for s in shards if s["part"] == part
        ]
        kept = [table[frame.kept(table)] for table in tables]
        joined = np.concatenate(kept) if kept else np.empty(0, [("tokens", np.uint32), ("rank", np.uint64)])
        by_rank = np.argsort(joined["rank"], kind="stable")
        ranks[part] = joined["rank"][by_rank]
        sizes[part] = np.cumsum(frame.sizes(joined["tokens"][by_rank]))
    totals = [int(sizes[part][-1]) if len(sizes[part]) else 0 for part in range(len(shares))]
    if most is None:
        unit = min(total / share for total, share in zip(totals, shares, strict=True))
    else:
        unit = most / sum(shares)
    limits = {}
    for part, share in enumerate(shares):
        # A small tolerance, so that rounding does not drop the last document of the part that limits.
        stay = int(np.searchsorted(sizes[part], unit * share * (1 + 1e-12), side="right"))
        stay = stay if most is None else min(stay + 1, len(ranks[part]))
        limits[part] = int(ranks[part][stay - 1]) if stay else 0
    return limits


def pack(
    split: str,
    placed: Sequence[Encoded],
    frame: Frame,
    rows: int,
    per_file: int,
    mapper: Mapper,
    place: Path,
) -> list[dict[str, Any]]:
    """Write the first `rows` rows of the stream into files of `per_file`; what a manifest says of each."""
    jobs = {}
    for number, first in enumerate(range(0, rows, per_file)):
        last = min(first + per_file, rows)
        start, end = first * frame.length, last * frame.length
        sources = [s for s in placed if s.start < end and s.start + s.size > start]
        name = f"{split}-{number:05d}"
        jobs[name] = partial(_pack, sources, frame, start, end, name)
    results = build_shards(place, jobs, mapper)
    return [{key: result[key] for key in ("rows", "sha256")} for result in results.values()]


def _pack(
    sources: Sequence[Encoded], frame: Frame, start: int, end: int, name: str, place: Path
) -> dict[str, Any]:
    stream = np.empty(end - start, sources[0].dtype)
    lengths = np.empty((end - start) // frame.length, np.uint32)
    for source in sources:
        table = source.table()
        kept = frame.kept(table, source.limit)
        joined = frame.join(source.flat(), table["tokens"], kept)
        low, high = max(start, source.start), min(end, source.start + source.size)
        stream[low - start : high - start] = joined[low - source.start : high - source.start]
        # Rows whose first token lies in this shard.
        first, last = -(-low // frame.length), -(-high // frame.length)
        if first < last:
            sizes = frame.sizes(table["tokens"][kept])
            ends = source.start + np.cumsum(sizes)
            of_row = np.searchsorted(ends, np.arange(first, last) * frame.length, side="right")
            lengths[first - start // frame.length : last - start // frame.length] = sizes[of_row]
    np.save(place / f"{name}.npy", stream.reshape(-1, frame.length))
    np.save(place / f"{name}.lengths.npy", lengths)
    return {
        "files": [f"{name}.npy", f"{name}.lengths.npy"],
        "rows": len(lengths),
        "sha256": hashlib.sha256(stream.data).hexdigest(),
    }


def unpack(stream: Iterable[int]) -> list[list[int]]:
    """The documents in a stream with separators; the inverse of joining."""
    documents: list[list[int]] = []
    current: list[int] = []
    for token in stream:
        if token == SEP:
            documents.append(current)
            current = []
        elif token != CLS:
            current.append(token)
    return [*documents, current] if current else documents
