"""Orders: every one is a permutation, and the scores mean what their names say."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from ablate.data.order import Order, fixed_order
from ablate.data.tokenizer import SEP, SPECIALS, assemble

TOKENIZER = assemble({word: i for i, word in enumerate([*SPECIALS, ".", "the", "dog", "rare"])})
STOP, THE, DOG, RARE = 5, 6, 7, 8
FIXED = [order for order in get_args(Order) if order != "random"]


@pytest.mark.parametrize("order", FIXED)
def test_every_order_is_a_permutation(order: Order) -> None:
    rows = np.random.default_rng(0).integers(5, 9, (500, 8)).astype(np.uint16)
    found = fixed_order(order, rows, TOKENIZER)
    assert sorted(found) == list(range(500))
    assert found.dtype == np.uint32


def test_sentence_length_reads_rows_with_most_full_stops_first_and_keeps_ties() -> None:
    rows = np.array([[THE, DOG, DOG], [STOP, DOG, STOP], [STOP, THE, DOG], [DOG, DOG, DOG]], np.uint16)
    assert fixed_order("sentence-length", rows, TOKENIZER).tolist() == [1, 2, 0, 3]


def test_unigram_reads_frequent_words_first_and_reversed_rare_ones() -> None:
    # The reference's `unigram-curriculum` sorts the other way round than the paper says (likely first).
    rows = np.array([[RARE, DOG], [THE, THE], [THE, DOG], [THE, THE]], np.uint16)
    assert fixed_order("unigram", rows, TOKENIZER).tolist() == [1, 3, 2, 0]
    assert fixed_order("unigram-reversed", rows, TOKENIZER).tolist() == [0, 2, 1, 3]


def test_fragment_reads_rows_of_many_documents_first() -> None:
    rows = np.array([[DOG, DOG, SEP], [SEP, DOG, SEP]], np.uint16)
    assert fixed_order("fragment", rows, TOKENIZER).tolist() == [1, 0]


def test_corpus_leaves_rows_as_they_came() -> None:
    rows = np.full((5, 3), DOG, np.uint16)
    assert fixed_order("corpus", rows, TOKENIZER).tolist() == [0, 1, 2, 3, 4]
