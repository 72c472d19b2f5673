"""Packing: no token is lost or made, and the filter and the counts say what happened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data.packing import Counts, Packer, chunks, encoded, pack, unpack
from ablate.data.tokenizer import CLS, SEP, SPECIALS, assemble

ids = st.lists(st.integers(5, 999), min_size=1, max_size=40)
corpora = st.lists(st.lists(ids, max_size=5), max_size=5)  # chunks of documents


def packed(parts: list[list[list[int]]], length: int, **settings: bool) -> tuple[np.ndarray, Packer]:
    packer = Packer(length, dtype=np.dtype(np.uint16), **settings)
    rows = [packer.add(part) for part in parts]
    return np.concatenate([np.empty((0, length), np.uint16), *rows]), packer


@given(corpora, st.integers(1, 33), st.booleans())
def test_unpacking_gives_the_documents_back(parts: list, length: int, cls: bool) -> None:
    rows, packer = packed(parts, length, separator=True, cls=cls)
    assert unpack(rows, packer.remainder) == [document for part in parts for document in part]


@given(corpora, st.integers(1, 33), st.booleans(), st.booleans())
def test_the_stream_is_kept_token_for_token_across_chunks(
    parts: list, length: int, cls: bool, sep: bool
) -> None:
    rows, packer = packed(parts, length, separator=sep, cls=cls)
    expected = [t for part in parts for d in part for t in [CLS] * cls + d + [SEP] * sep]
    assert [*rows.ravel(), *packer.remainder] == expected
    assert len(packer.remainder) < length


@given(st.lists(st.text(max_size=30)), st.integers(1, 50))
def test_chunking_keeps_every_document_in_order(documents: list[str], characters: int) -> None:
    assert [d for chunk in chunks(documents, characters) for d in chunk] == documents


@pytest.fixture
def tokenizer():
    words = [*SPECIALS, "dog", "cat", "."]
    return assemble({word: i for i, word in enumerate(words)})


def test_the_token_ratio_keeps_documents_with_fewer_tokens_than_ratio_times_characters(tokenizer) -> None:
    counts = Counts()
    kept = encoded(["dog cat dog", ". . . . .", "", "   "], tokenizer, 0.3, counts)
    assert kept == [[5, 6, 5]]  # 3 tokens of 11 characters; 5 of 9 is too many
    assert (counts.documents_read, counts.documents_empty, counts.documents_filtered) == (4, 2, 1)
    assert (counts.documents_kept, counts.tokens_encoded) == (1, 3)


def test_without_a_ratio_only_empty_documents_go(tokenizer) -> None:
    assert len(encoded(["dog", "...", ""], tokenizer, None, Counts())) == 2


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["dog", "dog cat", "cat . dog .", ""]), max_size=60))
def test_counts_add_up(documents: list[str]) -> None:
    words = {word: i for i, word in enumerate([*SPECIALS, "dog", "cat", "."])}
    counts = Counts()
    packer = Packer(7, separator=True, cls=False, dtype=np.dtype(np.uint16))
    rows = sum(len(part) for part in pack(documents, assemble(words), packer, None, counts))
    assert counts.documents_read == len(documents) == counts.documents_kept + counts.documents_empty
    assert counts.tokens_packed == rows * 7
    assert counts.tokens_packed + counts.tokens_dropped == counts.tokens_encoded + counts.documents_kept
