"""Slots: a GPU each, or a share of the cores."""

import os
from pathlib import Path

import pytest

from ablate.records import FrozenStudy
from ablate.scheduling import RefusedError
from ablate.scheduling.executors import LocalExecutor, LocalSpec, visible_gpus
from ablate.scheduling.executors.local import emulated, slow_products, without_gpu
from ablate.study import RunSpec
from tests.scheduling.conftest import study


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


def test_trials_on_a_cpu_are_at_most_its_cores_unless_they_may_share_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    frozen = study(tmp_path, {"baseline": {}}, blocks=1)
    fewer = LocalSpec().build(RunSpec(workers=9).places())
    assert fewer.workers == 2
    assert fewer.cautions(frozen)[0] == "run.workers asks for 9 trials at once; here 2 run, one per core"
    with pytest.raises(RefusedError, match=r"2 cores are usable; use --workers 2, or set run\.pin: false"):
        LocalSpec().build(RunSpec().places(9))
    assert LocalSpec().build(RunSpec(pin=False).places(9)).workers == 9
    whole = LocalSpec().build(RunSpec(workers=2).places())
    assert not [caution for caution in whole.cautions(frozen) if "workers" in caution]


@pytest.mark.parametrize(
    ("flags", "precision", "tells"),
    [
        (["avx2"], "bf16", True),
        (["asimd"], "fp16", True),
        (["avx2"], "fp32", False),
        (["avx2", "avx512f"], "bf16", False),
        (["asimd", "bf16"], "bf16", False),
        ([], "bf16", False),
    ],
)
def test_products_that_the_cpu_has_no_arithmetic_for_are_announced(
    tmp_path: Path, flags: list[str], precision: str, tells: bool
) -> None:
    told = slow_products(of_precision(tmp_path, precision), flags, "Some CPU")
    assert len(told) == tells
    if tells:
        assert told[0].startswith(f"baseline; wide: train.precision {precision} is many times slower")
        assert "(Some CPU)" in told[0]
        assert "`train.precision: fp32`" in told[0]


def test_an_arm_that_trains_for_nothing_is_not_slow(tmp_path: Path) -> None:
    untrained = of_precision(tmp_path, "bf16", {"unit": "steps", "amount": 0})
    assert slow_products(untrained, ["avx2"], "Some CPU") == []


def test_a_precision_of_gpus_alone_is_refused_before_anything_trains_on_cpus(tmp_path: Path) -> None:
    tf32 = of_precision(tmp_path, "tf32")
    (told,) = LocalExecutor(1, gpus=[]).refusals(tf32)
    assert told.startswith("baseline; wide: train.precision tf32 needs a GPU, and none is visible here")
    assert told.endswith("use fp32 here")
    assert LocalExecutor(1, gpus=["0"]).refusals(tf32) == []
    assert without_gpu(of_precision(tmp_path, "fp8")) == [], "it is emulated"


def test_a_precision_that_cpus_emulate_is_announced(tmp_path: Path) -> None:
    (told,) = emulated(of_precision(tmp_path, "fp8"))
    assert told.startswith("baseline; wide: train.precision fp8 is emulated on CPUs")
    assert told in LocalExecutor(1, gpus=[]).cautions(of_precision(tmp_path, "fp8"))
    assert LocalExecutor(1, gpus=["0"]).cautions(of_precision(tmp_path, "fp8")) == []
    assert emulated(of_precision(tmp_path, "fp32")) == []


def of_precision(root: Path, kind: str, budget: dict[str, object] | None = None) -> FrozenStudy:
    """Two arms in one precision."""
    base = study(root, {"baseline": {}, "wide": {}})
    arms = [
        arm.model_copy(
            update={
                "recipe": {"train": {"precision": {"kind": kind}}},
                "budget": budget or {"unit": "tokens", "amount": 1e6},
            }
        )
        for arm in base.arms
    ]
    return base.model_copy(update={"arms": arms})
