"""Corpora for tests: generated sentences, with copies planted where a test wants them."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from ablate.data.cleaning import Document, Report, Stage, run
from ablate.data.grammar import documents


def generated(count: int, seed: int = 0, characters: int = 600) -> list[Document]:
    """Documents of the package's grammar, each cut to whole words of about so many characters."""
    texts = itertools.islice((t for t in documents(seed, characters=2_000_000) if len(t) > 100), count)
    return [Document(f"{seed}-{i}", text[:characters].rsplit(" ", 1)[0]) for i, text in enumerate(texts)]


def cleaned(stage: Stage, *shards: list[Document]) -> tuple[list[Document], Report]:
    """What a stage leaves of shards, as one list, and its report."""
    with tempfile.TemporaryDirectory() as scratch:
        kept, (report,) = run([stage], list(shards), Path(scratch))
    return [document for shard in kept for document in shard], report


def texts_of(documents: list[Document]) -> dict[str, Any]:
    return {document.id: document.text for document in documents}
