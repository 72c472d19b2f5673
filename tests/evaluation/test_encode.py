"""Templates, truncation and the token cache."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.evaluation.encode import encode, longest_first
from ablate.evaluation.tasks import Examples


def examples(first, second=None):
    return Examples(first, second, np.zeros(len(first)))


def words(tokenizer, row, length):
    return [tokenizer.id_to_token(i) for i in row[:length]]


def test_sentences_and_pairs_have_their_templates(tokenizer):
    single = encode(tokenizer, examples(["good w1", "bad"]), 16)
    assert words(tokenizer, single.ids[0], 4) == ["[CLS]", "good", "w1", "[SEP]"]
    assert single.lengths.tolist() == [4, 3]
    assert single.ids[1].tolist()[3:] == [0]
    pair = encode(tokenizer, examples(["good w1"], ["bad"]), 16)
    assert words(tokenizer, pair.ids[0], 6) == ["[CLS]", "good", "w1", "[SEP]", "bad", "[SEP]"]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_truncation_takes_one_token_at_a_time_from_the_longer(first, second, budget):
    a, b = first, second
    while a + b > budget:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    assert longest_first(first, second, budget) == (a, b)


def test_no_row_exceeds_the_longest_allowed(tokenizer):
    long = "w1 " * 50
    assert encode(tokenizer, examples([long, "w2"]), 12).lengths.tolist() == [12, 3]
    cut = encode(tokenizer, examples([long], ["w2 w3"]), 12)
    assert words(tokenizer, cut.ids[0], 12)[-4:] == ["[SEP]", "w2", "w3", "[SEP]"]
    assert cut.lengths.tolist() == [12]


def test_kept_tokens_equal_fresh_ones_and_a_torn_file_is_made_anew(tokenizer, tmp_path):
    texts = examples(["good w1 w2", "", "bad"])
    fresh = encode(tokenizer, texts, 16, tmp_path)
    kept = encode(tokenizer, texts, 16, tmp_path)
    assert np.array_equal(fresh.ids, kept.ids)
    [file] = (tmp_path / "tokens").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(encode(tokenizer, texts, 16, tmp_path).ids, fresh.ids)
    assert file.stat().st_size > 100


@pytest.mark.parametrize("change", ["text", "length", "pair"])
def test_other_texts_or_lengths_are_other_tokens(tokenizer, tmp_path, change):
    before = encode(tokenizer, examples(["a b"], ["c"]), 16, tmp_path)
    other = (
        examples(["a"], ["b c"])
        if change == "text"
        else examples(["a b"], None if change == "pair" else ["c"])
    )
    after = encode(tokenizer, other, 8 if change == "length" else 16, tmp_path)
    assert before.digest != after.digest
