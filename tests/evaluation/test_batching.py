"""Length buckets lose nothing and stay random; the schedule belongs to the task alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.evaluation.batching import (
    WINDOW,
    epoch_batches,
    epoch_groups,
    factor,
    like_lengths,
    steps,
    width,
    window_for,
)

lengths = st.lists(st.integers(1, 128), min_size=1, max_size=300).map(np.array)


@given(lengths, st.integers(1, 20), st.integers(0, 2**62), st.sampled_from([1, 2, WINDOW]))
def test_every_example_comes_exactly_once_per_epoch(lengths, batch, seed, window):
    batches = epoch_batches(lengths, batch, seed, window)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch
    assert len(batches) == steps(len(lengths), batch, 1)


def price_of(widths: list[list[int]], price: int) -> int:
    return sum(len(group) * max(group) + price for group in widths)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9).map(np.array), st.integers(0, 60))
def test_a_batch_is_parted_at_the_lowest_price(lengths, price):
    groups = like_lengths(lengths, price)
    assert sorted(np.concatenate(groups)) == list(range(len(lengths)))
    found = price_of([lengths[group].tolist() for group in groups], price)
    # Groups of the cheapest way are runs of the sorted rows: try every way to cut them.
    by_length = sorted(lengths.tolist())
    ways = itertools.product([False, True], repeat=len(by_length) - 1)
    cheapest = min(price_of(runs_of(by_length, cuts), price) for cuts in ways)
    assert found == cheapest


def runs_of(values: list[int], cuts: tuple[bool, ...]) -> list[list[int]]:
    found = [[values[0]]]
    for value, cut in zip(values[1:], cuts, strict=True):
        found.append([value]) if cut else found[-1].append(value)
    return found


def test_groups_have_the_rows_of_their_batches_and_little_padding():
    lengths = np.random.default_rng(0).integers(1, 128, 2000)
    batches = epoch_batches(lengths, 16, 3, window=1)
    groups = epoch_groups(lengths, 16, 3, window=1, split=True)
    assert [sorted(np.concatenate(parts)) for parts in groups] == [sorted(rows) for rows in batches]
    whole = epoch_groups(lengths, 16, 3, window=1, split=False)
    assert all(np.array_equal(rows, parts[0]) for rows, parts in zip(batches, whole, strict=True))
    computed = sum(len(rows) * lengths[rows].max() for parts in groups for rows in parts)
    assert computed < 1.3 * lengths.sum() < 0.75 * sum(len(rows) * lengths[rows].max() for rows in batches)


def test_epochs_are_composed_differently_and_repeatably():
    lengths = np.random.default_rng(0).integers(1, 128, 2000)
    first, second = (epoch_batches(lengths, 16, seed) for seed in (1, 2))
    assert {frozenset(b) for b in first}.isdisjoint(frozenset(b) for b in second)
    assert all(np.array_equal(a, b) for a, b in zip(first, epoch_batches(lengths, 16, 1), strict=True))


def test_bucketing_removes_most_of_the_padding():
    lengths = np.random.default_rng(0).integers(1, 128, 2000)
    padded = sum(len(b) * lengths[b].max() for b in epoch_batches(lengths, 16, 0))
    assert padded < 1.1 * lengths.sum() < 0.7 * len(lengths) * 128


def test_batches_do_not_come_sorted():
    lengths = np.random.default_rng(0).integers(1, 128, 2000)
    longest = [lengths[b].max() for b in epoch_batches(lengths, 16, 0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_a_task_whose_labels_go_with_length_keeps_random_batches(kind):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 128, 2000)
    with_length = lengths > 64 if kind == "classes" else lengths + rng.normal(size=2000)
    unrelated = rng.integers(0, 3, 2000) if kind == "classes" else rng.normal(size=2000)
    assert window_for(lengths, with_length.astype(int if kind == "classes" else float), 16) == 1
    assert window_for(lengths, unrelated, 16) == WINDOW


def test_a_training_set_of_one_batch_or_one_class_needs_no_decision():
    assert window_for(np.arange(10), np.zeros(10, int), 16) == 1
    assert window_for(np.arange(100), np.zeros(100, int), 16) == WINDOW


@given(st.integers(1, 128), st.sampled_from([1, 8]))
def test_a_width_holds_the_longest_row_and_no_more_than_needed(longest, multiple):
    wide = width(longest, 128, multiple)
    assert longest <= wide < longest + multiple
    assert wide % multiple == 0
    assert width(longest, 100, multiple) <= 100


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_over_the_warm_up_and_peaks_at_its_end(schedule):
    assert [factor(schedule, 0.1, x) for x in (0.0, 0.05, 0.1)] == pytest.approx([0.0, 0.5, 1.0])
    after = [factor(schedule, 0.1, x) for x in np.linspace(0.1, 1.0, 50)]
    assert all(a >= b for a, b in zip(after, after[1:], strict=False))
    assert after[-1] == pytest.approx(1.0 if schedule == "constant" else 0.0, abs=1e-12)


def test_without_a_warm_up_the_peak_comes_first():
    assert factor("cosine", 0.0, 0.0) == 1.0
