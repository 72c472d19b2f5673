"""Whatever dies, each arm × block ends as exactly one COMPLETE or one recorded failure. Real processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import optuna
import pytest

from ablate.records import FrozenStudy, StudyPaths, load_records, read_json
from ablate.records.store import RecordError
from ablate.scheduling.attempts import attempts
from ablate.scheduling.lock import holder
from ablate.scheduling.status import status
from ablate.scheduling.storage import sqlite
from tests.scheduling.conftest import Processes, lines, study, wait_for

SLOW = {"steps": 6, "seconds": 0.02, "waits_at": 4}  # four steps, then it waits to be let go


def let_go(root: Path) -> None:
    (root / "go").touch()


def kept(root: Path, trial: str) -> int:
    """The steps that a trial's checkpoint holds; 0 while there is none."""
    try:
        return int(read_json(StudyPaths(root).trial(trial).checkpoint / "state.json")["step"])
    except RecordError:
        return 0


def optuna_states(root: Path) -> dict[str, Counter[str]]:
    """Trial id → how many Optuna trials it has in each state."""
    found: dict[str, Counter[str]] = {}
    for entry in optuna.load_study(study_name="faults", storage=sqlite(StudyPaths(root).storage)).trials:
        found.setdefault(entry.user_attrs["trial"], Counter())[entry.state.name] += 1
    return found


def assert_exactly_once(root: Path, frozen: FrozenStudy) -> None:
    records, damage = load_records(root)
    assert damage == []
    assert sorted(r.trial for r in records) == sorted(frozen.trials)
    states = optuna_states(root)
    assert set(states) == set(frozen.trials)
    for record in records:
        wanted = "COMPLETE" if record.state == "complete" else "FAIL"
        assert states[record.trial] == {wanted: 1}, record.trial


def steps(root: Path, trial: str) -> list[str]:
    return lines(StudyPaths(root).trial(trial).root / "steps.txt")


def starts(root: Path, trial: str) -> list[str]:
    return lines(StudyPaths(root).trial(trial).root / "starts.txt")


def test_every_arm_and_block_runs_once_and_a_second_run_starts_nothing(
    root: Path, processes: Processes
) -> None:
    frozen = study(root, {"baseline": {}, "b": {"score": 1.0}})
    assert processes.run()[0] == 0
    assert processes.run()[0] == 0
    assert_exactly_once(root, frozen)
    assert [len(starts(root, trial)) for trial in frozen.trials] == [1, 1, 1, 1]


def test_failures_are_recorded_with_their_reason_and_never_stop_a_study(
    root: Path, processes: Processes
) -> None:
    frozen = study(root, {"baseline": {}, "bad": {"fails": True}, "off": {"diverges": True}}, blocks=1)
    code, told = processes.run()
    assert code == 1
    assert "told to" in told
    assert_exactly_once(root, frozen)
    records = {r.trial: r for r in load_records(root)[0]}
    assert {t: r.state for t, r in records.items()} == {
        "baseline-0": "complete", "bad-0": "failed", "off-0": "diverged",
    }  # fmt: skip
    assert "the stand-in fails" in records["bad-0"].reason
    assert len(starts(root, "bad-0")) == 3, "a failure is tried again twice"
    assert len(starts(root, "off-0")) == 1, "divergence is not"
    assert processes.run()[0] == 1
    assert len(starts(root, "bad-0")) == 3, "a later run does not start what failed for good"


def test_a_killed_trial_goes_on_from_its_checkpoint(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": SLOW}, blocks=1)
    coordinator = processes.start(workers=1)
    wait_for(lambda: kept(root, "baseline-0") == 4)  # a step is noted before it is kept
    (trial,) = processes.trials()
    processes.kill(trial)
    let_go(root)
    coordinator.communicate(timeout=60)
    assert coordinator.returncode == 0
    assert_exactly_once(root, frozen)
    assert steps(root, "baseline-0") == ["0", "1", "2", "3", "4", "5"]
    tried = attempts(StudyPaths(root).trial("baseline-0"))
    assert [a["state"] for a in tried] == ["lost", "complete"]


def test_a_trial_that_keeps_dying_is_lost_after_three_attempts(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": {}, "bad": {"dies": True}}, blocks=1)
    assert processes.run()[0] == 1
    assert_exactly_once(root, frozen)
    record = next(r for r in load_records(root)[0] if r.arm == "bad")
    assert record.state == "lost"
    assert "SIGKILL" in record.reason
    assert len(record.attempts) == 3


def test_trials_of_a_killed_coordinator_are_adopted_and_not_started_twice(
    root: Path, processes: Processes
) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=1)
    first = processes.start()
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials))
    processes.kill(first)
    second = processes.start()
    wait_for(lambda: (owner := holder(StudyPaths(root).lock)) is not None and owner.pid == second.pid)
    assert len(processes.trials()) == 2, "they went on without their coordinator"
    let_go(root)
    _, told = second.communicate(timeout=60)
    assert second.returncode == 0
    assert_exactly_once(root, frozen)
    assert [len(starts(root, t)) for t in frozen.trials] == [1, 1]


def test_a_trial_that_ended_while_no_coordinator_watched_is_found(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": SLOW}, blocks=2)
    first = processes.start(workers=1)
    wait_for(lambda: steps(root, "baseline-0"))
    processes.kill(first)
    let_go(root)
    wait_for(lambda: not processes.trials())
    assert processes.run()[0] == 0
    assert_exactly_once(root, frozen)
    assert len(starts(root, "baseline-0")) == 1


def test_coordinator_and_trials_killed_together_resume(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=1)
    first = processes.start()
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials))
    processes.kill(first, *processes.trials())
    seen = status(root)
    assert seen.counts == {"paused": 2}
    assert seen.coordinator is None
    let_go(root)
    assert processes.run()[0] == 0
    assert_exactly_once(root, frozen)
    for trial in frozen.trials:
        assert len(steps(root, trial)) == 6
        tried = attempts(StudyPaths(root).trial(trial))
        assert [a["state"] for a in tried] == ["interrupted", "complete"], "not the trial's fault"


def test_a_second_coordinator_is_refused_with_host_and_pid(root: Path, processes: Processes) -> None:
    study(root, {"baseline": SLOW}, blocks=1)
    first = processes.start()
    wait_for(lambda: steps(root, "baseline-0"))
    code, told = processes.run()
    assert code == 2
    assert f"process {first.pid} on {os.uname().nodename}" in told
    let_go(root)
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_status_is_right_while_a_study_runs(root: Path, processes: Processes) -> None:
    study(root, {"baseline": SLOW, "b": SLOW}, blocks=2)
    first = processes.start(workers=1)
    wait_for(lambda: len(steps(root, "baseline-0")) == 4)
    seen = status(root)
    assert seen.counts == {"running": 1, "waiting": 3}
    assert seen.coordinator is not None
    assert seen.coordinator["pid"] == first.pid
    (running,) = [t for t in seen.trials if t.state == "running"]
    assert running.progress > 0
    assert running.tokens_per_second == 10.0
    processes.kill(first)


def test_ctrl_c_leaves_a_resumable_study(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=1)
    first = processes.start()
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials))
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert told.count("interrupted") == 2
    assert processes.trials() == []
    assert holder(StudyPaths(root).lock) is None
    assert status(root).counts == {"paused": 2}
    let_go(root)
    assert processes.run()[0] == 0
    assert_exactly_once(root, frozen)
    assert [len(steps(root, t)) for t in frozen.trials] == [6, 6], "stopping on request loses nothing"


def test_a_lost_storage_is_filled_again_from_the_records(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": {}, "bad": {"diverges": True}}, blocks=1)
    assert processes.run()[0] == 1
    StudyPaths(root).storage.unlink()
    assert processes.run()[0] == 1
    assert_exactly_once(root, frozen)
    assert [len(starts(root, t)) for t in frozen.trials] == [1, 1]


def test_a_torn_record_is_done_again(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": {}}, blocks=1)
    assert processes.run()[0] == 0
    StudyPaths(root).trial("baseline-0").record.write_text('{"schema": 1, "stu')
    assert processes.run()[0] == 0
    (record,) = load_records(root)[0]
    assert record.state == "complete"
    assert len(starts(root, "baseline-0")) == 2
    assert frozen.trials


@pytest.mark.slow
def test_seeded_random_kills_lose_nothing(root: Path, processes: Processes) -> None:
    import random
    import time

    chance = random.Random(0)
    slow = {"steps": 12, "seconds": 0.1}
    frozen = study(root, {"baseline": slow, "b": slow, "c": slow}, blocks=2)
    for _ in range(12):
        first = processes.start()
        time.sleep(chance.uniform(0.5, 3.0))
        if chance.random() < 0.5:
            processes.kill(*processes.trials())
            time.sleep(0.05)
        processes.kill(first)
    assert processes.run()[0] == 0
    assert_exactly_once(root, frozen)
    for trial in frozen.trials:
        assert len(set(steps(root, trial))) == 12
