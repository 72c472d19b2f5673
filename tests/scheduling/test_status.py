"""Status from files alone."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ablate.records import StudyPaths, TrialPaths, write_json
from ablate.records.store import RecordError
from ablate.scheduling import attempts
from ablate.scheduling.lock import Lock
from ablate.scheduling.show import render
from ablate.scheduling.status import status
from ablate.tracking.online import mark, note_online
from tests.scheduling.conftest import study

FIELDS = {"study": "faults", "arm": "baseline", "block": 0, "seed": 0, "recipe": {}, "budget": {}}


def test_a_fresh_study_waits_and_its_end_is_estimated_from_the_budget(root: Path) -> None:
    study(root, {"baseline": {}}, blocks=3, run={"workers": 3})
    found = status(root)
    assert found.counts == {"waiting": 3}
    assert found.eta_seconds == 10.0


def test_the_end_is_estimated_from_what_finished_trials_took(root: Path) -> None:
    study(root, {"baseline": {}}, blocks=3)
    record = {"schema": 1, **FIELDS, "trial": "baseline-0", "state": "complete", "spent": {"occupied": 40.0}}
    write_json(StudyPaths(root).trial("baseline-0").record, {**record, "metrics": {"test/score": 3.5}})
    found = status(root)
    assert found.eta_seconds == 80.0
    assert found.trials[0].outcome == 3.5
    assert found.spent("occupied") == 40.0


def test_before_a_trial_has_finished_its_end_is_estimated_from_the_longest_at_work(root: Path) -> None:
    """Evaluation is no part of the budget of 10 s, and was left out until the first trial had ended."""
    study(root, {"baseline": {}}, blocks=3)
    paths = StudyPaths(root).trial("baseline-0")
    elsewhere(paths.lock, silent=5.0)
    beat = {"phase": "evaluate", "spent": {"occupied": 30.0}, "eta_seconds": 5.0, "updated": time.time()}
    write_json(paths.progress, beat)
    assert status(root).eta_seconds == 5.0 + 2 * 35.0


OFFLINE: dict[str, Any] = {"wandb": {"mode": "offline"}, "sync": "wandb sync x"}
KILLED: dict[str, Any] = {}  # what the record of a trial holds that could not write its own
ONLINE: dict[str, Any] = {"wandb": {"mode": "online"}}


@pytest.mark.parametrize(
    ("tracking", "track", "told"),
    [
        (OFFLINE, {"wandb": {}}, True),
        (KILLED, {"wandb": {}}, True),
        (ONLINE, {"wandb": {}}, False),
        (ONLINE | {"sync": "ablate sync x"}, {"wandb": {}}, True),
        (OFFLINE, {"wandb": {"mode": "disabled"}}, False),
        (OFFLINE, {}, False),
    ],
    ids=["offline", "killed", "online", "online-in-part", "disabled", "untracked"],
)
def test_trials_that_sync_would_send_are_counted(
    root: Path, tracking: dict[str, Any], track: dict[str, Any], told: bool
) -> None:
    study(root, {"baseline": {}}, blocks=1, track=track)
    record = {"schema": 1, **FIELDS, "trial": "baseline-0", "state": "lost", "tracking": tracking}
    write_json(StudyPaths(root).trial("baseline-0").record, record)
    assert status(root).trials[0].sync == (f"ablate sync {os.path.relpath(root)}" if told else "")
    line = f"1 trial is not whole on W&B; to send what is missing: ablate sync {root}"
    assert (line in said(root)) == told


def test_a_trial_that_paused_is_not_whole_on_the_server_until_a_sync_has_seen_its_last_row(
    root: Path,
) -> None:
    study(root, {"baseline": {}}, blocks=1, track={"wandb": {}})
    paths = StudyPaths(root).trial("baseline-0")
    assert status(root).trials[0].sync == "", "it has not begun"
    attempts.begin(paths)
    paths.live.write_text('{"step": 1}\n')
    assert status(root).trials[0].sync
    note_online(root, {"baseline-0": mark(paths, None)})
    assert status(root).trials[0].sync == ""
    paths.live.write_text('{"step": 1}\n{"step": 2}\n')
    assert status(root).trials[0].sync


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            '{"schema": 99, "state": "complete"}',
            "record was written by a newer ablate (schema 99, this one 1)",
        ),
        ('{"schema": 1, "state": "comp', "record cannot be read"),
    ],
)
def test_a_record_that_cannot_be_used_is_neither_done_nor_paused(root: Path, written: str, told: str) -> None:
    study(root, {"baseline": {}}, blocks=1)
    path = StudyPaths(root).trial("baseline-0").record
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written)
    (found,) = status(root).trials
    assert found.state == "unreadable"
    assert found.reason.startswith(told)


def begun(root: Path) -> TrialPaths:
    """A trial that its coordinator has started, and of which nothing has been heard yet."""
    study(root, {"baseline": {}}, blocks=1)
    paths = StudyPaths(root).trial("baseline-0")
    attempts.begin(paths)
    return paths


def elsewhere(lock: Path, silent: float) -> None:
    """A lock as another machine's process leaves it that was heard of last `silent` seconds ago."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps({"host": "node-7", "pid": 4711, "born": 1.0}))
    os.utime(lock, (time.time() - silent,) * 2)


def said(root: Path) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render(status(root)))
    return console.export_text()


def test_a_trial_that_was_started_and_not_heard_of_is_starting_or_queued(root: Path) -> None:
    paths = begun(root)
    with Lock(StudyPaths(root).lock):
        (trial,) = status(root).trials
        assert (trial.state, trial.phase) == ("running", "starting")
        write_json(paths.placement, {"executor": "slurm", "job": "12"})  # handed to a cluster
        (trial,) = status(root).trials
        assert (trial.state, trial.phase) == ("running", "queued")
        assert " queued " in said(root)
    assert status(root).counts == {"paused": 1}, "nobody looks after it any more"
    assert "no coordinator runs; `ablate run` resumes the study" in said(root)


def test_a_coordinator_of_another_machine_is_believed_while_it_is_heard_of(root: Path) -> None:
    begun(root)
    elsewhere(StudyPaths(root).lock, silent=5.0)
    assert status(root).counts == {"running": 1}
    assert "coordinator: process 4711 on node-7 (on another machine" in said(root)
    elsewhere(StudyPaths(root).lock, silent=600.0)
    assert status(root).coordinator is None
    assert status(root).counts == {"paused": 1}
    assert (
        "no coordinator runs (process 4711 on node-7 gave no sign of life for 10 minutes); `ablate run` resumes"
        in said(root)
    )


@pytest.mark.parametrize(("silent", "state"), [(5.0, "running"), (600.0, "paused")])
def test_a_trial_of_another_machine_runs_while_its_heart_beats(root: Path, silent: float, state: str) -> None:
    paths = begun(root)
    elsewhere(paths.lock, silent)
    write_json(paths.progress, {"phase": "pretrain", "progress": 0.5, "updated": time.time() - silent})
    assert status(root).counts == {state: 1}


def test_a_coordinator_of_this_machine_that_died_is_named(root: Path) -> None:
    begun(root)
    code = (
        "import os, sys; from pathlib import Path; from ablate.scheduling.lock import Lock; "
        "lock = Lock(Path(sys.argv[1])); print(os.getpid(), flush=True); os._exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(StudyPaths(root).lock)], capture_output=True, text=True
    )
    assert status(root).coordinator is None
    assert f"no coordinator runs (process {done.stdout.strip()} on {os.uname().nodename} is gone); " in said(
        root
    )


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"study\.json does not exist"):
        status(tmp_path)


def test_status_writes_nothing_and_imports_neither_torch_nor_optuna(root: Path) -> None:
    study(root, {"baseline": {}}, blocks=1)
    before = sorted(p.name for p in root.rglob("*"))
    code = (
        "import sys; from pathlib import Path; from ablate.scheduling.status import status; "
        "status(Path(sys.argv[1])); assert not {'torch', 'optuna', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)
    assert sorted(p.name for p in root.rglob("*")) == before
