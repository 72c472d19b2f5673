"""What a study asks of storage and machines and does not get: one line, exit code 2, nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands import ablate
from tests.scheduling.clusters import PASSWORD, Postgres, free_port, postgres  # noqa: F401  fixture

ROOT = Path(__file__).parent.parent.parent
STUDY = """
name: bad
question: Is it refused?
baseline: crammed-small
budget: 20 steps
design: {kind: one-factor, factors: {model.position: [none]}, blocks: 2}
outcome: {metric: eval/mlm_loss, margin: 0.1}
"""


def started(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    known = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-m", "ablate", *arguments],
        capture_output=True, text=True, timeout=200, cwd=cwd,
        env={**known, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def refusal(folder: Path, run: str, *arguments: str, process: bool = False, **environment: str) -> str:
    """The one line that `ablate run` says of a study with this `run:`.

    As a process where libraries of its own say something too, or read the environment when they are imported.
    """
    study = folder / "bad.yaml"
    study.write_text(f"{STUDY}run: {run}\n")
    command = ["run", str(study), "--runs", str(folder / "runs"), *arguments]
    environment = {"CUDA_VISIBLE_DEVICES": "", **environment}
    done = (started if process else ablate)(*command, cwd=folder, environment=environment)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["bad.yaml"], "nothing is written"
    return done.stderr.strip()


def test_an_unreachable_database_is_refused_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://someone:{PASSWORD}@127.0.0.1:{free_port()}/studies"
    said = refusal(tmp_path, f"{{storage: '{url}'}}")
    assert "someone:***@127.0.0.1" in said
    assert "Connection refused" in said or "connection failed" in said
    assert PASSWORD not in said


@pytest.mark.slow
@pytest.mark.representative
def test_a_wrong_password_or_name_is_refused_without_the_password(tmp_path: Path, postgres: Postgres) -> None:  # noqa: F811
    wrong = "open-sesame-0815"
    said = refusal(tmp_path, f"{{storage: '{postgres.url.replace(PASSWORD, wrong)}'}}")
    assert 'password authentication failed for user "tester"' in said
    assert wrong not in said
    said = refusal(tmp_path, f"{{storage: '{postgres.url}-nowhere'}}")
    assert 'database "postgres-nowhere" does not exist' in said
    assert PASSWORD not in said


def test_a_study_that_insists_on_gpus_is_refused_where_there_are_none(tmp_path: Path) -> None:
    said = refusal(tmp_path, "{gpus_per_trial: 1}", process=True)
    assert said.startswith("error: each trial asks for a GPU (run.gpus_per_trial: 1) and none is visible")
    assert "0 to train on CPUs" in said


def test_more_workers_than_gpus_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "{workers: 2}", "--workers", "3", CUDA_VISIBLE_DEVICES="0,1")
    assert said.endswith("3 workers were asked for and 2 GPUs are visible; use --workers 2")


@pytest.mark.slow
@pytest.mark.representative
def test_a_ray_study_without_a_cluster_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    said = refusal(tmp_path, f"{{executor: {{kind: ray, address: '127.0.0.1:{free_port()}'}}}}", process=True)
    assert said.startswith("error: run.executor: no Ray cluster at 127.0.0.1:")
    assert "ray start --head" in said


@pytest.mark.slow
def test_a_gpu_study_is_refused_by_a_ray_cluster_of_cpus(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    said = refusal(tmp_path, "{executor: ray, gpus_per_trial: 1}", process=True)
    assert "the Ray cluster has 0 GPUs and each trial asks for 1" in said


def test_a_slurm_study_without_slurm_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not Path(p, "sbatch").exists())
    said = refusal(tmp_path, "{executor: slurm}", PATH=path)
    assert "there is no sbatch on this machine" in said


def test_tasks_that_cannot_be_had_are_told_before_anything_trains(tmp_path: Path) -> None:
    evaluate = "{executor: local}\nevaluate: {glue: {tasks: [cola]}}"
    said = refusal(
        tmp_path, evaluate, process=True,
        ABLATE_DATA="", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path.parent / "hub"),
    )  # fmt: skip
    assert "task 'cola' could not be loaded from the hub (nyu-mll/glue)" in said
    assert "Set ABLATE_DATA to a folder that holds glue/cola/train.parquet" in said
