"""A trial's tracking in a process of its own, because the SDK reads its settings once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

KEY = "0123456789" * 4
_TRIAL = """
import json, sys
from pathlib import Path
from ablate.tracking import Kept, RunInfo, make_tracker

folder, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
run = RunInfo.of_trial(study="s", trial="abc", arm="arm", block=1, directory=folder, config={"model": {"layers": 2}}, tags=("confirm",))
tracker = make_tracker({"wandb": {"project": "cramming", **asked["wandb"]}}, run)
for step in range(asked["first"], asked["last"] + 1):
    tracker.log({"pretrain/loss": 1.0 / step, "budget/tokens": 128.0 * step}, step=step)
if asked["state"] == "complete":
    tracker.summary({"glue/average": 70.0, "scores/cola/matthews/0": 41.0})
    tracker.keep(Kept(folder / "predictions", folder / "checkpoint", {"fingerprint": "f00"}))
tracker.finish(asked["state"])
(folder / "found.json").write_text(json.dumps({"warnings": tracker.warnings, "about": tracker.describe()}))
"""


def environment(url: str, home: Path) -> dict[str, str]:
    """A login to the server at `url`, and no other setting of the SDK."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    return kept | {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "HOME": str(home), "no_proxy": "127.0.0.1"}


def attempt(
    url: str, folder: Path, first: int, last: int, state: str = "complete", **wandb: Any
) -> dict[str, Any]:
    """One attempt of the trial `abc`, logging steps first … last; what its tracker told."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = json.dumps({"wandb": {"mode": "offline", **wandb}, "first": first, "last": last, "state": state})
    done = subprocess.run(
        [sys.executable, "-c", _TRIAL, str(folder), asked], env=environment(url, folder.parent),
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    return dict(json.loads((folder / "found.json").read_text()))


def ablate(url: str, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The `ablate` command with a login to the server at `url`."""
    command = [sys.executable, "-m", "ablate", *map(str, arguments)]
    return subprocess.run(command, env=environment(url, home), capture_output=True, text=True, timeout=200)


def no_file_holds_the_key(folder: Path) -> bool:
    return not any(KEY.encode() in p.read_bytes() for p in folder.rglob("*") if p.is_file())
