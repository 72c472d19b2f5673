"""`ablate import`: a table or a W&B project in, a study directory out."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

from ablate.analysis import metrics as names
from ablate.elsewhere.study import Declared, RunsError, by_value, level_name, metric_name, write_study
from ablate.elsewhere.table import read_csv
from ablate.records.paths import told_path


def bring(
    source: str, folder: Path, *, baseline: str, outcome: str, margin: float,
    direction: str | None = None, name: str | None = None, question: str = "",
    alpha: float = 0.05, arm: str | None = None, block: str | None = None, group: str | None = None,
    encoding: str | None = None,
) -> Path:  # fmt: skip
    """Read runs and write them as a study below `folder`; its path. Raises RunsError."""
    from ablate.scheduling.attempts import now

    sha256 = ""
    if source.startswith("wandb:"):
        from ablate.elsewhere.wandb import read_project

        path = source.removeprefix("wandb:")
        if not re.fullmatch(r"[^/\s]+/[^/\s]+", path):
            raise RunsError(f"a W&B project is wandb:ENTITY/PROJECT; got '{source}'")
        if encoding:
            raise RunsError("--encoding is of a table's file, a W&B project has none")
        runs, remarks = read_project(path, arm=arm, block=block, group=group)
        own, shown = path.split("/")[1], source
    else:
        if group:
            raise RunsError("--group chooses runs of a W&B project; leave other rows out of the table")
        runs, remarks = read_csv(Path(source), encoding, arm=arm, block=block)
        own, shown = Path(source).stem, told_path(Path(source))
        sha256 = hashlib.sha256(Path(source).read_bytes()).hexdigest()
        remarks += [f"the table was read as {encoding}"] if encoding else []
    if arm and arm.lower() != "arm":
        runs = [run.of_knob(arm) for run in runs]
        baseline = level_name(arm, baseline)
        baseline = next((run.arm for run in runs if by_value(run.arm) == by_value(baseline)), baseline)
    higher = direction == "maximize" if direction else names.direction(metric_name(outcome))
    options = {
        "baseline": baseline, "outcome": outcome, "margin": repr(margin).removesuffix(".0"),
        "direction": "maximize" if higher else "minimize", "name": name, "question": question,
        "alpha": "" if alpha == 0.05 else f"{alpha!r}", "arm": arm, "block": block, "group": group,
        "encoding": encoding,
    }  # fmt: skip
    terms = " ".join(f"--{option} {shlex.quote(value)}" for option, value in options.items() if value)
    declared = Declared(_name(name or own), baseline, outcome, margin, direction, question, alpha)
    return write_study(
        runs, declared, folder, source=source, created=now(), sha256=sha256, remarks=remarks,
        command=f"ablate import {shlex.quote(shown)} {terms}",
    )  # fmt: skip


def _name(given: str) -> str:
    """A name that a folder may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", given).strip("-.") or "imported"
