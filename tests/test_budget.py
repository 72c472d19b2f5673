"""Budgets are values, and the clock charges what it should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.budget import Budget, Spent, TrainingClock


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [
        ("90s", "seconds", 90),
        ("30m", "seconds", 1800),
        ("24h", "seconds", 86400),
        ("1.5 h", "seconds", 5400),
        ("2.5e9 tokens", "tokens", 2.5e9),
        ("4_000 steps", "steps", 4000),
        ("1,250,000.0 tokens", "tokens", 1_250_000),
        ("1.3e19 flops", "flops", 1.3e19),
        (0, "steps", 0),
        ("0", "steps", 0),
        ("0 steps", "steps", 0),
    ],
)
def test_a_budget_reads_as_written(text, unit, amount):
    assert Budget.parse(text) == Budget(unit, amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "h",
        "24 parsecs",
        "-3h",
        "24h 5m",
        None,
        True,
        [],
        "1e steps",
        "1,5 h",
        "2,5e9 tokens",
        "1,50,000 steps",
    ],
)
def test_a_wrong_budget_says_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"a budget is an amount and a unit: 90s"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["2.5 steps", "0.4 steps", "1.5 tokens"])
def test_part_of_a_step_is_no_budget(text):
    with pytest.raises(ValueError, match=r"are counted, so a budget of them is a whole number"):
        Budget.parse(text)


@given(st.sampled_from(["seconds", "tokens", "steps", "flops"]), st.integers(1, 10**12))
def test_a_budget_survives_being_written_down(unit, amount):
    if unit in ("seconds",) and len(str(amount).rstrip("0")) > 6:
        amount = 3600 * (amount % 999 + 1)
    budget = Budget(unit, float(amount) if amount < 1e6 else float(f"{amount:.5g}"))
    assert Budget.parse(str(budget)) == budget


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_progress_stays_in_the_unit_interval_and_never_falls(a, b):
    budget = Budget("seconds", 1000.0)
    low, high = sorted((a, b))
    p, q = (budget.progress(Spent(seconds=s)) for s in (low, high))
    assert 0 <= p <= q <= 1


def test_an_empty_budget_is_spent_from_the_start():
    assert Budget("steps", 0).progress(Spent()) == 1.0


def test_occupied_charge_counts_everything():
    spent = Spent(seconds=10, occupied=40)
    assert Budget("seconds", 100).progress(spent) == 0.1
    assert Budget("seconds", 100).progress(spent, "occupied") == 0.4


def test_the_clock_charges_only_while_it_runs_and_resumes_from_a_checkpoint():
    now = [100.0]
    clock = TrainingClock(lambda: now[0], charged=5.0, occupied=9.0)
    now[0] += 3  # start-up
    clock.start()
    now[0] += 2
    clock.start()  # harmless
    now[0] += 2
    clock.stop()
    now[0] += 10  # validation
    clock.stop()
    assert clock.charged == 9.0
    assert clock.occupied == 26.0
    clock.start()
    now[0] += 1
    assert clock.charged == 10.0
