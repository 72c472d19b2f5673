"""A trial's tracking in a process of its own, because the SDK reads its settings once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ablate.records import Record, write_json
from ablate.tracking.names import run_id

KEY = "0123456789" * 4
CREATED = "2026-01-01T00:00:00Z"
RUN = run_id("abc", "s", CREATED)  # the run of the trial `abc` of the study `s`
_TRIAL = """
import json, sys, time
from pathlib import Path
from ablate.tracking import Composite, Kept, LiveFile, RunInfo, make_tracker

folder, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
run = RunInfo.of_trial(
    study=asked["study"], created="2026-01-01T00:00:00Z", trial="abc", arm="arm", block=1, directory=folder,
    config={"model": {"layers": 2}}, tags=("confirm",),
)
tracker = make_tracker({"wandb": {"project": "cramming", **asked["wandb"]}}, run)
tracker = Composite(LiveFile(folder / "live.jsonl"), tracker)
for step in range(asked["first"], asked["last"] + 1):
    tracker.log({"pretrain/loss": 1.0 / step, "budget/tokens": 128.0 * step}, step=step)
if asked["state"] == "killed":
    print("logged", flush=True)
    time.sleep(100)
if asked["state"] == "complete":
    tracker.summary({"glue/average": 70.0, "pretrain/loss": 0.25, "scores/cola/matthews/0": 41.0})
    tracker.keep(Kept(folder / "predictions", folder / "checkpoint", {"fingerprint": "f00"}))
tracker.finish(asked["state"])
(folder / "found.json").write_text(json.dumps({"warnings": tracker.warnings, "about": tracker.describe()}))
"""


def environment(url: str, home: Path) -> dict[str, str]:
    """A login to the server at `url`, and no other setting of the SDK."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    return kept | {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "HOME": str(home), "no_proxy": "127.0.0.1"}


def attempt(
    url: str, folder: Path, first: int, last: int, state: str = "complete", *, study: str = "s", **wandb: Any
) -> dict[str, Any]:
    """One attempt of the trial `abc`, logging steps first … last; what its tracker told.

    An attempt that ends `complete` leaves the trial's record.
    """
    done = subprocess.run(
        _command(folder, first, last, state, study, wandb), env=environment(url, folder.parent),
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    told = dict(json.loads((folder / "found.json").read_text()))
    if state == "complete":
        write_json(folder / "record.json", Record(
            schema=1, study=study, trial="abc", arm="arm", block=1, seed=1, state="complete", recipe={},
            budget={"unit": "steps", "amount": 8}, metrics={"glue/average": 70.0, "pretrain/loss": 0.25}, tracking=told["about"],
            scores={"cola": {"matthews": [41.0]}}, spent={"seconds": 8.0, "occupied": 9.5},
        ))  # fmt: skip
    return told


def kill_attempt(url: str, folder: Path, first: int, last: int, *, study: str = "s", **wandb: Any) -> None:
    """An attempt that is killed once it has logged steps first … last."""
    command = _command(folder, first, last, "killed", study, wandb)
    with subprocess.Popen(command, env=environment(url, folder.parent), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"logged\n"
        process.kill()


def _command(folder: Path, first: int, last: int, state: str, study: str, wandb: dict[str, Any]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"wandb": {"mode": "offline", **wandb}, "first": first, "last": last, "state": state}
    return [sys.executable, "-c", _TRIAL, str(folder), json.dumps({**asked, "study": study})]


def ablate(url: str, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The `ablate` command with a login to the server at `url`."""
    command = [sys.executable, "-m", "ablate", *map(str, arguments)]
    return subprocess.run(command, env=environment(url, home), capture_output=True, text=True, timeout=200)


def no_file_holds_the_key(folder: Path) -> bool:
    return not any(KEY.encode() in p.read_bytes() for p in folder.rglob("*") if p.is_file())
