"""Packing: no token is lost or made, however the corpus is divided, and the counts say what happened."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data.cleaning import Document
from ablate.data.encoding import PER_DOCUMENT, chunks, encoded
from ablate.data.mapping import here
from ablate.data.packing import Counts, Frame, pack, plan, unpack
from ablate.data.tokenizer import CLS, SEP, SPECIALS, assemble

ids = st.lists(st.integers(5, 999), max_size=40)
corpora = st.lists(st.lists(ids, max_size=5), min_size=1, max_size=5)  # shards of documents
FRAME = Frame(length=7, separator=True, cls=False, ratio=None)


def store(folder: Path, corpus: list[list[list[int]]], parts: list[int] | None = None) -> list[dict]:
    """Encoded shards as the stage before writes them; a document of n tokens has 4n characters."""
    listed = []
    for number, documents in enumerate(corpus):
        name = f"train-{number:05d}"
        table = np.zeros(len(documents), PER_DOCUMENT)
        table["tokens"] = [len(d) for d in documents]
        table["characters"] = [4 * len(d) for d in documents]
        table["rank"] = [number * 1000 + i for i in range(len(documents))]
        np.save(folder / f"{name}.documents.npy", table)
        np.array([t for d in documents for t in d], np.uint16).tofile(folder / f"{name}.bin")
        listed.append({"name": name, "dtype": "uint16", "part": parts[number] if parts else 0})
    return listed


def packed(
    corpus: list[list[list[int]]], frame: Frame, per_file: int = 3, **how
) -> tuple[np.ndarray, np.ndarray, Counts]:
    """The rows, the length of the document at each row's start, and the counts."""
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name), Path(name, "out")
        out.mkdir()
        placed, counts = plan(folder, store(folder, corpus, how.get("parts")), frame, how.get("shares"))
        files = pack("train", placed, frame, counts.rows, per_file, here, out)
        assert sum(file["rows"] for file in files) == counts.rows
        rows = [np.load(out / f"train-{n:05d}.npy") for n in range(len(files))]
        lengths = [np.load(out / f"train-{n:05d}.lengths.npy") for n in range(len(files))]
    empty = np.empty((0, frame.length), np.uint16)
    return np.concatenate([empty, *rows]), np.concatenate([np.empty(0, np.uint32), *lengths]), counts


@given(corpora, st.integers(1, 33), st.booleans(), st.booleans(), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_stream_is_kept_token_for_token_whatever_the_shards(
    corpus: list, length: int, cls: bool, separator: bool, per_file: int
) -> None:
    rows, _, counts = packed(corpus, Frame(length, separator, cls, None), per_file)
    stream = [t for shard in corpus for d in shard if d for t in [CLS] * cls + d + [SEP] * separator]
    assert rows.ravel().tolist() == stream[: rows.size]
    assert len(stream) - rows.size == counts.tokens_dropped < length
    assert (counts.tokens_padding, counts.tokens_truncated) == (0, 0)


@given(corpora, st.booleans())
@settings(max_examples=40, deadline=None)
def test_unpacking_gives_the_documents_back(corpus: list, cls: bool) -> None:
    rows, _, counts = packed(corpus, replace(FRAME, length=1, cls=cls))
    assert counts.tokens_dropped == 0
    assert unpack(rows.ravel().tolist()) == [d for shard in corpus for d in shard if d]


@given(corpora, st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_division_into_shards_and_files_never_shows(corpus: list, per_file: int) -> None:
    one = packed([[d for shard in corpus for d in shard]], FRAME, per_file=1000)
    many = packed(corpus, FRAME, per_file)
    for a, b in zip(one[:2], many[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[2] == many[2]


@given(corpora)
@settings(max_examples=40, deadline=None)
def test_each_row_knows_the_length_of_the_document_that_it_begins_in(corpus: list) -> None:
    rows, lengths, counts = packed(corpus, FRAME)
    owner = [len(d) + 1 for shard in corpus for d in shard if d for _ in [*d, SEP]]
    assert lengths.tolist() == owner[:: FRAME.length][: len(rows)]
    number = np.repeat(np.arange(counts.documents_kept), [len(d) + 1 for shard in corpus for d in shard if d])
    rows_of = [np.flatnonzero(number == n) // FRAME.length for n in range(counts.documents_kept)]
    assert counts.documents_across_rows == sum(r[0] != r[-1] for r in rows_of)


def test_the_token_ratio_keeps_documents_with_fewer_tokens_than_ratio_times_characters() -> None:
    words = {word: i for i, word in enumerate([*SPECIALS, "dog", "cat", "."])}
    texts = ["dog cat dog", ". . . . .", "", "   "]
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    table, flat = encoded(documents, assemble(words), np.dtype(np.uint16))
    kept = replace(FRAME, ratio=0.3).kept(table)
    assert kept.tolist() == [True, False, False, False]  # 3 tokens of 11 characters; 5 of 9 is too many
    assert FRAME.join(flat, table["tokens"], kept).tolist() == [5, 6, 5, SEP]
    assert FRAME.kept(table).tolist() == [True, True, False, False]  # without a ratio only empty ones go


@pytest.mark.parametrize("shares", [[1.0, 1.0], [2.0, 1.0], [1.0, 5.0]])
def test_parts_of_a_mixture_hold_their_shares_of_the_tokens(shares: list[float]) -> None:
    chance = np.random.default_rng(0)
    corpus = [[[5 + n] * int(chance.integers(5, 30)) for _ in range(200)] for n in (0, 1)]
    rows, _, counts = packed(corpus, replace(FRAME, length=1, separator=False), parts=[0, 1], shares=shares)
    amounts = np.bincount(rows.ravel(), minlength=7)[5:]
    assert amounts[0] / amounts[1] == pytest.approx(shares[0] / shares[1], rel=0.02)
    assert counts.documents_kept + counts.documents_left_out == 400
    whole = [sum(map(len, shard)) for shard in corpus]
    assert (amounts == whole).any()  # the part that limits is there to its last document


@given(st.lists(st.text(max_size=30)), st.integers(1, 50))
def test_chunking_keeps_every_document_in_order(texts: list[str], characters: int) -> None:
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    assert [d for chunk in chunks(documents, characters) for d in chunk] == documents
