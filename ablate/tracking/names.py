"""Names of the live view: runs, and what a column of the curve is called by those who log and who draw it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

# The `budget/…` ones are the horizontal axes.
CURVE = {
    "tokens": "budget/tokens",
    "seconds": "budget/seconds",
    "loss": "pretrain/loss",
    "lr": "pretrain/lr",
    "batch": "pretrain/batch",
    "grad_norm": "pretrain/grad_norm",
    "tokens_per_second": "throughput/tokens_per_second",
    "mfu": "throughput/mfu",
    "memory_gib": "cost/peak_memory_gib",
    "energy_kwh": "cost/energy_kwh",
}
OPTIONAL = ("throughput/mfu", "cost/energy_kwh")  # only where a peak is known, and where the device tells

OCCUPIED = (
    "budget/occupied"  # seconds from start to end, evaluation left out; a tracker's own clock is its own
)


def study_id(study: str, created: str) -> str:
    """A study's name and eight hex digits of name and creation time: a project may hold two of one name."""
    return f"{study}-{hashlib.sha256(f'{study} {created}'.encode()).hexdigest()[:8]}"


def run_id(trial: str, study: str, created: str) -> str:
    """The id of a trial's run: the trial's own, and the hex digits of its study's id.

    Trial ids say what is trained and leave the study out, and a project may hold several studies. A trial
    that resumes has the same one.
    """
    return f"{trial}-{study_id(study, created)[-8:]}"


def final(
    metrics: Mapping[str, float],
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    spent: Mapping[str, float],
) -> dict[str, float]:
    """What a trial's run holds at its end: every metric, scores per fine-tuning seed, time occupied."""
    occupied = {OCCUPIED: spent["occupied"]} if "occupied" in spent else {}
    return {**metrics, **per_seed(scores), **occupied}


def per_seed(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Scores of single fine-tuning seeds as summary keys: `scores/cola/matthews/0`, in the record's words."""
    return {
        f"scores/{task}/{metric}/{seed}": value
        for task, metrics in scores.items()
        for metric, values in metrics.items()
        for seed, value in enumerate(values)
    }
