"""Runs that come back: resumed online, synced from this disk, or held up by a server. The real SDK throughout."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from standin import broken, closed_port, working
from trials import ablate, attempt, no_file_holds_the_key

from ablate.records import FrozenStudy, StudyPaths, write_json
from ablate.tracking.sync import run_folders

STEPS = [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A study of one trial, `abc`."""
    write_json(StudyPaths(tmp_path / "s").study, FrozenStudy(
        schema=1, name="s", question="Q?", created="2026-01-01T00:00:00Z", family=[], design="one-factor",
        outcome={"metric": "glue/average", "margin": 1.0, "higher_is_better": True}, blocks=[0, 1],
        budget={"unit": "steps", "amount": 8}, track={"wandb": {"project": "cramming"}},
        arms=[{"name": "arm", "recipe": {}, "budget": {"unit": "steps", "amount": 8}}], trials={"abc": ["arm", 1]},
    ))  # fmt: skip
    return tmp_path / "s"


def test_a_trial_resumed_online_goes_on_in_the_same_run(root: Path) -> None:
    """Steps after the last checkpoint are done again; the run holds every step once."""
    folder = StudyPaths(root).trial("abc").root
    with working() as (url, requests):
        attempt(url, folder, 1, 5, "interrupted", mode="online")
        told = attempt(url, folder, 4, 8, mode="online")
    assert told["warnings"] == []
    assert list(requests.store.runs) == ["abc"]
    assert [row["_step"] for row in requests.rows("abc")] == STEPS
    assert requests.summary("abc")["glue/average"] == 70.0
    assert requests.summary("abc")["scores/cola/matthews/0"] == 41.0
    assert requests.summary("abc")["state"] == "complete"


def test_sync_brings_an_interrupted_trial_online_as_one_run_and_only_once(root: Path) -> None:
    paths = StudyPaths(root).trial("abc")
    with working() as (url, requests):
        attempt(url, paths.root, 1, 5, "interrupted")
        attempt(url, paths.root, 4, 8)
        assert requests == []
        assert len(run_folders(paths)) == 2
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (0, "1 runs online now: abc\n"), done.stderr
        run = requests.store.runs["abc"]
        assert (run["group"], run["jobType"], run["displayName"]) == ("s", "arm", "arm/1")
        assert run["tags"] == ["confirm"]
        # W&B's own command numbers the rows of a later folder anew; what the panels draw over is as logged.
        tokens = [row["budget/tokens"] / 128 for row in requests.rows("abc")]
        assert tokens == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8]
        sent = len(requests)
        again = ablate(url, root.parent, "sync", root)
        assert (again.returncode, again.stdout) == (0, "1 runs online already: abc\n")
        assert len(requests) == sent
    assert no_file_holds_the_key(root)


@pytest.mark.parametrize("server", [closed_port, broken], ids=lambda server: server.__name__)
def test_sync_to_a_dead_server_sends_nothing_and_says_why(server: Callable, root: Path) -> None:
    with server() as url:
        attempt(url, StudyPaths(root).trial("abc").root, 1, 2)
        done = ablate(url, root.parent, "sync", root)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: nothing was sent: {url}")
    assert "Traceback" not in done.stderr


def test_sync_of_a_study_without_runs_says_how_to_have_some(root: Path) -> None:
    with closed_port() as url:
        done = ablate(url, root.parent, "sync", root)
    assert done.returncode == 0
    assert "track:" in done.stdout


def test_a_slow_server_delays_nothing_that_training_waits_for(root: Path) -> None:
    with working(delay=0.4) as (url, requests):
        told = attempt(url, StudyPaths(root).trial("abc").root, 1, 8, mode="online")
    assert told["warnings"] == []
    assert [row["_step"] for row in requests.rows("abc")] == STEPS


def test_predictions_checkpoint_and_manifest_go_up_only_where_the_study_asks(root: Path) -> None:
    folder = StudyPaths(root).trial("abc").root
    for step in ("step-000000004", "step-000000008-finished"):
        (folder / "checkpoint" / step).mkdir(parents=True)
        (folder / "checkpoint" / step / "model.safetensors").write_bytes(step.encode())
    (folder / "predictions").mkdir()
    pd.DataFrame({"seed": [0, 0], "index": [0, 1], "prediction": [1, 0]}).to_parquet(
        folder / "predictions" / "cola.parquet"
    )
    with working() as (url, requests):
        attempt(url, folder, 1, 2, mode="online")
        assert requests.of("CreateArtifact") == []
        attempt(url, folder, 1, 2, mode="online", keep=["predictions", "checkpoint", "data"])
    made = {a["input"]["artifactTypeName"]: a["input"] for a in requests.of("CreateArtifact")}
    assert set(made) == {"model", "dataset-manifest", "run_table"}
    assert made["model"]["artifactCollectionName"] == "checkpoint-abc"
    assert any("predictions/cola" in str(row) for row in [requests.summary("abc")])
