"""A trial process with a fast stand-in for training: real process, lock, signals, heartbeat, checkpoint, record.

The recipe says how it behaves: `steps` of `seconds` each, a checkpoint after every `every` of them, at which step
it waits for the file `go` in the run folder (`waits_at`), and what goes wrong (`fails`, `hangs`, `dies`,
`diverges`, `overspends`, `leaks`, `fathers`, `jumps`, `too_large`, `fills`).
Every start and every step is appended to a file, so that tests can count them. What it computes depends on every
step before, so two runs end alike only if the interrupted one lost and repeated nothing.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from ablate.budget import Spent
from ablate.records import TrialPaths, read_json, write_json
from ablate.records.store import RecordError
from ablate.scheduling.trial import InterruptedTrial, Live, Outcome, main
from ablate.training.progress import Progress

MIB = 2**20


def note(paths: TrialPaths, name: str, text: object) -> None:
    with open(paths.root / name, "a") as file:
        file.write(f"{text}\n")


def digest(steps: int) -> str:
    """What a run of so many steps ends with."""
    value = ""
    for step in range(steps):
        value = following(value, step)
    return value


def following(value: str, step: int) -> str:
    return hashlib.sha256(f"{value}{step}".encode()).hexdigest()


class GpuMemoryError(RuntimeError):
    """As pretraining raises it, without torch."""

    def __init__(self, micro_batch: int) -> None:
        super().__init__(f"with micro-batches of {micro_batch}: CUDA out of memory")
        self.micro_batch = micro_batch


def saved(paths: TrialPaths) -> dict[str, Any]:
    """The newest whole checkpoint: a torn one is passed over, as pretraining does."""
    for name in ("state.json", "before.json"):
        try:
            return read_json(paths.checkpoint / name)
        except RecordError:
            continue
    return {"step": 0, "value": ""}


def save(paths: TrialPaths, step: int, value: str) -> None:
    kept = paths.checkpoint / "state.json"
    if kept.exists():
        os.replace(kept, paths.checkpoint / "before.json")
    write_json(kept, {"step": step, "value": value})


def jump(by: float) -> None:
    """Set this process's wall clock."""
    before = time.time
    time.time = lambda: before() + by


def work(task: Mapping[str, Any], paths: TrialPaths, live: Live, outcome: Outcome) -> None:
    recipe = task["recipe"]
    note(paths, "starts.txt", os.getpid())
    held = []
    state = saved(paths)
    done, value = state["step"], state["value"]
    live.heart.state["phase"] = "evaluate"  # where a request to stop raises in the trial itself
    if recipe.get("fails"):
        raise RuntimeError("the stand-in fails as it was told to")
    if recipe.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if recipe.get("fathers"):  # a child in a session of its own, as some libraries have
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        note(paths, "children.txt", child.pid)
    used = task.get("micro_batch", recipe.get("micro_batch", 0))
    if used > recipe.get("too_large", used):
        raise GpuMemoryError(used)
    for step in range(done, recipe["steps"]):
        while step == recipe.get("waits_at") and not (paths.root.parent.parent / "go").exists():
            time.sleep(0.05)
            if live.asked:
                save(paths, step, value)
                raise InterruptedTrial
        time.sleep(recipe["seconds"])
        note(paths, "steps.txt", step)
        value = following(value, step)
        if recipe.get("fills"):
            (paths.root / f"filler-{step}").write_bytes(bytes(int(recipe["fills"] * MIB)))
        if (step + 1) % recipe.get("every", 1) == 0 or live.asked:
            save(paths, step + 1, value)
        if step == recipe.get("jumps_at"):
            jump(recipe["jumps"])
        if recipe.get("leaks"):
            held.append(bytearray(os.urandom(1)) * int(recipe["leaks"] * MIB))
        spent = Spent(seconds=(step + 1) * recipe["seconds"], steps=step + 1)
        phase = "pretrain" if recipe.get("overspends") else "evaluate"
        live(Progress(phase, (step + 1) / recipe["steps"], loss=1.0, tokens_per_second=10.0, spent=spent))
        while recipe.get("hangs"):
            time.sleep(1)
    outcome.state = "diverged" if recipe.get("diverges") else "complete"
    outcome.metrics["test/score"] = task["seed"] + recipe.get("score", 0.0)
    outcome.spent = {
        "seconds": recipe["steps"] * recipe["seconds"],
        "steps": recipe["steps"],
        "occupied": 1.0,
    }
    outcome.data["digest"] = value
    if "micro_batch" in task:
        outcome.chosen["train.micro_batch"] = used
        outcome.warnings.append(f"the GPU ran out of memory: trains in micro-batches of {used}")


if __name__ == "__main__":
    sys.exit(main(work=work))
