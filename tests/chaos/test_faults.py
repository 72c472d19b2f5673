"""Every fault of the list, over real processes: nothing is lost, nothing is done twice, nothing is left running."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ablate.records import StudyPaths, load_records
from ablate.scheduling.attempts import attempts
from ablate.scheduling.lock import holder
from ablate.scheduling.status import status
from tests.chaos.invariants import assert_survived, orphans
from tests.scheduling.clusters import PASSWORD, Postgres
from tests.scheduling.conftest import Processes, lines, study, wait_for

pytestmark = pytest.mark.slow
representative = pytest.mark.representative

SLOW = {"steps": 6, "seconds": 0.02, "waits_at": 4, "every": 2}  # four steps, then it waits to be let go
KILL, TERM, STOP, CONT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT


def steps(root: Path, trial: str) -> list[str]:
    return lines(StudyPaths(root).trial(trial).root / "steps.txt")


def let_go(root: Path) -> None:
    (root / "go").touch()


@pytest.mark.parametrize(
    ("what", "whom"),
    [
        pytest.param(
            what,
            whom,
            marks=[
                pytest.mark.fault(f"{what.name} of {whom}"),
                *([representative] if whom == "both" else []),
            ],
            id=f"{what.name}-{whom}",
        )
        for what in (KILL, TERM, STOP)
        for whom in ("a trial", "the coordinator", "both")
    ],
)
def test_a_signal_loses_nothing(root: Path, processes: Processes, what: signal.Signals, whom: str) -> None:
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=1)
    first = processes.start()
    wait_for(lambda: all(len(steps(root, t)) == 4 for t in frozen.trials))
    hit: list[psutil.Process] = [] if whom == "the coordinator" else processes.trials()
    hit += [] if whom == "a trial" else [psutil.Process(first.pid)]
    for process in hit:
        process.send_signal(what)
    time.sleep(0.3)
    if what == STOP:
        code, told = processes.run()
        assert code == 2, "a coordinator that is only stopped still holds its study"
        assert f"process {first.pid}" in told
        for process in hit:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(CONT)
    let_go(root)
    if whom == "a trial" or what == STOP:
        first.communicate(timeout=60)
        assert first.returncode == 0
    else:
        first.communicate(timeout=60)
        assert first.returncode == (130 if what == TERM else -KILL)
        assert processes.run()[0] == 0
    assert_survived(root, frozen, repeated=2)


@pytest.mark.fault("hanging trial (SIGSTOP for ever)")
def test_a_trial_that_is_stopped_for_ever_is_ended_and_recorded(root: Path, processes: Processes) -> None:
    study(root, {"baseline": SLOW, "b": {}}, blocks=1)
    first = processes.start(silence=3.0)
    wait_for(lambda: len(steps(root, "baseline-0")) == 4)
    wait_for(lambda: len(processes.trials()) == 1)
    (trial,) = processes.trials()
    trial.send_signal(STOP)
    first.communicate(timeout=60)
    assert first.returncode == 1
    assert {r.arm: r.state for r in load_records(root)[0]} == {"baseline": "timeout", "b": "complete"}
    assert orphans(root) == []


@representative
@pytest.mark.fault("killed trial with a child of its own session")
def test_children_of_a_killed_trial_are_ended(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": {**SLOW, "fathers": True}}, blocks=1)
    first = processes.start(workers=1)
    wait_for(lambda: len(steps(root, "baseline-0")) == 4)
    (trial,) = processes.trials()
    processes.kill(trial)
    folder = StudyPaths(root).trial("baseline-0").root
    (child,) = lines(folder / "children.txt")
    wait_for(lambda: int(child) not in orphans(root))
    let_go(root)
    first.communicate(timeout=60)
    for pid in lines(folder / "children.txt"):  # a trial that ends by itself may leave what it wants
        with suppress(ProcessLookupError):
            os.kill(int(pid), KILL)
    assert_survived(root, frozen, repeated=2)


@pytest.mark.fault("torn checkpoint")
def test_a_torn_checkpoint_is_passed_over(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": SLOW}, blocks=1)
    first = processes.start(workers=1)
    wait_for(lambda: len(steps(root, "baseline-0")) == 4)
    processes.kill(first, *processes.trials())
    kept = StudyPaths(root).trial("baseline-0").checkpoint / "state.json"
    os.truncate(kept, kept.stat().st_size // 2)
    let_go(root)
    assert processes.run()[0] == 0
    assert_survived(root, frozen, repeated=2)


@pytest.mark.fault("clock jump of a trial")
@pytest.mark.parametrize("by", [-86400.0, 86400.0], ids=["back", "forth"])
def test_a_clock_that_jumps_does_not_matter(root: Path, processes: Processes, by: float) -> None:
    frozen = study(root, {"baseline": {**SLOW, "jumps": by, "jumps_at": 2}}, blocks=1)
    first = processes.start(workers=1, silence=5.0)
    wait_for(lambda: len(steps(root, "baseline-0")) == 4)
    assert status(root).counts == {"running": 1}
    let_go(root)
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert_survived(root, frozen, repeated=0)
    assert [a["state"] for a in attempts(StudyPaths(root).trial("baseline-0"))] == ["complete"]


@pytest.mark.fault("eight trials starting at once")
def test_eight_trials_start_at_once(root: Path, processes: Processes) -> None:
    frozen = study(root, {"baseline": SLOW}, blocks=8)
    first = processes.start(workers=8)
    wait_for(lambda: len(processes.trials()) == 8, seconds=60)
    let_go(root)
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert_survived(root, frozen, repeated=0)
    assert all(len(lines(StudyPaths(root).trial(t).root / "starts.txt")) == 1 for t in frozen.trials)


@representative
@pytest.mark.fault("memory leak")
def test_a_trial_that_takes_more_memory_than_it_may_is_ended_and_not_retried(
    root: Path, processes: Processes
) -> None:
    leak = {"steps": 200, "seconds": 0.05, "leaks": 8}
    study(root, {"baseline": {}, "leaky": leak}, blocks=1)
    code, told = processes.run(memory_gib=0.25)
    assert code == 1
    records = {r.arm: r for r in load_records(root)[0]}
    assert records["baseline"].state == "complete"
    assert records["leaky"].state == "out-of-memory"
    assert "limit of 0.25 GiB (run.memory_gib)" in records["leaky"].reason
    assert len(lines(StudyPaths(root).trial("leaky-0").root / "starts.txt")) == 1
    assert processes.run(memory_gib=0.25)[0] == 1
    assert len(lines(StudyPaths(root).trial("leaky-0").root / "starts.txt")) == 1, "nor by the next run"


@representative
@pytest.mark.fault("GPU out of memory")
def test_a_gpu_out_of_memory_halves_the_micro_batch_once(root: Path, processes: Processes) -> None:
    large = {"micro_batch": 64, "too_large": 32}
    study(root, {"baseline": {}, "large": large, "huge": {**large, "too_large": 16}}, blocks=1)
    assert processes.run()[0] == 1
    records = {r.arm: r for r in load_records(root)[0]}
    assert records["large"].state == "complete"
    assert records["large"].chosen == {"train.micro_batch": 32}
    assert "ran out of memory" in records["large"].warnings[0]
    assert records["huge"].state == "out-of-memory", "once, not twice"
    for arm in ("large", "huge"):
        assert len(lines(StudyPaths(root).trial(f"{arm}-0").root / "starts.txt")) == 2


@representative
@pytest.mark.fault("full disk")
def test_a_full_disk_stops_a_study_and_loses_nothing(small_disk: Path) -> None:
    root = small_disk / "runs" / "faults"
    processes = Processes(root)
    try:
        frozen = study(root, {"baseline": {"steps": 6, "seconds": 0.05, "fills": 1.5}, "b": {}}, blocks=1)
        code, told = processes.run(workers=1)
        assert code == 130, told
        assert "full" in told or "No space left" in told
        for filler in root.rglob("filler-*"):
            filler.unlink()
        code, told = processes.run(workers=1)
        while code == 130:  # what is left of the filling does not fit either
            for filler in root.rglob("filler-*"):
                filler.unlink()
            code, told = processes.run(workers=1)
        assert code == 0, told
        assert_survived(root, frozen, repeated=6)
    finally:
        processes.end()


@representative
@pytest.mark.fault("PostgreSQL killed and back")
def test_a_database_that_is_killed_and_comes_back_loses_nothing(
    root: Path, processes: Processes, postgres: Postgres
) -> None:
    name = f"outage-{os.getpid()}"
    frozen = study(root, {"baseline": SLOW, "b": SLOW}, blocks=2, name=name)
    frozen = frozen.model_copy(update={"name": name})
    first = processes.start(storage=postgres.url)
    wait_for(lambda: sum(len(steps(root, t)) == 4 for t in frozen.trials) == 2)
    postgres.kill()
    let_go(root)
    wait_for(lambda: len(load_records(root)[0]) == 2)
    time.sleep(1.0)
    assert first.poll() is None, "it waits"
    assert status(root).counts == {"complete": 2, "waiting": 2}
    postgres.start()
    _, told = first.communicate(timeout=60)
    assert first.returncode == 0, told
    assert "does not answer" in told
    assert "answers again" in told
    assert PASSWORD not in told
    assert_survived(root, frozen, storage=postgres.url, repeated=0)


def test_a_second_coordinator_of_a_shared_study_is_refused_from_another_folder(
    root: Path, processes: Processes, postgres: Postgres
) -> None:
    name = f"shared-{os.getpid()}"
    study(root, {"baseline": SLOW}, blocks=1, name=name)
    other = Processes(root.parent / "elsewhere")
    study(other.root, {"baseline": SLOW}, blocks=1, name=name)
    first = processes.start(storage=postgres.url)
    wait_for(lambda: len(steps(root, "baseline-0")) == 4)
    try:
        code, told = other.run(storage=postgres.url)
    finally:
        other.end()
    assert code == 2
    assert f"process {first.pid} on {os.uname().nodename} from {root.resolve()}" in told
    let_go(root)
    first.communicate(timeout=60)
    assert first.returncode == 0
    owner = holder(StudyPaths(root).lock)
    assert owner is None
