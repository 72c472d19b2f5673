"""Encoding: the tokens of every document, once per text and tokenizer.

    tokens/<key>/train-00000.bin            the token ids, document after document
    tokens/<key>/train-00000.documents.npy  per document: tokens, characters, rank

What a document's ratio, its frame and the length of rows make of it is decided later, so that arms which
differ in those share this stage, the dearest of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data.cleaning import Document, rank
from ablate.data.mapping import Mapper
from ablate.data.sources import Split
from ablate.data.store import build_shards
from ablate.data.text import Text, read_documents

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Encoded at once: enough to keep threads busy, some 60 MB of encodings.
CHUNK_CHARACTERS = 2_000_000

PER_DOCUMENT = np.dtype([("tokens", np.uint32), ("characters", np.uint32), ("rank", np.uint64)])


def chunks(documents: Iterable[Document], characters: int = CHUNK_CHARACTERS) -> Iterator[list[Document]]:
    """Lists of whole documents of about so many characters."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text)
        if size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def width(vocabulary: int) -> np.dtype:
    """The narrowest integers that hold a vocabulary."""
    return np.dtype(np.uint16 if vocabulary <= 2**16 else np.uint32)


def encode(text: Text, folder: Path, cache: Path, mapper: Mapper, place: Path) -> dict[str, Any]:
    """Encode every shard of a text with the tokenizer in `folder`; the content of the manifest."""
    splits: tuple[Split, ...] = ("train", "validation")
    jobs = {
        f"{split}-{number:05d}": partial(
            _encode, cache / shard.file, folder / "tokenizer.json", f"{split}-{number:05d}"
        )
        for split in splits
        for number, shard in enumerate(text[split])
    }
    results = build_shards(place, jobs, mapper)
    shards: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    for name, result in results.items():
        split, _, number = name.partition("-")
        counted = {key: result[key] for key in ("documents", "characters", "tokens", "dtype")}
        part = text[split][int(number)].part  # type: ignore[index]
        shards[split].append({"name": name, "part": part, **counted})
    return dict(shards)


def _encode(source: Path, tokenizer_file: Path, name: str, place: Path) -> dict[str, Any]:
    tokenizer = _tokenizer(tokenizer_file)
    dtype = width(tokenizer.get_vocab_size())
    listed = []
    with open(place / f"{name}.bin", "wb") as file:
        for chunk in chunks(read_documents(source)):
            table, flat = encoded(chunk, tokenizer, dtype)
            flat.tofile(file)
            listed.append(table)
    documents = np.concatenate([np.empty(0, PER_DOCUMENT), *listed])
    np.save(place / f"{name}.documents.npy", documents)
    return {
        "files": [f"{name}.bin", f"{name}.documents.npy"],
        "documents": len(documents),
        "characters": int(documents["characters"].sum()),
        "tokens": int(documents["tokens"].sum()),
        "dtype": dtype.name,
    }


@cache
def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def encoded(
    documents: Sequence[Document], tokenizer: Tokenizer, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Per document what PER_DOCUMENT says, and their tokens [n] one after the other."""
    texts = [document.text for document in documents]
    ids = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    table = np.empty(len(documents), PER_DOCUMENT)
    table["tokens"] = [len(tokens) for tokens in ids]
    table["characters"] = [len(text) for text in texts]
    table["rank"] = [rank(document.id) for document in documents]
    parts = [np.array(tokens, dtype) for tokens in ids]
    return table, np.concatenate(parts) if parts else np.empty(0, dtype)
