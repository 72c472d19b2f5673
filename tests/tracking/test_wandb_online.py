"""The real SDK against stand-in servers, in processes of their own: the SDK reads its settings once."""

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from runfile import contents
from standin import broken, closed_port, half_dead, mute, working

from ablate.tracking.names import run_id

KEY = "0123456789" * 4
TRIAL = """
import json, sys, time
from pathlib import Path
from ablate.tracking import RunInfo, make_tracker

begun = time.monotonic()
folder = Path(sys.argv[1])
run = RunInfo.of_trial(study="s", trial="abc", arm="arm", block=1, directory=folder, config={"model": {"layers": 2}})
tracker = make_tracker({"wandb": {"mode": "online", "project": "cramming"}}, run)
if kill:
    import psutil
    for child in psutil.Process().children(recursive=True):
        child.kill()
for step in range(1, 4):
    tracker.log({"pretrain/loss": 1.0 / step}, step=step)
tracker.summary({"glue/average": 70.0})
tracker.finish()
found = {"warnings": tracker.warnings, "about": tracker.describe().get("wandb"), "seconds": time.monotonic() - begun}
(folder / "found.json").write_text(json.dumps(found))
"""


def trial(url: str, folder: Path, *, kill: bool = False) -> tuple[dict[str, Any], str]:
    """What a trial with tracking found, and what it printed."""
    folder.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment |= {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "HOME": str(folder), "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-c", f"kill = {kill}\n{TRIAL}", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text()), done.stdout + done.stderr


def assert_offline_and_told(found: dict[str, Any], folder: Path) -> None:
    (line,) = found["warnings"]
    assert line.startswith("W&B is offline: ")
    assert f"ablate sync {os.path.relpath(folder.parent.parent)}" in line
    run = contents(folder / found["about"]["directory"])
    assert len(run["history"]) == 3
    assert run["summary"]["glue/average"] == 70.0


def no_file_holds_the_key(folder: Path) -> bool:
    return not any(KEY.encode() in p.read_bytes() for p in folder.rglob("*") if p.is_file())


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(closed_port(), id="nobody-listens"),
        pytest.param(mute(), id="mute"),
        pytest.param(broken(), id="broken"),
        pytest.param(half_dead(401), id="refuses-after-its-greeting"),
        pytest.param(half_dead(None), id="mute-after-its-greeting", marks=SLOW),
    ],
)
def test_a_dead_server_sends_the_run_offline_quickly_and_silently(
    server: AbstractContextManager[str], tmp_path: Path
) -> None:
    with server as url:
        found, printed = trial(url, tmp_path / "trial")
    assert_offline_and_told(found, tmp_path / "trial")
    assert printed == ""
    assert no_file_holds_the_key(tmp_path)
    assert found["seconds"] < 30  # a bound, not a measurement: 3 s for the greeting, 8 s for the start


def test_a_working_server_is_told_names_config_history_and_summary(tmp_path: Path) -> None:
    with working() as (url, requests):
        found, printed = trial(url, tmp_path / "trial")
    assert (found["warnings"], printed) == ([], "")
    assert found["about"]["mode"] == "online"
    first = requests.of("UpsertBucket")[0]
    names = (first["project"], first["groupName"], first["jobType"], first["displayName"], first["name"])
    assert names == ("cramming", "s", "arm", "arm/1", run_id("abc", "s", ""))
    assert json.loads(first["config"])["model"]["value"] == {"layers": 2}
    streamed = [
        part for path, body in requests if path.endswith("/file_stream") for part in [body.get("files", {})]
    ]
    history = [
        json.loads(r) for part in streamed for r in part.get("wandb-history.jsonl", {}).get("content", [])
    ]
    assert [row["pretrain/loss"] for row in history] == [1.0, 0.5, pytest.approx(1 / 3)]
    summaries = [
        json.loads(r) for part in streamed for r in part.get("wandb-summary.json", {}).get("content", [])
    ]
    assert summaries[-1]["glue/average"] == 70.0
    assert no_file_holds_the_key(tmp_path)


def test_a_killed_service_costs_one_line(tmp_path: Path) -> None:
    with working() as (url, _):
        found, _ = trial(url, tmp_path / "trial", kill=True)
    assert found["warnings"]
    assert len(found["warnings"]) <= 2
    assert all("ablate sync" in line for line in found["warnings"])


@SLOW
def test_a_server_that_goes_mute_while_a_trial_runs_is_given_up_at_the_end(tmp_path: Path) -> None:
    with working(mute_after="UpsertBucket") as (url, _):
        found, _ = trial(url, tmp_path / "trial")
    (line,) = found["warnings"]
    assert "ablate sync" in line
    assert len(contents(tmp_path / "trial" / found["about"]["directory"])["history"]) == 3


@SLOW
def test_asking_a_mute_server_what_arrived_holds_a_trial_for_seconds(tmp_path: Path) -> None:
    with working(mute_on="/graphql") as (url, requests):
        found, printed = trial(url, tmp_path / "trial")
    (line,) = found["warnings"]
    assert "ablate sync" in line
    assert printed == ""
    assert len(requests.rows(run_id("abc", "s", ""))) == 3
    assert found["seconds"] < 20  # a bound, not a measurement: 10 s for the answer


def test_the_exit_code_of_a_killed_service_does_not_become_the_process_s_own(tmp_path: Path) -> None:
    """The SDK's own teardown of a service that is dead ends the process with the service's exit code."""
    source = """
import wandb
from ablate.tracking.wandb import end_service, quiet

quiet()
for _ in range(5):  # whether the SDK notices first that the pipe is broken is a race
    wandb.setup().ensure_service()
    end_service()
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, b"")
