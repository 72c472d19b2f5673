import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ablate.tracking import Composite, LiveFile, Null, RunInfo, TrackSpec, WandbSpec, make_tracker
from ablate.tracking.live import read
from ablate.tracking.login import CLOUD, find_login
from ablate.tracking.names import CURVE, run_id, study_id


class Listed:
    """A tracker that keeps what it is told."""

    def __init__(self, name: str) -> None:
        self.name, self.calls, self.warnings = name, [], [f"{name} warns"]  # type: tuple[str, list[Any], list[str]]

    def start(self, run: RunInfo) -> None:
        self.calls.append(("start", run.name))

    def log(self, metrics: Any, *, step: int) -> None:
        self.calls.append(("log", dict(metrics), step))

    def summary(self, metrics: Any) -> None:
        self.calls.append(("summary", dict(metrics)))

    def finish(self, state: str = "complete") -> None:
        self.calls.append(("finish", state))

    def describe(self) -> dict[str, Any]:
        return {self.name: "here"}


def run_of(folder: Path) -> RunInfo:
    return RunInfo.of_trial(study="s", trial="t", arm="arm", block=2, directory=folder, config={})


def test_a_run_is_named_arm_and_block_in_the_group_of_its_study(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert (run.id, run.project, run.group, run.job_type, run.name) == (
        run_id("t", "s", ""),
        "s",
        "s",
        "arm",
        "arm/2",
    )


def test_a_run_id_tells_studies_apart_and_stays_with_its_study() -> None:
    ids = {run_id("t", study, created) for study in ("a", "b") for created in ("2026-01-01", "2026-01-02")}
    assert len(ids) == 4
    assert all(each.startswith("t-") for each in ids)
    assert run_id("t", "a", "2026-01-01") == "t-cfe5bf03"
    assert study_id("a", "2026-01-01") == "a-cfe5bf03"


def test_the_config_of_a_run_tells_studies_of_one_name_apart(tmp_path: Path) -> None:
    about = dict(study="s", trial="t", arm="arm", block=2, directory=tmp_path, config={"model": {}})
    told = {RunInfo.of_trial(**about, created=day).config["study_id"] for day in ("2026-01-01", "2026-01-02")}
    assert told == {study_id("s", "2026-01-01"), study_id("s", "2026-01-02")}


def test_a_line_torn_by_a_kill_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    for step in (1, 2):
        attempt = LiveFile(path)
        attempt.log({"pretrain/loss": 1.0 / step}, step=step)
        attempt.finish()
        with path.open("a") as file:
            file.write('{"step": 9, "pretr')
    assert read(path) == {"step": [1, 2], "pretrain/loss": [1.0, 0.5]}


def test_a_composite_tells_every_tracker_everything_in_order(tmp_path: Path) -> None:
    left, right = Listed("left"), Listed("right")
    both = Composite(left, right)
    both.start(run_of(tmp_path))
    both.log({"pretrain/loss": 2.0}, step=3)
    both.summary({"glue/average": 70.0})
    both.finish("lost")
    expected = [
        ("start", "arm/2"), ("log", {"pretrain/loss": 2.0}, 3), ("summary", {"glue/average": 70.0}), ("finish", "lost"),
    ]  # fmt: skip
    assert left.calls == right.calls == expected
    assert both.warnings == ["left warns", "right warns"]
    assert both.describe() == {"left": "here", "right": "here"}


@pytest.mark.parametrize(
    "spec", [None, {}, {"wandb": None}, {"wandb": {"mode": "disabled"}}, TrackSpec()], ids=str
)
def test_nothing_is_tracked_unless_asked_for(spec: Any, tmp_path: Path) -> None:
    tracker = make_tracker(spec, run_of(tmp_path / "trial"))
    tracker.log({"pretrain/loss": 1.0}, step=1)
    tracker.finish()
    assert isinstance(tracker, Null)
    assert not (tmp_path / "trial").exists()


def test_runs_stay_on_this_disk_by_default() -> None:
    assert WandbSpec().mode == "offline"


@pytest.mark.parametrize(
    ("section", "told"),
    [({"wandb": {"mode": "on"}}, "'online', 'offline' or 'disabled'"), ({"wandb": {"projekt": "x"}}, "projekt"),
     ({"wandb": {"project": "a/b"}}, "a/b"), ({"tensorboard": {}}, "tensorboard")],
)  # fmt: skip
def test_a_wrong_section_is_refused_by_name(section: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TrackSpec.model_validate(section)


def test_the_interface_imports_neither_torch_nor_the_sdk() -> None:
    code = (
        "import sys, ablate.tracking, ablate.tracking.login, ablate.tracking.names;"
        "print([m for m in ('torch', 'lightning', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_names_that_dashboards_draw_are_those_that_training_logs() -> None:
    from ablate.training.pretraining import tracked

    row = {column: 1.0 for column in (*CURVE, "step", "flops")}
    assert set(CURVE.values()) <= set(tracked(row, progress=0.5))


# --- login -------------------------------------------------------------------------------------------

KEY = "0123456789abcdef" * 3


def test_a_key_in_the_environment_is_a_login_and_is_not_kept(tmp_path: Path) -> None:
    found = find_login({"WANDB_API_KEY": KEY}, tmp_path)
    assert (found.server, found.source) == (CLOUD, "WANDB_API_KEY")
    assert KEY not in repr(found)


def test_a_netrc_entry_counts_for_its_own_server_only(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert find_login({}, tmp_path).source == str(tmp_path / ".netrc")
    assert find_login({"WANDB_BASE_URL": "https://wandb.example.org"}, tmp_path).source is None


def test_the_server_comes_from_the_settings_file_when_the_environment_is_silent(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "wandb"
    folder.mkdir(parents=True)
    (folder / "settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    assert find_login({}, tmp_path).server == "https://wandb.example.org"


@pytest.mark.parametrize("content", ["machine", "\x00\xff", "machine api.wandb.ai\n"])
def test_a_broken_netrc_is_no_login_and_no_error(content: str, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(content, encoding="latin-1")
    assert find_login({}, tmp_path).source is None
