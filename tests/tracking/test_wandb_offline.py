from pathlib import Path
from typing import Any

import pytest
from runfile import contents

from ablate.tracking import RunInfo, Tracker, make_tracker

CONFIG = {"model": {"layers": 2, "position": {"kind": "rope", "theta": 1e4}}, "train": {"lr": 1e-3}}


def run_of(folder: Path, **changes: Any) -> RunInfo:
    names: dict[str, Any] = dict(
        study="positions", trial="0a1b2c", arm="model.position=rope", block=1, directory=folder, config=CONFIG
    )
    return RunInfo.of_trial(**(names | changes))


def finished(folder: Path, spec: dict[str, Any], *, state: str = "complete") -> Tracker:
    tracker = make_tracker({"wandb": spec}, run_of(folder, tags=("confirm",)))
    for step in (10, 20, 30):
        tracker.log({"pretrain/loss": 30 / step, "budget/tokens": float(step * 128)}, step=step)
    tracker.summary({"glue/average": 71.5, "glue/cola": 40.0})
    tracker.finish(state)
    return tracker


def run_folder(folder: Path) -> Path:
    (found,) = (folder / "wandb").glob("offline-run-*")
    return found


def test_an_offline_run_can_be_synced_under_the_names_of_the_design(tmp_path: Path) -> None:
    tracker = finished(tmp_path, {"tags": ["mine"], "entity": "team"})
    run = contents(run_folder(tmp_path))
    assert tracker.warnings == []
    assert (run["project"], run["group"], run["job_type"]) == (
        "positions",
        "positions",
        "model.position=rope",
    )
    assert (run["name"], run["id"], run["entity"]) == ("model.position=rope/1", run_of(tmp_path).id, "team")
    assert run["tags"] == ["confirm", "mine"]
    assert {key: run["config"][key] for key in CONFIG} == CONFIG
    assert [(row["_step"], row["pretrain/loss"]) for row in run["history"]] == [
        (10, 3.0),
        (20, 1.5),
        (30, 1.0),
    ]
    assert run["summary"]["glue/average"] == 71.5
    assert run["summary"]["state"] == "complete"
    assert run["exit"] == 0


def test_the_spec_names_the_project(tmp_path: Path) -> None:
    finished(tmp_path, {"project": "cramming"})
    assert contents(run_folder(tmp_path))["project"] == "cramming"


def test_a_diverged_trial_shows_as_failed(tmp_path: Path) -> None:
    finished(tmp_path, {}, state="diverged")
    run = contents(run_folder(tmp_path))
    assert (run["exit"], run["summary"]["state"]) == (1, "diverged")


def test_the_record_learns_how_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = finished(tmp_path / "s" / "trials" / "0a1b2c", {}).describe()
    assert found["wandb"]["mode"] == "offline"
    assert (tmp_path / "s" / "trials" / "0a1b2c" / found["wandb"]["directory"]).is_dir()
    assert found["sync"] == "ablate sync s"


def test_a_resumed_trial_continues_the_same_run(tmp_path: Path) -> None:
    for _ in range(2):
        finished(tmp_path, {})
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert [contents(folder)["id"] for folder in folders] == [run_of(tmp_path).id] * 2


def test_files_hold_neither_code_nor_git_patch_nor_packages(tmp_path: Path) -> None:
    finished(tmp_path, {})
    names = {path.name for path in (tmp_path / "wandb").rglob("*") if path.is_file()}
    assert not names & {"requirements.txt", "diff.patch", "wandb-metadata.json", "output.log"}
    assert not [name for name in names if name.endswith(".py")]
    assert contents(run_folder(tmp_path))["git"] == ""


def test_without_a_project_online_becomes_offline_and_says_so(tmp_path: Path) -> None:
    tracker = finished(tmp_path, {"mode": "online"})
    (line,) = tracker.warnings
    assert "track.wandb.project" in line
    assert "ablate sync" in line
    assert contents(run_folder(tmp_path))["summary"]["glue/average"] == 71.5


def test_without_a_login_online_becomes_offline_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC", "WANDB_CONFIG_DIR", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    tracker = finished(tmp_path / "trial", {"mode": "online", "project": "cramming"})
    (line,) = tracker.warnings
    assert "wandb login" in line
    assert (tmp_path / "trial" / tracker.describe()["wandb"]["directory"]).is_dir()


def test_a_folder_that_cannot_be_made_turns_tracking_off_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    tracker = make_tracker({"wandb": {}}, run_of(tmp_path / "file" / "trial"))
    tracker.log({"pretrain/loss": 1.0}, step=1)
    tracker.finish()
    (line,) = tracker.warnings
    assert line.startswith("W&B is off")
    assert tracker.describe() == {}
