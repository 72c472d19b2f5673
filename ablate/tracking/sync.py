"""`ablate sync`: brings the runs that stayed on this disk to the W&B server, in one call of its command.

A trial that was interrupted left several folders of one run; they go up in the order in which they began. The
SDK marks a folder that has arrived, so syncing again costs nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ablate.records import StudyPaths, TrialPaths
from ablate.tracking.wandb import obstacle

SECONDS_PER_RUN = 120.0


class SyncError(ValueError):
    """Nothing could be brought online; the message says why and the way out."""


@dataclass(frozen=True)
class Synced:
    """Trials by what became of their runs; a trial whose lock is held still writes, and waits."""

    uploaded: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    said: str = ""  # the SDK's last words, when something failed


def sync(root: Path, trials: list[str]) -> Synced:
    """Upload what is not uploaded. Raises SyncError before anything is sent when nothing can be."""
    waiting, already, running = sort(root, trials)
    if not waiting:
        return Synced(already=already, running=running)
    why = obstacle()
    if why:
        raise SyncError(f"nothing was sent: {why}")
    said = _upload([folder for folders in waiting.values() for folder in folders])
    arrived = {trial: all(_synced(folder) for folder in folders) for trial, folders in waiting.items()}
    failed = [trial for trial, whole in arrived.items() if not whole]
    uploaded = [trial for trial, whole in arrived.items() if whole]
    return Synced(uploaded, failed, already, running, said if failed else "")


def sort(root: Path, trials: list[str]) -> tuple[dict[str, list[Path]], list[str], list[str]]:
    """Trials with folders to send, those that are online already, and those that still write."""
    from ablate.scheduling.lock import held

    waiting: dict[str, list[Path]] = {}
    already, running = [], []
    for trial in trials:
        paths = StudyPaths(root).trial(trial)
        folders = run_folders(paths)
        if not folders:
            continue
        if held(paths.lock):
            running.append(trial)
        elif left := [folder for folder in folders if not _synced(folder)]:
            waiting[trial] = left
        else:
            already.append(trial)
    return waiting, already, running


def run_folders(paths: TrialPaths) -> list[Path]:
    """The SDK's folders of a trial, oldest first: `offline-run-<time>-<id>`, or `run-<time>-<id>`."""
    found = [*paths.wandb.glob("offline-run-*"), *paths.wandb.glob("run-*")]
    return sorted((f for f in found if f.is_dir()), key=lambda f: f.name.removeprefix("offline-"))


def _synced(folder: Path) -> bool:
    return any(folder.glob("*.wandb.synced"))


def _upload(folders: list[Path]) -> str:
    """Run `wandb sync` on the folders, in order; the end of what it said."""
    command = [
        sys.executable,
        "-m",
        "wandb",
        "sync",
        "--include-online",
        *(str(f.resolve()) for f in folders),
    ]
    patience = SECONDS_PER_RUN * len(folders)
    with tempfile.TemporaryDirectory(prefix="ablate-sync-") as aside:  # for the command's own log
        environment = {**os.environ, "WANDB_ERROR_REPORTING": "false", "WANDB_DIR": aside}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=patience)
        except subprocess.TimeoutExpired:
            return f"the server took longer than {patience:.0f} seconds"
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-3:])
