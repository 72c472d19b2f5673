"""A trial that hangs or ignores its budget is ended from outside."""

import os
from pathlib import Path

from ablate.budget import Budget
from ablate.records import TrialPaths, load_records, write_json
from ablate.scheduling.coordinator import Coordinator
from ablate.scheduling.executors import LocalExecutor
from ablate.scheduling.storage import Queue, sqlite
from ablate.scheduling.watchdog import Limits, Watch, overspent
from tests.scheduling.conftest import study
from tests.scheduling.coordinate import STANDIN

LIMITS = Limits(silence_seconds=60, over_share=0.05, over_seconds=10)


def pretrain(**spent: float) -> dict[str, object]:
    return {"phase": "pretrain", "spent": spent}


def test_silence_is_a_reason_to_end_and_a_heartbeat_resets_it(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    watch = Watch(paths, Budget("seconds", 10), "training", LIMITS)
    write_json(paths.progress, {"phase": "data"})
    assert watch.verdict(5) is None
    assert all(watch.verdict(5) is None for _ in range(12))
    write_json(paths.progress, {"phase": "data"})
    os.utime(paths.progress, ns=(1, 1))
    assert watch.verdict(5) is None
    assert [bool(watch.verdict(5)) for _ in range(13)] == [False] * 12 + [True]


def test_a_suspended_machine_is_no_silence(tmp_path: Path) -> None:
    watch = Watch(TrialPaths(tmp_path), Budget("seconds", 10), "training", LIMITS)
    assert watch.verdict(8 * 3600) is None


def test_spending_beyond_budget_and_tolerance_is_a_reason_to_end() -> None:
    budget = Budget("seconds", 100)
    assert overspent(pretrain(seconds=114), budget, "training", LIMITS) is None
    reason = overspent(pretrain(seconds=116), budget, "training", LIMITS)
    assert reason is not None
    assert "spent 116 seconds of a budget of 100s" in reason
    assert overspent(pretrain(seconds=50, occupied=116), budget, "occupied", LIMITS) is not None


def test_two_steps_beyond_a_token_budget_are_tolerated() -> None:
    budget = Budget("tokens", 1000)
    assert overspent(pretrain(tokens=1100, steps=10), budget, "training", LIMITS) is None
    assert overspent(pretrain(tokens=5000, steps=100), budget, "training", LIMITS) is not None


def test_evaluation_is_outside_the_budget() -> None:
    beyond = {"phase": "evaluate", "spent": {"seconds": 1e6}}
    assert overspent(beyond, Budget("seconds", 1), "training", LIMITS) is None


def test_a_hanging_trial_is_ended_and_recorded_as_timeout(root: Path) -> None:
    frozen = study(root, {"baseline": {}, "stuck": {"hangs": True}}, blocks=1)
    queue = Queue(frozen, sqlite(root / "optuna.db"))
    executor = LocalExecutor(2, command=STANDIN)
    coordinator = Coordinator(
        frozen, root, executor, queue, limits=Limits(silence_seconds=8), poll_seconds=0.05, free_bytes=0
    )
    coordinator.run()
    records = {r.arm: r for r in load_records(root)[0]}
    assert records["baseline"].state == "complete"
    assert records["stuck"].state == "timeout"
    assert "no sign of life" in records["stuck"].reason
    assert coordinator.failed == ["stuck-0"]
