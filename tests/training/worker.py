"""One trial in a process of its own, to be killed: `python -m tests.training.worker FOLDER CACHE BUDGET`.

Prints a line for every hundredth of the budget, and at the end the trial's fingerprint.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from ablate.tracking.null import Null
from tests.training.tiny import fingerprint, run, tiny, tiny_data


class Telling(Null):
    def log(self, values: Any, *, step: int) -> None:
        print("at", step, flush=True)


def main(folder: str, cache: str, budget: str) -> None:
    torch.set_num_threads(1)
    data = tiny_data(Path(cache))
    recipe = tiny({"train.dropout": 0.1})
    found = run(Path(folder), data, budget, recipe=recipe, checkpoint_seconds=0.05, tracker=Telling())
    print("done", fingerprint(found), len(found.attempts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
