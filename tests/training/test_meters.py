"""Meters: what a device does not tell is left out, what it tells is counted once across attempts."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ablate.budget import Budget
from ablate.training.ledger import Ledger
from ablate.training.meters import JOULES_PER_KWH, Meters, energy_counter, measured_peak, nvml_joules

CPU = torch.device("cpu")


class NVMLError(Exception):
    pass


def nvml(millijoules: list[int] | None) -> Any:
    """A driver that tells each of these counts in turn; None: one that has no counter."""

    def consumption(handle: object) -> int:
        if millijoules is None:
            raise NVMLError
        return millijoules.pop(0)

    return SimpleNamespace(
        NVMLError=NVMLError, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=consumption,
    )  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def ledger(clock: Clock) -> Ledger:
    return Ledger(Budget("steps", 10), length=4, flops_per_token=10.0, now=clock)


def test_a_cpu_tells_no_energy_and_none_is_invented() -> None:
    assert energy_counter(CPU) is None
    meters = Meters(CPU, ledger(Clock()), peak_flops=None)
    assert meters.energy_kwh() is None
    row = meters.read()
    assert math.isnan(row["energy_kwh"])
    assert math.isnan(row["mfu"]), "no peak, no share of it"
    assert row["memory_gib"] > 0.01


def test_energy_goes_on_from_what_earlier_attempts_used() -> None:
    counter = nvml_joules(nvml([0, 5_000, 5_000 + 3_600_000]), "GPU-1")
    assert counter is not None
    meters = Meters(CPU, ledger(Clock()), peak_flops=None, energy_kwh=0.25, joules=counter)
    assert meters.energy_kwh() == pytest.approx(0.25 + 3_600 / JOULES_PER_KWH)


def test_a_gpu_without_a_counter_tells_none() -> None:
    assert nvml_joules(nvml(None), "GPU-1") is None


def test_utilization_is_flops_per_charged_second_since_the_last_row() -> None:
    clock = Clock()
    book = ledger(clock)
    meters = Meters(CPU, book, peak_flops=100.0)
    book.clock.start()
    book.sequences, clock.time = 5, 4.0  # 5 × 4 tokens × 10 FLOPs in 4 s
    assert meters.read()["mfu"] == pytest.approx(0.5)
    book.sequences, clock.time = 6, 5.0
    assert meters.read()["mfu"] == pytest.approx(0.4)


def test_a_measured_peak_draws_nothing_from_the_trials_random_stream() -> None:
    before = torch.get_rng_state()
    assert measured_peak("cpu", seconds=0.02) > 1e8
    assert torch.equal(before, torch.get_rng_state())
