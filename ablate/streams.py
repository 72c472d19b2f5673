"""Named random streams: the arms of one block share data order and masks even where one draws more numbers.

A stream's seed is a hash of the block's seed and the stream's name, so no stream can disturb another.
"""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

Stream = Literal["initialization", "order", "masking", "dropout", "finetune", "rounding"]
STREAMS: tuple[Stream, ...] = get_args(Stream)


def stream(seed: int, name: Stream, *indices: int) -> int:
    """The 63-bit seed of a named stream of a block; `indices` split it further (epoch, task, …)."""
    text = "/".join([str(seed), name, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def replica(seed: int, replicate: int) -> int:
    """The seed of what a replicate does not share with its block (weights, dropout, fine-tuning)."""
    return stream(seed, "initialization", replicate) if replicate else seed


def streams(seed: int) -> dict[str, int]:
    """Every stream of a block, as written to its records."""
    return {name: stream(seed, name) for name in STREAMS}
