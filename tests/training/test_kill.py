from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.data import Prepared

ROOT = Path(__file__).parents[2]
BUDGET = "200 steps"


def start(folder: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.worker", str(folder), str(cache), BUDGET]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def killed_after(process: subprocess.Popen[str], rows: int) -> bool:
    """Kill a worker in mid-training; whether it was still at it."""
    assert process.stdout is not None
    told = 0
    for line in process.stdout:
        told += line.startswith("at")
        if told > rows:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


def finish(process: subprocess.Popen[str]) -> tuple[str, int]:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    _, digest, attempts = output.splitlines()[-1].split()
    return digest, int(attempts)


@pytest.mark.slow
@pytest.mark.representative
def test_a_trial_killed_with_kill_9_ends_bit_equal(data: Prepared, cache: Path, tmp_path: Path):
    straight, _ = finish(start(tmp_path / "a", cache))
    for rows in (30, 20):  # hundredths of the budget
        assert killed_after(start(tmp_path / "b", cache), rows)
    resumed, attempts = finish(start(tmp_path / "b", cache))
    assert resumed == straight
    assert attempts == 3
    entries = json.loads((tmp_path / "b/checkpoint/attempts.json").read_text())["attempts"]
    assert [e["reason"] for e in entries] == ["lost", "lost", "complete"]
    assert entries[1]["resumed_at_seconds"] > 0
    assert entries[2]["resumed_at_seconds"] > entries[1]["resumed_at_seconds"]
    assert all(e["refunded_seconds"] >= 0 for e in entries)
