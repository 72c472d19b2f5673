"""Schedules as tables, and what all of them promise."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.knobs import knobs
from ablate.optim.schedules import (
    Constant,
    Cooling,
    Cosine,
    CosineAnnealing,
    Dive,
    InverseCosine,
    InverseSqrt,
    Linear,
    MultiCycle,
    OneCycle,
    Polynomial,
    Ramp,
    Schedule,
    Triangle1,
    Triangle2,
    WarmupStableDecay,
)
from ablate.training.config import TrainConfig

EVERY = [
    Triangle2(), Triangle1(), OneCycle(), MultiCycle(), Cosine(), CosineAnnealing(), Linear(), Polynomial(),
    InverseSqrt(), Constant(), Ramp(), InverseCosine(), Dive(), WarmupStableDecay(),
]  # fmt: skip
every = pytest.mark.parametrize("schedule", EVERY, ids=lambda s: s.kind)
HALF = math.sqrt(0.5)

TABLE: list[tuple[Schedule, dict[float, float]]] = [
    (Triangle2(), {0: 0.25, 0.25: 0.5, 0.5: 0.75, 0.75: 1.0, 0.9: 0.4, 1: 0}),
    (Triangle1(), {0: 0.5, 0.375: 0.75, 0.75: 1.0, 0.9: 0.4, 1: 0}),
    (OneCycle(), {0: 0, 0.25: 0.5, 0.5: 1, 0.75: 0.5, 1: 0}),
    (MultiCycle(cycles=4), {0: 0, 0.125: 1, 0.25: 0, 0.3125: 0.5, 0.375: 1, 1: 0}),
    (Cosine(), {0: 1, 0.25: 0.5 + HALF / 2, 0.5: 0.5, 0.75: 0.5 - HALF / 2, 1: 0}),
    (CosineAnnealing(cycles=4), {0: 1, 0.125: 0.5, 0.25: 1, 0.375: 0.5, 1: 0}),
    (Linear(), {0: 1, 0.3: 0.7, 1: 0}),
    (Polynomial(power=2), {0: 1, 0.5: 0.25, 0.9: 0.01, 1: 0}),
    (InverseSqrt(warmup=0.04), {0: 0, 0.02: 0.5, 0.04: 1, 0.16: 0.5, 1: 0.2}),
    (Constant(), {0: 1, 0.5: 1, 1: 1}),
    (Ramp(), {0: 0, 0.5: 0.5, 1: 1}),
    (InverseCosine(), {0: 0, 0.5: 0.5, 1: 1}),
    (Dive(falloff=0.5), {0: 1, 0.5: 1, 0.75: 0.5, 1: 0}),
    (Dive(falloff=0.25), {0.5: 1, 0.875: 0.5, 1: 0}),
    (WarmupStableDecay(warmup=0.1, decay=0.5), {0: 0, 0.05: 0.5, 0.1: 1, 0.55: 1, 0.6625: 0.5, 1: 0}),
    # With warm-up and cool-down, as the reference has them.
    (Linear(warmup=0.2), {0: 0, 0.1: 0.5, 0.2: 1, 0.6: 0.5, 1: 0}),
    (Cosine(warmup=0.2), {0.1: 0.5, 0.2: 1, 0.6: 0.5, 1: 0}),
    (Constant(warmup=0.2, cooldown=0.5), {0: 0, 0.1: 0.5, 0.3: 1, 0.5: 1, 0.75: 0.5, 1: 0}),
    (Ramp(cooldown=0.2), {0.4: 0.4, 0.8: 0.8, 0.9: 0.4, 1: 0}),
    (InverseSqrt(warmup=0.04, cooldown=0.36), {0.16: 0.5, 0.64: 0.25, 0.82: 0.125, 1: 0}),
    (Triangle2(warmup=0.2), {0: 0, 0.1: 0.125, 0.2: 0.25, 0.8: 1, 1: 0}),
]


@pytest.mark.parametrize(
    ("schedule", "table"), TABLE, ids=lambda x: str(x) if isinstance(x, Schedule) else ""
)
def test_a_schedule_is_its_table(schedule: Schedule, table: dict[float, float]):
    for progress, factor in table.items():
        assert schedule.factor(progress) == pytest.approx(factor, abs=1e-7), progress


def test_every_schedule_is_covered():
    (domain,) = (k.domain for k in knobs(TrainConfig) if k.path == "schedule")
    assert {s.kind for s in EVERY} == set(domain.levels) == {s.kind for s, _ in TABLE}


def ends(schedule: Schedule, warmup: float, cooldown: float) -> Schedule:
    """The schedule with a warm-up and, where it has one, a cool-down."""
    changes = {"warmup": warmup, "cooldown": cooldown}
    return schedule.model_copy(update={k: v for k, v in changes.items() if k in type(schedule).model_fields})


@every
@given(progress=st.floats(0, 1), warmup=st.floats(1e-3, 0.5), cooldown=st.sampled_from([0.0, 0.1, 0.5]))
def test_factors_stay_between_zero_and_one(schedule, progress: float, warmup: float, cooldown: float):
    changed = ends(schedule, warmup, cooldown)
    for one in (schedule, changed):
        assert -1e-12 <= one.factor(progress) <= 1 + 1e-12


@every
def test_progress_is_clipped(schedule: Schedule):
    assert schedule.factor(-1.0) == schedule.factor(0.0)
    assert schedule.factor(1.5) == schedule.factor(1.0)


@every
def test_a_cooldown_ends_at_zero_and_a_warmup_starts_there(schedule: Schedule):
    both = ends(schedule, 0.1, 0.1)
    assert both.factor(0.0) == 0
    if isinstance(schedule, Cooling):
        assert both.factor(1.0) == 0


@every
@given(warmup=st.sampled_from([0.0, 0.05, 0.3]), cooldown=st.floats(0.01, 0.5))
def test_a_cooldown_is_inert_exactly_where_it_changes_nothing(schedule, warmup: float, cooldown: float):
    if not isinstance(schedule, Cooling) or schedule.kind == "inverse-sqrt":  # whose warm-up is its shape
        return
    cooled, plain = ends(schedule, warmup, cooldown), ends(schedule, warmup, 0.0)
    furthest = max(abs(cooled.factor(i / 997) - plain.factor(i / 997)) for i in range(998))
    assert bool(list(cooled.inert(None))) == (furthest < 1e-9)


@every
def test_schedules_are_continuous_but_for_restarts(schedule: Schedule):
    both = ends(schedule, 0.1, 0.1)
    steps = 100_000
    factors = [both.factor(i / steps) for i in range(steps + 1)]
    # The steepest is the root at the start of the wsd decay: sqrt(1e-5 / 0.2).
    jumps = sum(abs(a - b) > 0.008 for a, b in zip(factors, factors[1:], strict=False))
    assert jumps == (3 if schedule.kind == "cosine-annealing" else 0)


def test_no_two_schedules_are_the_same_function():
    rows = [tuple(round(s.factor(i / 97), 9) for i in range(98)) for s in EVERY]
    assert len(set(rows)) == len(rows)
