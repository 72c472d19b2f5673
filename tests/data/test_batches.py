"""Masks and batches: exact counts, addressed by number alone, special tokens untouched."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data import Batches, DataError
from ablate.data.masking import Masker
from ablate.data.tokenizer import MASK, SEP, SPECIALS, UNK

LENGTH, VOCABULARY = 32, 1000


def corpus(rows: int, *, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    made = random.integers(len(SPECIALS), VOCABULARY, (rows, LENGTH), dtype=np.uint16)
    made[random.random(made.shape) < 0.05] = SEP
    return made


def stream(rows: np.ndarray, order: np.ndarray | None = None, **changes) -> Batches:
    settings = {"order_seed": 1, "mask_seed": 2, "mask_rate": 0.25, "mask_rule": "80-10-10"}
    return Batches(rows, order, vocabulary=VOCABULARY, **(settings | changes))


@given(st.integers(0, 500), st.lists(st.integers(1, 40), min_size=1, max_size=6))
@settings(deadline=None)
def test_micro_batch_size_never_changes_rows_or_masks(start: int, sizes: list[int]) -> None:
    batches = stream(corpus(50))
    whole = batches.batch(start, sum(sizes))
    offsets = np.cumsum([0, *sizes])
    parts = [stream(corpus(50)).batch(start + int(o), size) for o, size in zip(offsets, sizes, strict=False)]
    np.testing.assert_array_equal(whole.ids, np.concatenate([p.ids for p in parts]))
    np.testing.assert_array_equal(whole.labels, np.concatenate([p.labels for p in parts]))
    moved = [p.positions + int(o) * LENGTH for p, o in zip(parts, offsets, strict=False)]
    np.testing.assert_array_equal(whole.positions, np.concatenate(moved))
    assert whole.epoch == parts[-1].epoch


@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(1, 3000)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_a_batch_does_not_depend_on_those_before_it(asked: list[tuple[int, int]]) -> None:
    """Batches are handed out of a stretch of some 2,000 rows that is cut at once."""
    rows = corpus(50)
    used = stream(rows)
    for start, size in asked:
        found, alone = used.batch(start, size), stream(rows).batch(start, size)
        for name in ("ids", "positions", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
        found.ids[:] = found.labels[:] = 0  # the caller's own


def test_masks_are_those_of_earlier_versions() -> None:
    """A trial begun before an upgrade and resumed after it must see the masks that it would have seen."""
    batch = stream(corpus(40)).batch(3, 30)
    digest = hashlib.sha256(b"".join(a.tobytes() for a in (batch.ids, batch.positions, batch.labels)))
    assert digest.hexdigest()[:16] == "e4bb1b7b6729e3f0"


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.25, 0.4, 1.0])
def test_every_row_predicts_exactly_the_rounded_rate(rate: float) -> None:
    batch = stream(corpus(64), mask_rate=rate).batch(0, 64)
    k = round(rate * LENGTH)
    assert batch.positions.shape == batch.labels.shape == (64 * k,)
    assert (np.bincount(batch.positions // LENGTH, minlength=64) == k).all()


def test_positions_are_distinct_and_labels_are_what_was_there() -> None:
    rows = corpus(64)
    batch = stream(rows, np.arange(64)).batch(0, 64)
    assert len(np.unique(batch.positions)) == len(batch.positions)
    np.testing.assert_array_equal(rows.ravel()[batch.positions], batch.labels)
    untouched = np.setdiff1d(np.arange(rows.size), batch.positions)
    np.testing.assert_array_equal(batch.ids.ravel()[untouched], rows.ravel()[untouched])


@pytest.mark.parametrize("rule", ["80-10-10", "all-mask"])
def test_special_tokens_are_neither_chosen_nor_drawn(rule) -> None:
    batch = stream(corpus(500), mask_rule=rule).batch(0, 500)
    assert (batch.labels >= len(SPECIALS)).all()
    put = batch.ids.ravel()[batch.positions]
    assert ((put >= len(SPECIALS)) | (put == MASK)).all()
    assert put.max() < VOCABULARY


def test_eighty_ten_ten() -> None:
    batch = stream(corpus(5000)).batch(0, 5000)  # 40,000 predictions: one sigma of a share is 0.2 points
    put = batch.ids.ravel()[batch.positions]
    assert (put == MASK).mean() == pytest.approx(0.8, abs=0.01)
    assert (put == batch.labels).mean() == pytest.approx(0.1, abs=0.01)


def test_all_mask_hides_every_chosen_token() -> None:
    batch = stream(corpus(50), mask_rule="all-mask").batch(0, 50)
    assert (batch.ids.ravel()[batch.positions] == MASK).all()


def test_every_ordinary_token_is_equally_likely_to_be_chosen() -> None:
    rows = np.full((20_000, LENGTH), 7, np.uint16)
    _, positions, _ = Masker(3, 0.25, "all-mask", VOCABULARY)(rows, 0)
    share = np.bincount(positions.ravel() % LENGTH, minlength=LENGTH) / len(rows)
    np.testing.assert_allclose(share, 0.25, atol=0.02)  # six sigma


def test_a_row_with_too_few_ordinary_tokens_predicts_them_more_than_once() -> None:
    rows = np.full((3, LENGTH), SEP, np.uint16)
    rows[0, [4, 9]] = 77, 78
    rows[1] = UNK
    ids, positions, labels = Masker(0, 0.25, "all-mask", VOCABULARY)(rows, 0)
    assert positions.shape == (3, 8)
    assert set(positions[0]) == {4, 9}
    assert set(positions[1] // LENGTH) == {1}
    assert set(labels[0]) == {77, 78}
    np.testing.assert_array_equal(ids[1:], rows[1:])  # nothing to hide: predicted as they stand


def test_masks_differ_between_rows_epochs_and_seeds() -> None:
    rows = np.full((4, LENGTH), 7, np.uint16)
    batches = stream(rows, np.arange(4))
    first, second = batches.batch(0, 4), batches.batch(4, 4)
    assert (first.positions != second.positions).any()
    assert (first.positions != stream(rows, np.arange(4), mask_seed=3).batch(0, 4).positions).any()
    per_row = first.positions.reshape(4, -1) % LENGTH
    assert (per_row[0] != per_row[1]).any()


def test_each_epoch_is_a_permutation_and_a_new_one() -> None:
    batches = stream(corpus(97))
    first, second = batches.numbers(0, 97), batches.numbers(97, 97)
    assert sorted(first) == sorted(second) == list(range(97))
    assert (first != second).any()
    assert (first != stream(corpus(97), order_seed=9).numbers(0, 97)).any()


def test_a_fixed_order_holds_for_one_epoch_then_later_ones_match_the_random_arm() -> None:
    order = np.arange(97)[::-1].astype(np.uint32)
    fixed, free = stream(corpus(97), order), stream(corpus(97))
    np.testing.assert_array_equal(fixed.numbers(0, 97), order)
    np.testing.assert_array_equal(fixed.numbers(97, 200), free.numbers(97, 200))


def test_the_epoch_counts_passes_over_the_data() -> None:
    batches = stream(corpus(10))
    assert [batches.batch(start, 5).epoch for start in (0, 5, 10, 15, 20)] == [0, 0, 1, 1, 2]
    assert batches.batch(8, 25).ids.shape == (25, LENGTH)  # over two ends at once


def test_a_batch_has_the_types_that_training_wants() -> None:
    batch = stream(corpus(10)).batch(3, 4)
    assert {batch.ids.dtype, batch.positions.dtype, batch.labels.dtype} == {np.dtype(np.int64)}
    assert stream(corpus(10)).predicted == 8


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        stream(corpus(0))
    with pytest.raises(DataError, match="9 entries for 10 rows"):
        stream(corpus(10), np.arange(9))
    with pytest.raises(ValueError, match=r"mask rate must lie in \(0, 1\]"):
        stream(corpus(10), mask_rate=0.0)


def test_a_curriculum_may_hold_for_more_passes_or_all_and_repeats_are_announced(caplog) -> None:
    order = np.arange(20)[::-1].astype(np.uint32)
    free = stream(corpus(20))
    twice, always = (stream(corpus(20), order, sorted_epochs=n) for n in (2, None))
    np.testing.assert_array_equal(twice.numbers(0, 60), [*order, *order, *free.numbers(40, 20)])
    np.testing.assert_array_equal(always.numbers(0, 60), np.tile(order, 3))
    with caplog.at_level("INFO", logger="ablate.data.batches"):
        for start in range(0, 60, 5):
            twice.batch(start, 5)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "the 20 rows of the corpus are read for the 2. time, in the same order",
        "the 20 rows of the corpus are read for the 3. time, in a new order",
    ]
