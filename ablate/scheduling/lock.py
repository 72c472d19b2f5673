"""Locks that die with their holder: one coordinator per study, one process per trial.

An flock belongs to an open file and the kernel drops it when the process ends, however it ends; so no
lock is ever stale. Python opens files close-on-exec, so children do not inherit it. The file's content
(host, pid, start time) is for people and for the check whether a holder on this machine lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ablate.scheduling import processes


class HeldError(RuntimeError):
    """Another live process holds the lock; carries what it wrote about itself."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        self.holder = holder
        who = f"process {holder.pid} on {holder.host}" if holder else "another process"
        super().__init__(f"{path} is held by {who}")


@dataclass(frozen=True)
class Holder:
    """Who took a lock: enough to tell a process from a later one with the same number."""

    host: str
    pid: int
    born: float  # the process's start, counted from the boot
    extra: Mapping[str, Any]
    boot: str = ""  # which boot of the machine

    @property
    def here(self) -> bool:
        return self.host == socket.gethostname()

    def alive(self) -> bool | None:
        """Whether the process still runs; None when it is another machine's."""
        if not self.here:
            return None
        try:
            # A recycled pid is seconds younger, and after a reboot every number is another process's.
            same = abs(processes.born(self.pid) - self.born) < 1.0 and self.boot in ("", processes.boot())
            return same and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class Lock:
    """An exclusive lock on a file, held until `release` or the end of this process."""

    def __init__(self, path: Path, *, patience: float = 0.5, **extra: Any) -> None:
        """Take the lock. Raises HeldError when another process has it for `patience` seconds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        until = time.monotonic() + patience
        # Patience, because `held` takes the lock for an instant to ask.
        while not _try(self._file, fcntl.LOCK_EX):
            if time.monotonic() >= until:
                os.close(self._file)
                raise HeldError(path, holder(path))
            time.sleep(0.02)
        born, boot = processes.born(os.getpid()), processes.boot()
        content = {"host": socket.gethostname(), "pid": os.getpid(), "born": born, "boot": boot, **extra}
        # In place, not renamed: the lock is on this inode.
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(content).encode(), 0)

    def release(self) -> None:
        """Give the lock back and say so in the file; harmless when released."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def touch(self) -> None:
        """A sign of life for readers on other machines, who cannot ask this one's kernel."""
        os.utime(self._file)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(path: Path) -> Holder | None:
    """Who took the lock last, or None when it was given back or never taken. Takes no lock itself."""
    try:
        content = json.loads(path.read_text())
        known = {key: content.pop(key) for key in ("host", "pid", "born")}
        return Holder(**known, boot=content.pop("boot", ""), extra=content)
    except (OSError, ValueError, KeyError):
        return None


def held(path: Path) -> bool:
    """Whether a live process holds the lock, asked of the kernel by holding it for an instant."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _try(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
