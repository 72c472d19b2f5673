"""What is hidden together: words, spans; and in every kind an exact number per row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data.masking import Masker, SpanMasking, TokenMasking, WholeWordMasking
from ablate.data.tokenizer import SPECIALS

V = 200
continues = np.zeros(V, dtype=bool)
continues[100:] = True  # every second token goes on with a word


def rows(count: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(len(SPECIALS), V, (count, length)).astype(np.uint16)


def hidden(masking: TokenMasking, ids: np.ndarray, rate: float = 0.25, first: int = 0) -> np.ndarray:
    """[B, L] True where predicted."""
    _, positions, labels = Masker(3, rate, "all-mask", V, masking, continues)(ids, first)
    assert np.array_equal(labels, ids.ravel()[positions])
    found = np.zeros(ids.shape, dtype=bool)
    found.ravel()[positions] = True
    return found


@given(
    masking=st.sampled_from(
        [TokenMasking(), WholeWordMasking(), SpanMasking(), SpanMasking(stop=0.6, longest=3)]
    ),
    length=st.integers(8, 128),
    rate=st.floats(0.1, 0.8),
    first=st.integers(0, 10_000),
)
@settings(deadline=None, max_examples=60)
def test_the_number_per_row_is_exact_and_addressable(masking, length: int, rate: float, first: int):
    ids = rows(6, length)
    found = hidden(masking, ids, rate, first)
    assert (found.sum(1) == max(1, round(rate * length))).all()
    assert np.array_equal(found[4:], hidden(masking, ids[4:], rate, first + 4))


def test_the_masks_of_single_tokens_are_those_without_a_kind():
    ids = rows(20, 32)
    plain = Masker(3, 0.25, "80-10-10", V)(ids, 5)
    named = Masker(3, 0.25, "80-10-10", V, TokenMasking(), continues)(ids, 5)
    assert all(np.array_equal(a, b) for a, b in zip(plain, named, strict=True))


def test_words_are_hidden_whole_but_for_one_per_row():
    ids = rows(400, 64)
    found = hidden(WholeWordMasking(), ids)
    starts = ~continues[ids]
    starts[:, 0] = True
    words = starts.cumsum(1) - 1
    for row in range(len(ids)):
        size = np.bincount(words[row])
        count = np.bincount(words[row], weights=found[row])
        parted = ((count > 0) & (count < size)).sum()
        assert parted <= 1
    alone = hidden(TokenMasking(), ids)
    assert not np.array_equal(found, alone)


def runs(found: np.ndarray) -> np.ndarray:
    """Lengths of the runs of hidden tokens."""
    edges = np.diff(np.pad(found, ((0, 0), (1, 1))).astype(int), axis=1)
    return np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]


def test_spans_are_longer_than_chance_and_end_where_they_must():
    """At a low rate spans hardly touch: the mean is the geometric's cut at its longest, (1 - 0.8^10) / 0.2 = 4.46,
    less what the cut of the last one takes."""
    ids = rows(4000, 128)
    lengths = runs(hidden(SpanMasking(stop=0.2, longest=10), ids, rate=0.08))
    assert lengths.mean() == pytest.approx(4.0, abs=0.5)
    assert runs(hidden(TokenMasking(), ids, rate=0.08)).mean() < 1.2
    short = runs(hidden(SpanMasking(stop=0.05, longest=2), ids, rate=0.02))
    assert short.max() <= 4, "two spans of at most two may touch"


def test_every_position_is_hidden_equally_often():
    """Away from the ends, where spans begin in step with the row."""
    ids = rows(20_000, 64)
    for masking in (TokenMasking(), SpanMasking()):
        share = hidden(masking, ids)[:, 20:-20].mean(0)
        assert np.abs(share - 0.25).max() < 0.02
