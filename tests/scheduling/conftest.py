"""Frozen studies of stand-in trials, and coordinators as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from ablate.records import FrozenArm, FrozenStudy, StudyPaths, write_json

HERE = Path(__file__).parent


def study(root: Path, arms: Mapping[str, Mapping[str, Any]], blocks: int = 2, **more: Any) -> FrozenStudy:
    """Write a study.json whose arms are stand-in recipes; trial ids are `<arm>-<block>`."""
    frozen = FrozenStudy(
        schema=1,
        name="faults",
        question="Does it survive?",
        created="2025-01-01T00:00:00+00:00",
        outcome={"metric": "test/score", "margin": 1.0, "higher_is_better": True},
        family=[name for name in arms if name != "baseline"],
        design="one-factor",
        budget={"unit": "seconds", "amount": 10.0},
        blocks=list(range(blocks)),
        arms=[
            FrozenArm(name=name, recipe={"steps": 3, "seconds": 0.02, **recipe}, budget={"unit": "seconds", "amount": 10.0})
            for name, recipe in arms.items()
        ],
        trials={f"{name}-{block}": [name, block] for block in range(blocks) for name in arms},
    )  # fmt: skip
    write_json(StudyPaths(root).study, frozen.model_copy(update=more))
    return frozen


class Processes:
    """Coordinators started by a test; whatever they left is ended with the test."""

    def __init__(self, root: Path) -> None:
        self.root, self.started = root, list[subprocess.Popen[str]]()

    def start(self, workers: int = 2, **options: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
        command = [
            sys.executable,
            str(HERE / "coordinate.py"),
            str(self.root),
            str(workers),
            json.dumps(options),
        ]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def run(self, workers: int = 2, **options: Any) -> tuple[int, str]:
        """Run to the end: exit code and standard error."""
        process = self.start(workers, **options)
        _, errors = process.communicate(timeout=120)
        return process.returncode, errors

    def trials(self) -> list[psutil.Process]:
        """Living trial processes of this study."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            line = process.info["cmdline"] or []
            mine = any(part.startswith(str(StudyPaths(self.root).trials)) for part in line)
            if mine and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def kill(self, *processes: subprocess.Popen[str] | psutil.Process) -> None:
        """SIGKILL each and wait until the kernel is done with it: open files and locks go with that, not before."""
        for process in processes:
            process.kill()
        for process in processes:
            if isinstance(process, subprocess.Popen):
                process.wait()
            else:
                wait_for(lambda ended=process: gone(ended))

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        for trial in self.trials():
            trial.send_signal(signal.SIGKILL)


def gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "faults"


@pytest.fixture
def processes(root: Path) -> Iterator[Processes]:
    started = Processes(root)
    yield started
    started.end()


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is true. Fails after `seconds`."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []
