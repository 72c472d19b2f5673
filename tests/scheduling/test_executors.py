"""Slots: a GPU each, or a share of the cores."""

import os

import pytest

from ablate.scheduling import RefusedError
from ablate.scheduling.executors import LocalExecutor, LocalSpec, visible_gpus
from ablate.study import RunSpec


def test_cpu_trials_share_the_cores_and_do_not_spin() -> None:
    cores = len(os.sched_getaffinity(0))
    environment = LocalExecutor(cores, environment={})._environment(0)
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert LocalExecutor(1, environment={}).threads_each == cores


def test_a_smaller_thread_count_of_the_user_is_kept() -> None:
    assert LocalExecutor(1, threads=8, environment={"OMP_NUM_THREADS": "3"}).threads_each == 3


def test_each_slot_has_a_gpu_of_its_own() -> None:
    executor = LocalExecutor(2, gpus=["4", "7"])
    assert [executor._environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["4", "7"]


def test_more_workers_than_gpus_are_refused() -> None:
    with pytest.raises(RefusedError, match="3 workers were asked for and 1 GPUs are visible"):
        LocalExecutor(3, gpus=["0"])


def test_the_environments_choice_of_gpus_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert visible_gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_workers_of_a_study_that_takes_what_there_is_are_at_most_its_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    assert LocalSpec().build(RunSpec(workers=2).places()).workers == 1
    with pytest.raises(RefusedError, match="use --workers 1"):
        LocalSpec().build(RunSpec(workers=2).places(2))
    with pytest.raises(RefusedError, match="use --workers 1"):
        LocalSpec().build(RunSpec(workers=2, gpus_per_trial=1).places())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert LocalSpec().build(RunSpec(workers=2).places()).workers == 2
