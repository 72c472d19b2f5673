"""The model: one concept per file, all its variants inside. Torch is imported when a part is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.model.bert import Bert, Block, Encoder
    from ablate.model.classification import ClassificationHead, Pooler
    from ablate.model.config import ModelConfig
    from ablate.model.size import flops_per_token, parameters

__all__ = [
    "Bert",
    "Block",
    "ClassificationHead",
    "Encoder",
    "ModelConfig",
    "Pooler",
    "flops_per_token",
    "parameters",
    "set_dropout",
]

# The precisions stand here and are torch-free, because the knobs of training name them.
_HOMES = {
    "Bert": "bert",
    "Block": "bert",
    "ClassificationHead": "classification",
    "Encoder": "bert",
    "ModelConfig": "config",
    "Pooler": "classification",
    "flops_per_token": "size",
    "parameters": "size",
    "set_dropout": "dropout",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"ablate.model.{_HOMES[name]}"), name)
