"""Freed memory stays with the process: later passes over large blocks touch no fresh page."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from ablate.training.memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def step():
    blocks = [torch.ones(16, 2**20) for _ in range(4)]  # 64 MiB each, above the largest threshold of glibc's own
    return sum(float(block[0, 0]) for block in blocks)


for _ in range(4):  # the heap finds its size
    step()
before = faults()
step()
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is tuned, on Linux only")
def test_a_step_reuses_the_memory_of_the_step_before():
    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    # 256 MiB are 65536 pages of 4 KiB.
    assert faults("leave") > 30_000
    assert faults("keep") < 1_000
