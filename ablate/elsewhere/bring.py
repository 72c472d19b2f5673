"""`ablate import`: a table or a W&B project in, a study directory out."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ablate.elsewhere.study import Declared, RunsError, write_study
from ablate.elsewhere.table import read_csv


def bring(
    source: str, folder: Path, *, baseline: str, outcome: str, margin: float,
    direction: str | None = None, name: str | None = None, question: str = "",
    alpha: float = 0.05, arm: str | None = None, block: str | None = None, group: str | None = None,
    encoding: str | None = None,
) -> Path:  # fmt: skip
    """Read runs and write them as a study below `folder`; its path. Raises RunsError."""
    from ablate.scheduling.attempts import now

    sha256 = remark = ""
    if source.startswith("wandb:"):
        from ablate.elsewhere.wandb import read_project

        path = source.removeprefix("wandb:")
        if not re.fullmatch(r"[^/\s]+/[^/\s]+", path):
            raise RunsError(f"a W&B project is wandb:ENTITY/PROJECT; got '{source}'")
        runs, own = read_project(path, arm=arm, block=block, group=group), path.split("/")[1]
    else:
        runs, own = read_csv(Path(source), encoding), Path(source).stem
        sha256 = hashlib.sha256(Path(source).read_bytes()).hexdigest()
        remark = f"the table was read as {encoding}" if encoding else ""
    declared = Declared(_name(name or own), baseline, outcome, margin, direction, question, alpha)
    return write_study(runs, declared, folder, source=source, created=now(), sha256=sha256, remark=remark)


def _name(given: str) -> str:
    """A name that a folder may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", given).strip("-.") or "imported"
