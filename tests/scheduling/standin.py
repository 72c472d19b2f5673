"""A trial process with a fast stand-in for training: real process, lock, signals, heartbeat, checkpoint, record.

The recipe says how it behaves: `steps` of `seconds` each, at which step it waits for the file `go` in the run
folder (`waits_at`), and what goes wrong (`fails`, `hangs`, `dies`, `diverges`, `overspends`).
Every start and every step is appended to a file, so that tests can count them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from ablate.budget import Spent
from ablate.records import TrialPaths, read_json, write_json
from ablate.scheduling.trial import InterruptedTrial, Live, Outcome, main
from ablate.training.progress import Progress


def note(paths: TrialPaths, name: str, text: object) -> None:
    with open(paths.root / name, "a") as file:
        file.write(f"{text}\n")


def work(task: Mapping[str, Any], paths: TrialPaths, live: Live, outcome: Outcome) -> None:
    recipe = task["recipe"]
    note(paths, "starts.txt", os.getpid())
    kept = paths.checkpoint / "state.json"
    done = read_json(kept)["step"] if kept.exists() else 0
    live.heart.state["phase"] = "evaluate"  # where a request to stop raises in the trial itself
    if recipe.get("fails"):
        raise RuntimeError("the stand-in fails as it was told to")
    if recipe.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    for step in range(done, recipe["steps"]):
        while step == recipe.get("waits_at") and not (paths.root.parent.parent / "go").exists():
            time.sleep(0.05)
            if live.asked:
                raise InterruptedTrial
        time.sleep(recipe["seconds"])
        note(paths, "steps.txt", step)
        write_json(kept, {"step": step + 1})
        spent = Spent(seconds=(step + 1) * recipe["seconds"], steps=step + 1)
        phase = "pretrain" if recipe.get("overspends") else "evaluate"
        live(Progress(phase, (step + 1) / recipe["steps"], loss=1.0, tokens_per_second=10.0, spent=spent))
        while recipe.get("hangs"):
            time.sleep(1)
    outcome.state = "diverged" if recipe.get("diverges") else "complete"
    outcome.metrics["test/score"] = task["seed"] + recipe.get("score", 0.0)
    outcome.spent = {"seconds": recipe["steps"] * recipe["seconds"], "occupied": 1.0}


if __name__ == "__main__":
    sys.exit(main(work=work))
