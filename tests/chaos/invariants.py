"""What must hold after every fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import optuna
import psutil

from ablate.records import FrozenStudy, StudyPaths, load_records
from ablate.scheduling.lock import held
from ablate.scheduling.status import status
from ablate.scheduling.storage import open_storage, sqlite
from tests.scheduling.conftest import gone, lines
from tests.scheduling.standin import digest


def assert_survived(
    root: Path, frozen: FrozenStudy, *, storage: str | None = None, repeated: int | None = None
) -> None:
    """One COMPLETE per arm and block, bit-equal results, no budget exceeded, no record lost, no orphan.

    `repeated`: the most steps that one trial may have done more than once (its kills, each a checkpoint's worth).
    """
    records, damage = load_records(root)
    assert damage == []
    assert sorted(r.trial for r in records) == sorted(frozen.trials), "a record for each, no other"
    assert {r.state for r in records} == {"complete"}
    told: dict[str, Counter[str]] = {}
    study = optuna.load_study(
        study_name=frozen.name, storage=open_storage(storage or sqlite(StudyPaths(root).storage))
    )
    for entry in study.trials:
        told.setdefault(entry.user_attrs["trial"], Counter())[entry.state.name] += 1
    recipes = {arm.name: arm.recipe for arm in frozen.arms}
    for record in records:
        paths, steps = StudyPaths(root).trial(record.trial), recipes[record.arm]["steps"]
        assert told[record.trial]["COMPLETE"] == 1, record.trial
        assert told[record.trial]["RUNNING"] == told[record.trial]["WAITING"] == 0, record.trial
        assert record.data["digest"] == digest(steps), "bit-equal to a run that nothing happened to"
        assert record.spent["steps"] == steps, "its budget, and not a step more"
        assert not held(paths.lock)
        done = lines(paths.root / "steps.txt")
        assert set(done) == {str(s) for s in range(steps)}
        if repeated is not None:
            assert len(done) <= steps + repeated, record.trial
    assert orphans(root) == []
    seen = status(root)
    assert seen.counts == {"complete": len(frozen.trials)}
    assert seen.coordinator is None


def orphans(root: Path) -> list[int]:
    """Processes that trials of a study were or started, and that still run."""
    noted = [
        int(pid)
        for name in ("starts.txt", "children.txt")
        for file in StudyPaths(root).trials.glob(f"*/{name}")
        for pid in lines(file)
    ]
    return [pid for pid in noted if psutil.pid_exists(pid) and ours(psutil.Process(pid))]


def ours(process: psutil.Process) -> bool:
    """Whether a process lives and is not a later one with the same number."""
    try:
        return not gone(process) and any(
            "sleep" in p or "standin" in p or "pytest" in p for p in process.cmdline()
        )
    except psutil.NoSuchProcess:
        return False
