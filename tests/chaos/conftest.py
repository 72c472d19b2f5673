"""Faults over real processes; after the tests a table of them: which fault, how often, how often survived."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.scheduling.clusters import postgres, slurm  # noqa: F401  fixtures
from tests.scheduling.conftest import processes, root  # noqa: F401  fixtures

_table: dict[str, list[int]] = defaultdict(lambda: [0, 0])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    outcome = yield
    report = outcome.get_result()
    mark = item.get_closest_marker("fault")
    if mark is None or report.when != "call" or report.skipped:
        return
    row = _table[mark.args[0]]
    row[0] += 1
    row[1] += report.passed


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _table:
        return
    terminalreporter.section("faults")
    width = max(len(name) for name in _table)
    terminalreporter.write_line(f"{'fault':<{width}}  runs  survived")
    for name, (runs, survived) in _table.items():
        terminalreporter.write_line(f"{name:<{width}}  {runs:>4}  {survived:>8}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 8 MiB; skips where it cannot be mounted."""
    import subprocess

    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs more rights")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
