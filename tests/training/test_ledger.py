from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ablate.budget import Budget
from ablate.training.ledger import Ledger


class Clock:
    def __init__(self) -> None:
        self.time = 50.0

    def __call__(self) -> float:
        return self.time


def ledger(budget: str, clock: Clock | None = None, **how) -> Ledger:
    return Ledger(Budget.parse(budget), length=128, flops_per_token=1e6, now=clock or Clock(), **how)


def test_only_running_time_is_charged_and_all_time_is_occupied():
    clock = Clock()
    found = ledger("100s", clock)
    clock.time += 30  # start-up
    found.clock.start()
    clock.time += 10
    found.clock.stop()
    clock.time += 5  # a checkpoint
    assert (found.spent.seconds, found.spent.occupied, found.progress) == (10, 45, 0.1)


def test_the_strict_reading_charges_start_up_too():
    clock = Clock()
    found = ledger("100s", clock, charge="occupied", occupied=20.0)
    clock.time += 30
    assert found.progress == 0.5


def test_tokens_and_flops_follow_the_sequences():
    found = ledger("1e6 tokens")
    found.sequences = 1000
    assert (found.spent.tokens, found.spent.flops, found.progress) == (128_000, 128e9, 0.128)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_restored_ledger_goes_on_where_it_was(charged, pause, steps, sequences):
    clock = Clock()
    before = ledger("1e9 steps", clock)
    before.clock.start()
    clock.time += charged
    before.clock.stop()
    before.steps, before.sequences = steps, sequences
    stored = before.to_dict()
    clock.time += pause  # the machine may be down for any time
    after = ledger("1e9 steps", clock)
    after.restore(stored)
    restored = after.to_dict()
    assert math.isclose(restored.pop("occupied"), stored.pop("occupied"), abs_tol=1e-6)
    assert restored == stored


def test_time_left_is_told_at_the_mean_pace():
    clock = Clock()
    found = ledger("100 steps", clock)
    assert found.eta_seconds() is None
    found.clock.start()
    clock.time += 10
    found.steps = 20
    assert found.eta_seconds() == 40
