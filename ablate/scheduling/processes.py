"""Processes of this machine: who they are, what they hold, and how they are ended with all their children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

_PARENT = "ABLATE_PARENT"  # the process that a trial must not outlive, by its number
_CORES = "ABLATE_CORES"  # the cores that a trial is pinned to
_TRIAL = "ABLATE_TRIAL"  # the folder of the trial that a process belongs to
_PR_SET_PDEATHSIG = 1


def boot() -> str:
    """What tells one boot of this machine from another; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def born(pid: int) -> float:
    """When a process started: ticks since boot on Linux, else seconds since the epoch.

    Ticks, because psutil adds the time of the boot, which moves whenever the wall clock is set: a live holder
    of a lock would look like another process after a jump. Raises psutil.NoSuchProcess.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if sys.platform == "linux":
            raise psutil.NoSuchProcess(pid) from None
        return float(psutil.Process(pid).create_time())
    except ProcessLookupError:
        raise psutil.NoSuchProcess(pid) from None
    return float(stat.rpartition(")")[2].split()[19])


def memory(pid: int) -> int | None:
    """Bytes resident in a process and its children; None when it is gone."""
    try:
        process = psutil.Process(pid)
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    total = 0
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_info().rss
    return total


def signal_process(pid: int, what: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def signal_group(pid: int, what: signal.Signals) -> None:
    """Send a signal to what is left of a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, what)


def end_left(trial: Path) -> None:
    """End what a dead trial process left running: whoever carries its mark, in whatever session."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid != os.getpid() and process.environ().get(_TRIAL) == str(trial):
                process.kill()


def ended(pid: int) -> bool:
    """Whether a child has ended. It stays a zombie, so its number and its group are still its own."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def environment_for(
    trial: Path, parent: int | None = None, cores: Sequence[int] | None = None
) -> dict[str, str]:
    """What tells a trial process whose it is, when to die and where to run."""
    return {_TRIAL: str(trial), _PARENT: str(parent or ""), _CORES: ",".join(map(str, cores or ()))}


def settle() -> None:
    """In the trial process, first of all: pin it, and tie its life to its parent's where that is asked."""
    cores = os.environ.get(_CORES)
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # the cores were taken away meanwhile: run on what is left
            os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    parent = os.environ.get(_PARENT)
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before this process could ask
            os.kill(os.getpid(), signal.SIGKILL)
