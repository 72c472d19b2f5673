"""One trial in a process of its own, to be killed: `python -m tests.training.worker FOLDER CACHE BUDGET`.

Prints a line per heartbeat, and at the end the trial's fingerprint.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ablate.training import Progress
from tests.training.tiny import fingerprint, run, tiny, tiny_data


def tell(progress: Progress) -> None:
    print("at", progress.progress, flush=True)


def main(folder: str, cache: str, budget: str) -> None:
    torch.set_num_threads(1)
    data = tiny_data(Path(cache))
    recipe = tiny({"train.dropout": 0.1})
    found = run(Path(folder), data, budget, recipe=recipe, checkpoint_seconds=0.5, on_progress=tell)
    print("done", fingerprint(found), len(found.attempts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
