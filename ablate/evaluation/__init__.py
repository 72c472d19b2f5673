"""Evaluation: fine-tune on GLUE, on the grammar's tasks and on a user's own; score, keep every prediction.

Importing this package loads no torch; `evaluate` does when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ablate.evaluation.checks import check, fetch
from ablate.evaluation.config import EvaluateSpec, FinetuneConfig
from ablate.evaluation.reference import majority, scale, tfidf
from ablate.evaluation.sources import TaskError
from ablate.evaluation.tasks import EvaluationError, Task

if TYPE_CHECKING:
    from ablate.evaluation.suite import Evaluation, evaluate

__all__ = [
    "EvaluateSpec", "Evaluation", "EvaluationError", "FinetuneConfig", "Task", "TaskError",
    "check", "evaluate", "fetch", "majority", "scale", "tfidf",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("evaluate", "Evaluation"):
        from ablate.evaluation import suite

        return getattr(suite, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
