"""Locks die with their holder."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ablate.scheduling import processes
from ablate.scheduling.lock import HeldError, Holder, Lock, held, holder

HOLD = "import sys, time; from pathlib import Path; from ablate.scheduling.lock import Lock; lock = Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"  # noqa: E501


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_holder_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    first = hold(tmp_path / "lock")
    with pytest.raises(HeldError, match=f"process {first.pid}"):
        Lock(tmp_path / "lock", patience=0.05)
    first.kill()
    first.communicate()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    first = hold(tmp_path / "lock")
    assert held(tmp_path / "lock")
    first.kill()
    first.communicate()
    assert not held(tmp_path / "lock")
    left = holder(tmp_path / "lock")
    assert left is not None
    assert left.alive() is False
    Lock(tmp_path / "lock").release()


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    lock.release()
    Lock(tmp_path / "lock", patience=0.05).release()
    child.kill()
    child.wait()


def test_a_released_lock_names_nobody(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"):
        assert holder(tmp_path / "lock") is not None
    assert holder(tmp_path / "lock") is None


def test_a_recycled_pid_is_not_taken_for_the_holder() -> None:
    import socket

    born = processes.born(os.getpid())
    assert Holder(socket.gethostname(), os.getpid(), born, {}).alive() is True
    assert Holder(socket.gethostname(), os.getpid(), born - 3600, {}).alive() is False


def test_another_machines_holder_cannot_be_judged_from_here() -> None:
    assert Holder("elsewhere", 1, 0.0, {}).alive() is None


def test_a_holder_of_an_earlier_boot_is_dead() -> None:
    import socket

    born = processes.born(os.getpid())
    assert Holder(socket.gethostname(), os.getpid(), born, {}, boot=processes.boot()).alive() is True
    assert Holder(socket.gethostname(), os.getpid(), born, {}, boot="another").alive() is False


def test_a_jump_of_the_wall_clock_does_not_make_a_holder_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lock(tmp_path / "lock"):
        # psutil adds the boot time, which the kernel moves with the wall clock.
        monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 0.0)
        owner = holder(tmp_path / "lock")
        assert owner is not None
        assert owner.alive() is True
