"""What looks after a trial on another machine: runs it as a child, hands on requests, ends what goes wrong.

Ray and Slurm place a `Supervised`; coordinator and supervisor speak through small files in the trial folder,
which every machine of the cluster sees: a request in, and a sign of life and the end out. The trial process
dies with its supervisor, so a node that is lost, or a worker that is killed, leaves no orphan.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ablate.records import TrialPaths, read_json, write_json
from ablate.records.store import RecordError
from ablate.scheduling import processes
from ablate.scheduling.attempts import now
from ablate.scheduling.executors.base import HELD, OVER_MEMORY, RESUMABLE, Job

STOP, KILL = "stop", "kill"
EVERY = 0.2  # seconds between two looks at the child and at requests
BEAT = 5.0  # seconds between two signs of life
SILENT = 60.0  # seconds without one after which nobody looks after the trial (file servers cache for 30)
PATIENCE = 15.0  # seconds from asking a supervisor to kill to asking its cluster


@dataclass
class Supervised:
    """One trial, callable on whatever node it is placed; picklable."""

    folder: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)  # added to the node's own
    memory_bytes: int | None = None
    grace_seconds: float = 60.0
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _parting: bool = field(default=False, init=False, repr=False)  # the node is being taken back

    def __call__(self) -> int:
        """Run the trial to its end; its exit status."""
        paths = TrialPaths(Path(self.folder))
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._preempted)
        status = self._run(paths)
        until = time.monotonic() + PATIENCE
        while status == HELD and time.monotonic() < until:  # by one that was killed and is not quite gone
            time.sleep(1.0)
            status = self._run(paths)
        if self._parting:  # who takes the node back ends this process too, and starts it again elsewhere
            time.sleep(self.grace_seconds)
        self._tell(paths, ended=status)
        return status

    def _run(self, paths: TrialPaths) -> int:
        if paths.record.exists():  # placed again by its cluster after it had done its work
            return 0
        with open(paths.log, "ab") as log:
            self._child = subprocess.Popen(
                [*self.command, self.folder],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **processes.environment_for(paths.root, os.getpid())},
                start_new_session=True,
            )
        self._tell(paths, ended=None)
        return self._watch(paths)

    def checkpoint(self) -> Any:
        """For submitit, before a time limit or a preemption: let the trial checkpoint, and go on later."""
        from submitit.helpers import DelayedSubmission

        self._end(signal.SIGTERM)
        return DelayedSubmission(
            Supervised(self.folder, self.command, self.environment, self.memory_bytes, self.grace_seconds)
        )

    def _watch(self, paths: TrialPaths) -> int:
        assert self._child is not None
        asked, looks = "", 0
        while not processes.ended(self._child.pid):
            request = _text(paths.request)
            if request and request != asked:
                asked = request
                self._child.send_signal(signal.SIGTERM) if asked == STOP else self._kill()
            looks += 1
            if looks % int(BEAT / EVERY) == 0:
                os.utime(paths.supervisor)
            if self.memory_bytes and looks % int(1 / EVERY) == 0:
                used = processes.memory(self._child.pid)
                if used is not None and used > self.memory_bytes:
                    self._kill()
                    self._child.wait()
                    processes.end_left(paths.root)
                    return OVER_MEMORY
            time.sleep(EVERY)
        self._kill()  # what it left running, while its group is still its own
        return self._child.wait()

    def _end(self, how: signal.Signals) -> None:
        """Ask the child to end and wait for it; then insist."""
        if self._child is None:
            return
        processes.signal_process(self._child.pid, how)
        until = time.monotonic() + self.grace_seconds
        while not processes.ended(self._child.pid) and time.monotonic() < until:
            time.sleep(0.05)
        self._kill()

    def _kill(self) -> None:
        if self._child is not None:
            processes.signal_group(self._child.pid, signal.SIGKILL)

    def _preempted(self, number: int, frame: FrameType | None) -> None:
        """A cluster that takes the node back says so with SIGTERM: save what can be saved."""
        self._parting = True
        if self._child is not None:
            processes.signal_process(self._child.pid, signal.SIGTERM)

    def _tell(self, paths: TrialPaths, ended: int | None) -> None:
        child = self._child.pid if self._child else None
        write_json(
            paths.supervisor,
            {"host": socket.gethostname(), "pid": os.getpid(), "trial": child, "at": now(), "ended": ended},
        )


@dataclass
class SupervisedJob(Job):
    """The coordinator's side; the executor says whether the cluster still knows the job."""

    paths: TrialPaths
    slot: int
    gone: Callable[[], bool]  # the cluster has given the job up
    cancel: Callable[[], None]  # end it by the cluster's means
    stopping: bool = False
    _killed: float = 0.0
    _seen: int = 0
    _seen_at: float = 0.0
    _gone_at: float = 0.0

    def poll(self) -> int | None:
        ended = _ended(self.paths)
        if ended is not None:
            return ended
        if self._killed and time.monotonic() - self._killed > PATIENCE:
            self.cancel()
        if not self.gone():
            self._gone_at = 0.0
            return None
        # The end may be written and not yet seen: file servers cache.
        self._gone_at = self._gone_at or time.monotonic()
        if time.monotonic() - self._gone_at < 1.0:
            return None
        return RESUMABLE if self.stopping else -signal.SIGKILL

    def stop(self) -> None:
        self.stopping = True
        self.paths.request.write_text(STOP)
        if self.waiting:
            self.cancel()  # it has not begun; nothing is lost

    def kill(self) -> None:
        if not self._killed:
            self._killed = time.monotonic()
            self.paths.request.write_text(KILL)
            if self.waiting:
                self.cancel()

    @property
    def waiting(self) -> bool:
        """Nobody looks after it: it waits for a node, or its node is lost and the cluster has to notice."""
        try:
            beat = self.paths.supervisor.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        if beat != self._seen:
            self._seen, self._seen_at = beat, time.monotonic()
        return time.monotonic() - self._seen_at > SILENT


def fresh(paths: TrialPaths) -> None:
    """Forget what an earlier placement of the trial left."""
    for file in (paths.supervisor, paths.request, paths.placement):
        file.unlink(missing_ok=True)


def placement(paths: TrialPaths) -> dict[str, Any]:
    """Which job the trial is, or nothing."""
    try:
        return read_json(paths.placement)
    except RecordError:
        return {}


def _ended(paths: TrialPaths) -> int | None:
    try:
        ended = read_json(paths.supervisor).get("ended")
    except RecordError:
        return None
    return None if ended is None else int(ended)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
