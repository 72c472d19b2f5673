"""A recipe that trains in seconds on one core, and what tests ask of a trained one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ablate.budget import Budget
from ablate.data import Prepared, prepare
from ablate.knobs import replace
from ablate.recipe import Recipe, preset
from ablate.records import TrialPaths
from ablate.training import Trained, train

TINY = {
    "data.source": {"kind": "grammar", "megabytes": 1},
    "data.tokenizer": {"kind": "wordpiece", "vocabulary": 512},
    "data.length": 16,
    "data.token_ratio": None,
    "model.layers": 1,
    "model.width": 16,
    "model.intermediate": 32,
    "model.heads": 2,
    "train.micro_batch": 4,
    "train.batch": 16,
    "train.compile": False,
    "train.precision": "fp32",
}


def tiny(changes: dict[str, Any] | None = None) -> Recipe:
    return replace(preset("crammed-small"), {**TINY, **(changes or {})})


def tiny_data(cache: Path) -> Prepared:
    return prepare(tiny().data, cache)


def run(
    folder: Path, data: Prepared, budget: str = "20 steps", *, recipe: Recipe | None = None, **how: Any
) -> Trained:
    given = {"seed": 3, "threads": 1, **how}
    return train(recipe or tiny(), budget=Budget.parse(budget), data=data, paths=TrialPaths(folder), **given)


def fingerprint(trained: Trained) -> str:
    """A digest of every weight's bits and every step's loss."""
    digest = hashlib.sha256()
    for name, tensor in trained.model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    digest.update(repr(trained.losses).encode())
    return digest.hexdigest()


class Ticking:
    """A clock that moves on by a fixed time whenever it is read, so that a time budget is reproducible."""

    def __init__(self, step: float = 0.001) -> None:
        self.time, self.step = 100.0, step

    def __call__(self) -> float:
        self.time += self.step
        return self.time
