"""Run folders as a study leaves them: two arms on two blocks, as many trials done as a test wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.records import FrozenStudy, Record, StudyPaths, write_json
from ablate.tracking.names import CURVE

BUDGET = {"unit": "seconds", "amount": 60.0}
ARMS = ("baseline", "<b>rope")
TRIALS = {f"t{i}": [arm, block] for i, (arm, block) in enumerate((a, b) for b in (0, 1) for a in ARMS)}


def make_study(root: Path, *, finished: int = 4, **more: Any) -> Path:
    """A study of two arms and two blocks, of which the first `finished` trials are done; t3 diverges."""
    write_json(StudyPaths(root).study, FrozenStudy(
        schema=1, name="positions", question="Do positions <matter>?", created="2026-01-01T00:00:00Z",
        outcome={"metric": "glue/average", "margin": 0.5, "higher_is_better": True}, family=["<b>rope"],
        design="one-factor", budget=BUDGET, blocks=[1, 2], trials=TRIALS,
        arms=[{"name": a, "recipe": {}, "budget": BUDGET, "reference": None if a == "baseline" else "baseline",
               "changes": {} if a == "baseline" else {"model.position": ["none", "rope"]}} for a in ARMS],
    ).model_copy(update=more))  # fmt: skip
    for trial in list(TRIALS)[:finished]:
        finish(root, trial)
    return root


def finish(root: Path, trial: str) -> None:
    """Leave the record and the curve of a trial."""
    arm, block = TRIALS[trial]
    paths = StudyPaths(root).trial(trial)
    diverged = trial == "t3"
    metrics = {} if diverged else {"glue/average": 70.0 + block + 2 * (arm != "baseline"), "glue/cola": 40.0}
    write_json(paths.record, Record(
        schema=1, study="positions", trial=trial, arm=arm, block=block, seed=block + 1,
        state="diverged" if diverged else "complete", reason="the loss is nan at step 7" if diverged else "",
        recipe={}, budget=BUDGET, metrics=metrics, spent={"seconds": 60.0, "occupied": 70.0, "tokens": 256},
    ))  # fmt: skip
    columns = {"step": [1, 2], "tokens": [128, 256], "seconds": [1.0, 2.0], "loss": [9.0, 8.0 - block]}
    pd.DataFrame(columns).to_parquet(paths.curve)


def log_live(root: Path, trial: str, steps: list[int], *, torn: str = "") -> None:
    """Append rows to a trial's live curve, as its tracker does."""
    path = StudyPaths(root).trial(trial).live
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for step in steps:
            row = {name: float(step) for name in CURVE.values()}
            file.write(json.dumps({"step": step, **row, "pretrain/loss": 10 / step}) + "\n")
        file.write(torn)
