"""What a running study looks like, on a terminal and in a pipe."""

import io
from pathlib import Path

from rich.console import Console
from rich.live import Live

from ablate.records import StudyPaths, write_json
from ablate.scheduling.coordinator import Change, Coordinator, _Running
from ablate.scheduling.executors import UNKNOWN, AdoptedJob, LocalExecutor
from ablate.scheduling.live import Lines, Screen, duration
from ablate.scheduling.lock import Holder
from ablate.scheduling.storage import Queue, sqlite
from tests.scheduling.conftest import study


def coordinator_of(root: Path) -> Coordinator:
    frozen = study(root, {"baseline": {}, "b[odd]": {}}, blocks=1)
    return Coordinator(frozen, root, LocalExecutor(1), Queue(frozen, sqlite(root / "optuna.db")))


def test_durations_read_like_a_clock() -> None:
    assert [duration(s) for s in (None, 5, 65.4, 3661)] == ["–", "0:05", "1:05", "1:01:01"]


def test_the_table_shows_trial_arm_block_progress_speed_loss_and_eta(root: Path) -> None:
    coordinator = coordinator_of(root)
    trial = StudyPaths(root).trial("b[odd]-0")
    beat = {
        "phase": "pretrain",
        "progress": 0.5,
        "loss": 6.25,
        "tokens_per_second": 12345.0,
        "eta_seconds": 61,
    }
    write_json(trial.progress, beat)
    job = AdoptedJob(Holder("here", 1, 0.0, {}), 0, trial.lock)
    coordinator.running["b[odd]-0"] = _Running(job, coordinator._watch("b[odd]-0"))
    console = Console(file=io.StringIO(), width=140, force_terminal=True)
    screen = Screen(coordinator, Live(console=console))
    screen.change(Change("baseline-0", "baseline", 0, "diverged", "the loss is nan"))
    with console.capture() as seen:
        console.print(screen.render())
    for part in (
        "b[odd]-0",
        "pretrain",
        "12,345",
        "6.250",
        "1:01",
        "diverged",
        "the loss is nan",
        "1 running",
    ):
        assert part in seen.get()


def test_a_pipe_gets_one_line_per_change(root: Path) -> None:
    out = io.StringIO()
    lines = Lines(coordinator_of(root), Console(file=out, width=40))
    lines.change(Change("baseline-0", "baseline", 0, "running"))
    lines.tick()
    lines.change(Change("baseline-0", "baseline", 0, "lost", "died\nbadly"))
    assert len(out.getvalue().splitlines()) == 2
    assert "died badly" in out.getvalue()
    assert UNKNOWN > 255, "no process ends with this status"
