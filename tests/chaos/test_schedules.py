"""Seeded random schedules of faults over a fast stand-in objective."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ablate.records import FrozenStudy, StudyPaths
from ablate.scheduling.lock import holder
from ablate.scheduling.storage import open_storage, sqlite
from tests.chaos import forked
from tests.chaos.invariants import assert_survived
from tests.scheduling.conftest import study

SCHEDULES = 200
EVERY = 2  # steps between checkpoints
ARM = {"steps": 6, "seconds": 0.004, "every": EVERY}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with its tables: making them costs more than a schedule."""
    file = tmp_path_factory.mktemp("storage") / "optuna.db"
    open_storage(sqlite(file)).engine.dispose()
    return file


def living(root: Path, frozen: FrozenStudy) -> list[int]:
    owners = [holder(StudyPaths(root).trial(trial).lock) for trial in frozen.trials]
    return [owner.pid for owner in owners if owner is not None and owner.alive()]


def send(pids: list[int], what: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def tear(root: Path, chance: random.Random) -> None:
    """Cut a checkpoint or a record short, as a disk that lies about fsync can."""
    trials = StudyPaths(root).trials
    files = [
        *trials.glob("*/checkpoint/state.json"),
        *trials.glob("*/record.json"),
        *trials.glob("*/attempts.json"),
    ]
    if files:
        file = chance.choice(sorted(files))
        with suppress(OSError):
            os.truncate(file, file.stat().st_size // 2)


def schedule(root: Path, frozen: FrozenStudy, chance: random.Random) -> int:
    """Lives of coordinators with faults in them; how many steps a trial may have lost and repeated at most."""
    lost = 0
    for _ in range(chance.randint(1, 3)):
        child = forked.start(root, workers=chance.choice([1, 2, 4]), poll=0.005, grace=1.0)
        for _ in range(chance.randint(1, 3)):
            time.sleep(chance.uniform(0.005, 0.12))
            fault = chance.choice(["kill", "kill", "terminate", "stop", "stop coordinator", "tear"])
            pids = living(root, frozen)
            if fault == "kill":
                send(pids[:1], signal.SIGKILL)
            elif fault == "terminate":
                send(pids[:1], signal.SIGTERM)
            elif fault == "stop":
                send(pids, signal.SIGSTOP)
                time.sleep(0.02)
                send(pids, signal.SIGCONT)
            elif fault == "stop coordinator":
                send([child.pid], signal.SIGSTOP)
                time.sleep(0.02)
                send([child.pid], signal.SIGCONT)
            elif fault == "tear":
                tear(root, chance)
            lost += 2 * EVERY
        end = chance.choice(["kill", "kill both", "terminate", "interrupt"])
        if end == "kill both":
            send(living(root, frozen), signal.SIGKILL)
        send([child.pid], {"terminate": signal.SIGTERM, "interrupt": signal.SIGINT}.get(end, signal.SIGKILL))
        child.wait()
        lost += 2 * EVERY
    return lost


def survives(root: Path, empty: Path, seed: int) -> None:
    frozen = study(root, {"baseline": ARM, "b": {**ARM, "score": 1.0}}, blocks=2)
    shutil.copy(empty, StudyPaths(root).storage)
    lost = schedule(root, frozen, random.Random(seed))
    for _ in range(2):  # a record may have been torn after its trial had ended: then it is done again
        child = forked.start(root, workers=4, poll=0.005, again=True)
        code = child.wait()
        assert code == 0, (root / "coordinator.txt").read_text()[-2000:]
    # A torn record or two torn checkpoints start a trial anew.
    assert_survived(root, frozen, repeated=lost + 3 * ARM["steps"])


@pytest.mark.fault("random schedule of faults")
@pytest.mark.parametrize("seed", range(8))
def test_a_random_schedule_of_faults_loses_nothing(root: Path, empty: Path, seed: int) -> None:
    survives(root, empty, seed)


@pytest.mark.slow
@pytest.mark.fault("random schedule of faults")
@pytest.mark.parametrize("seed", range(8, SCHEDULES))
def test_every_random_schedule_of_faults_loses_nothing(root: Path, empty: Path, seed: int) -> None:
    survives(root, empty, seed)
