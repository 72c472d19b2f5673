"""Orders: every one is a permutation, the scores mean what their names say, and sorting needs no memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data.order import Order, keys, merge, of_chosen, score_for, sort
from ablate.data.rows import Rows
from ablate.data.tokenizer import SEP, SPECIALS, assemble

TOKENIZER = assemble({word: i for i, word in enumerate([*SPECIALS, ".", "the", "dog", "rarely", "##s"])})
STOP, THE, DOG, RARE, S = range(5, 10)
FIXED = [order for order in get_args(Order) if order != "random"]


def stored(folder: Path, rows: np.ndarray, lengths: np.ndarray | None = None, per_file: int = 100) -> Rows:
    files = []
    for start in range(0, len(rows), per_file):
        files.append(folder / f"train-{len(files):05d}.npy")
        np.save(files[-1], rows[start : start + per_file])
        part = np.zeros(len(rows), np.uint32) if lengths is None else lengths
        np.save(files[-1].with_suffix(".lengths.npy"), part[start : start + per_file])
    return Rows(files, rows=len(rows), length=rows.shape[1], per_file=per_file, dtype=rows.dtype)


def ordered(order: Order, rows: list | np.ndarray, lengths: list[int] | None = None, **how) -> list[int]:
    with tempfile.TemporaryDirectory() as name:
        given = None if lengths is None else np.array(lengths, np.uint32)
        whole = stored(Path(name), np.array(rows, np.uint16), given, how.pop("per_file", 2))
        place = Path(name, "out")
        place.mkdir()
        found = sort(score_for(order, whole, TOKENIZER), whole, place, **how).tolist()
        assert [p.name for p in place.iterdir() if "run" in p.name and p.suffix == ".npy"] == []
    return found


@pytest.mark.parametrize("order", FIXED)
def test_every_order_is_a_permutation_whatever_the_files_and_the_memory(order: Order) -> None:
    chance = np.random.default_rng(0)
    rows = chance.integers(5, 10, (500, 8)).astype(np.uint16)
    lengths = chance.integers(1, 50, 500).tolist()
    whole = ordered(order, rows, lengths, per_file=1000)
    assert sorted(whole) == list(range(500))
    assert ordered(order, rows, lengths, per_file=37, merged=20) == whole


def test_sentence_length_reads_rows_with_most_full_stops_first_and_keeps_ties() -> None:
    rows = [[THE, DOG, DOG], [STOP, DOG, STOP], [STOP, THE, DOG], [DOG, DOG, DOG]]
    assert ordered("sentence-length", rows) == [1, 2, 0, 3]


def test_unigram_reads_frequent_words_first_and_reversed_rare_ones() -> None:
    # The reference's `unigram-curriculum` sorts the other way round than the paper says (likely first).
    rows = [[RARE, DOG], [THE, THE], [THE, DOG], [THE, THE]]
    assert ordered("unigram", rows) == [1, 3, 2, 0]
    assert ordered("unigram-reversed", rows) == [0, 2, 1, 3]


def test_word_length_reads_short_words_first_and_counts_neither_marks_nor_specials() -> None:
    rows = [[RARE, SEP, SEP], [DOG, S, SEP], [DOG, DOG, SEP], [S, S, S]]
    assert ordered("word-length", rows) == [3, 1, 2, 0]


def test_document_length_reads_rows_that_begin_in_short_documents_first() -> None:
    assert ordered("document-length", [[DOG], [DOG], [DOG], [DOG]], [9, 3, 40, 3]) == [1, 3, 0, 2]


def test_fragment_reads_rows_of_many_documents_first() -> None:
    assert ordered("fragment", [[DOG, DOG, SEP], [SEP, DOG, SEP]]) == [1, 0]


def test_corpus_leaves_rows_as_they_came() -> None:
    assert ordered("corpus", np.full((5, 3), DOG)) == [0, 1, 2, 3, 4]


scores = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=200)


@given(scores)
def test_keys_sort_as_scores_do_with_ties_in_the_order_of_the_rows(values: list[float]) -> None:
    made = keys(np.array(values, np.float32), 0)
    assert len(set(made.tolist())) == len(values)
    assert np.argsort(made).tolist() == np.argsort(np.array(values, np.float32), kind="stable").tolist()


@given(st.lists(st.lists(st.integers(0, 10_000), max_size=60), min_size=1, max_size=6), st.integers(1, 40))
@settings(max_examples=60)
def test_merging_runs_piece_by_piece_sorts_the_whole(parts: list[list[int]], most: int) -> None:
    unique = [np.sort(keys(np.array(part, np.float32), 1000 * i)) for i, part in enumerate(parts)]
    stretches = list(merge(unique, most))
    np.testing.assert_array_equal(np.concatenate(stretches), np.sort(np.concatenate(unique)))
    assert max(map(len, stretches)) <= 3 * most + 2 * len(parts)


def test_an_order_of_chosen_rows_is_that_of_all_without_the_others() -> None:
    order = np.array([4, 0, 3, 1, 2], np.uint32)
    assert of_chosen(order, np.array([0, 2, 4], np.uint32), 5).tolist() == [2, 0, 1]
    assert of_chosen(order, None, 5) is order
