"""Coordinators and trials as forks of the test: real processes and signals without the seconds of an import."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.records import TrialPaths
from ablate.scheduling.executors import Job, LocalExecutor
from ablate.scheduling.executors.local import LocalJob
from ablate.scheduling.trial import main
from tests.scheduling.coordinate import coordinate
from tests.scheduling.standin import work


@dataclass
class Child:
    """What of subprocess.Popen a job uses."""

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def fork(what: Callable[[], int], log: Path) -> Child:
    """Run `what` in a child, leader of its own session, that ends with its result."""
    pid = os.fork()
    if pid:
        return Child(pid)
    code = 70
    try:
        os.setsid()
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  pytest's capture is the parent's
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        code = what()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


class ForkExecutor(LocalExecutor):
    """Trials as forks of the coordinator."""

    def submit(self, paths: TrialPaths, slot: int) -> Job:
        def run() -> int:
            _forget_locks()
            os.environ["ABLATE_SLOT"] = str(slot)
            return main(str(paths.root), work)

        return LocalJob(fork(run, paths.log), slot, paths.root)  # type: ignore[arg-type]


def _forget_locks() -> None:
    """A fork shares the coordinator's lock, which a real child does not: close it, without giving it back."""
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}").endswith("coordinator.lock"):
                os.close(int(number))
        except OSError:
            continue


def start(root: Path, workers: int, **options: Any) -> Child:
    """A coordinator as a fork."""
    executor = ForkExecutor(workers)
    root.mkdir(parents=True, exist_ok=True)
    return fork(lambda: coordinate(root, workers, options, executor), root / "coordinator.txt")
