"""ablate: which choices in training a BERT matter under a fixed budget on one GPU, and how sure are we?

The public surface; what needs torch is imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "Budget": "ablate.budget",
    "Recipe": "ablate.recipe",
    "preset": "ablate.recipe",
    "Study": "ablate.study",
    "StudyError": "ablate.study",
    "MaskedLanguageModel": "ablate.training",
    "train": "ablate.training",
    "evaluate": "ablate.evaluation",
    "analyze": "ablate.analysis",
    "load_records": "ablate.records",
    "read_study": "ablate.records",
}
__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from ablate.analysis import analyze
    from ablate.budget import Budget
    from ablate.evaluation import evaluate
    from ablate.recipe import Recipe, preset
    from ablate.records import load_records, read_study
    from ablate.study import Study, StudyError
    from ablate.training import MaskedLanguageModel, train


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ablate' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)
