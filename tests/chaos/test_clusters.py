"""Trials of a Ray cluster of two nodes, of submitit's local jobs, and of a real Slurm of one node."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.records import StudyPaths, load_records
from ablate.scheduling import RefusedError
from ablate.scheduling.executors import Places, RaySpec, SlurmSpec
from ablate.scheduling.executors.supervise import placement
from ablate.scheduling.status import status
from tests.chaos.invariants import assert_survived
from tests.scheduling.clusters import Slurm
from tests.scheduling.conftest import Processes, lines, study, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

SLOW = {"steps": 6, "seconds": 0.02, "waits_at": 4, "every": 2}
RAY: dict[str, Any] = {"kind": "ray"}
LOCAL: dict[str, Any] = {"kind": "slurm", "cluster": "local"}
SLURM: dict[str, Any] = {"kind": "slurm", "partition": "low"}


def steps(root: Path, trial: str) -> list[str]:
    return lines(StudyPaths(root).trial(trial).root / "steps.txt")


def starts(root: Path, trial: str) -> list[str]:
    return lines(StudyPaths(root).trial(trial).root / "starts.txt")


def finish(process: Any, code: int = 0) -> str:
    _, told = process.communicate(timeout=150)
    assert process.returncode == code, told
    return str(told)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two Ray nodes of two CPUs each; a raylet each, as on two machines."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def test_ray_runs_trials_on_every_node(root: Path, processes: Processes, cluster: Any) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=1)
    first = processes.start(workers=2, executor={**RAY, "address": cluster.address})
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials), seconds=60)
    assert status(root).counts == {"running": 2}
    (root / "go").touch()
    finish(first)
    assert_survived(root, frozen, repeated=0)


@pytest.mark.fault("Ray node killed")
def test_a_trial_of_a_lost_ray_node_goes_on_elsewhere(root: Path, processes: Processes, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=2, resources={"lost": 1})
    frozen = study(root, {"baseline": SLOW, "b": SLOW, "c": SLOW, "d": SLOW}, blocks=1)
    first = processes.start(workers=4, executor={**RAY, "address": cluster.address})
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials), seconds=90)
    cluster.remove_node(node, allow_graceful=False)
    wait_for(lambda: len(processes.trials()) == 2, seconds=60)  # the trials of the lost node died with it
    (root / "go").touch()
    finish(first)
    assert_survived(root, frozen, repeated=2)
    assert sorted(len(starts(root, t)) for t in frozen.trials) == [1, 1, 2, 2]


@pytest.mark.fault("SIGKILL of a coordinator of Ray trials")
def test_trials_of_a_killed_ray_coordinator_are_ended_and_done_again(
    root: Path, processes: Processes, cluster: Any
) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=1)
    first = processes.start(workers=2, executor={**RAY, "address": cluster.address})
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials), seconds=60)
    processes.kill(first)
    second = processes.start(workers=2, executor={**RAY, "address": cluster.address})
    (root / "go").touch()
    finish(second)
    assert_survived(root, frozen, repeated=2)


def test_ctrl_c_stops_ray_trials_at_a_checkpoint(root: Path, processes: Processes, cluster: Any) -> None:
    import signal

    frozen = study(root, {"baseline": SLOW, "b": SLOW, "c": SLOW}, blocks=1)
    first = processes.start(workers=3, executor={**RAY, "address": cluster.address})
    wait_for(lambda: sum(len(steps(root, t)) == 4 for t in frozen.trials) == 2, seconds=60)
    first.send_signal(signal.SIGINT)
    finish(first, 130)
    assert processes.trials() == []
    assert set(status(root).counts) <= {"paused", "waiting"}
    (root / "go").touch()
    assert processes.run()[0] == 0, "and another executor may go on with them"
    assert_survived(root, frozen, repeated=0)


def test_a_ray_cluster_without_gpus_is_refused_for_a_gpu_study(cluster: Any) -> None:
    with pytest.raises(
        RefusedError, match=r"has 0 GPUs and each trial asks for 1; connect to one with GPUs, or set"
    ):
        RaySpec(address=cluster.address).build(Places(gpus_per_trial=1))


def test_a_ray_cluster_that_is_not_there_is_refused() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with pytest.raises(RefusedError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        RaySpec(address="127.0.0.1:1").build(Places(gpus_per_trial=0))


@pytest.mark.representative
def test_submitit_runs_trials_and_their_failures_are_recorded(root: Path, processes: Processes) -> None:
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    study(root, {"baseline": {}, "bad": {"fails": True}}, blocks=1)
    assert processes.run(executor=LOCAL)[0] == 1
    assert {r.arm: r.state for r in load_records(root)[0]} == {"baseline": "complete", "bad": "failed"}


@pytest.mark.fault("Slurm: preemption")
def test_a_preempted_slurm_job_goes_on_from_its_checkpoint(
    root: Path, processes: Processes, slurm: Slurm
) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=1)
    first = processes.start(workers=2, executor=SLURM)
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials), seconds=90)
    slurm.ask("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    wait_for(lambda: not processes.trials(), seconds=60)
    (root / "go").touch()
    finish(first)
    assert_survived(root, frozen, repeated=0)
    assert [len(starts(root, t)) for t in frozen.trials] == [2, 2]


@pytest.mark.fault("Slurm: time limit")
def test_a_slurm_job_at_its_time_limit_is_queued_again(
    root: Path, processes: Processes, slurm: Slurm
) -> None:
    frozen = study(root, {"baseline": SLOW}, blocks=1)
    first = processes.start(workers=1, executor={**SLURM, "minutes": 1})
    wait_for(lambda: len(steps(root, "baseline-0")) == 4, seconds=60)
    (number,) = {str(placement(StudyPaths(root).trial("baseline-0"))["job"])}
    wait_for(lambda: not processes.trials(), seconds=80)  # Slurm's warning comes half a minute before
    (root / "go").touch()
    finish(first)
    assert_survived(root, frozen, repeated=0)
    assert len(starts(root, "baseline-0")) == 2
    assert str(placement(StudyPaths(root).trial("baseline-0"))["job"]) == number, "the same job, queued again"


@pytest.mark.fault("SIGKILL of a coordinator of Slurm jobs")
def test_slurm_jobs_outlive_their_coordinator_and_are_adopted(
    root: Path, processes: Processes, slurm: Slurm
) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW, "c": SLOW}, blocks=1)
    first = processes.start(workers=3, executor=SLURM)
    wait_for(lambda: sum(len(steps(root, t)) == 4 for t in frozen.trials) == 2, seconds=90)
    wait_for(lambda: all(placement(StudyPaths(root).trial(t)) for t in frozen.trials))
    processes.kill(first)  # two run, the third waits in Slurm's queue
    second = processes.start(workers=3, executor=SLURM)
    time.sleep(2.0)
    assert len(processes.trials()) == 2
    (root / "go").touch()
    finish(second)
    assert_survived(root, frozen, repeated=0)
    assert [len(starts(root, t)) for t in frozen.trials] == [1, 1, 1], "also the one that only waited"


def test_ctrl_c_stops_slurm_jobs_at_a_checkpoint(root: Path, processes: Processes, slurm: Slurm) -> None:
    import signal

    frozen = study(root, {"baseline": SLOW, "b": SLOW, "c": SLOW}, blocks=1)
    first = processes.start(workers=3, executor=SLURM)
    wait_for(lambda: sum(len(steps(root, t)) == 4 for t in frozen.trials) == 2, seconds=90)
    first.send_signal(signal.SIGTERM)
    finish(first, 130)
    wait_for(lambda: not slurm.ask("squeue", "-h", "-t", "R,PD").strip(), seconds=30)
    (root / "go").touch()
    finish(processes.start(workers=3, executor=SLURM))
    assert_survived(root, frozen, repeated=0)


def test_what_slurm_could_never_start_is_refused(slurm: Slurm) -> None:
    with pytest.raises(RefusedError, match="no partition 'nosuch'; there are high, low"):
        SlurmSpec(partition="nosuch").build(Places(gpus_per_trial=0))
    with pytest.raises(RefusedError, match=r"has no GPUs there and each trial asks for 1"):
        SlurmSpec().build(Places(gpus_per_trial=1))
