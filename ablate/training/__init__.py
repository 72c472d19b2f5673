"""Pretraining under a budget. Torch and Lightning are imported only when training is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ablate.training.progress import Progress

if TYPE_CHECKING:
    from ablate.training.config import TrainConfig
    from ablate.training.module import MaskedLanguageModel
    from ablate.training.pretraining import Trained, train

__all__ = ["MaskedLanguageModel", "Progress", "TrainConfig", "Trained", "train"]

_HOMES = {
    "MaskedLanguageModel": "module",
    "TrainConfig": "config",
    "Trained": "pretraining",
    "train": "pretraining",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"ablate.training.{_HOMES[name]}"), name)
