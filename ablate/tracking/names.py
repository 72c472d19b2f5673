"""Metric names of the live view: what a column of the curve is called by those who log and who draw it."""

from __future__ import annotations

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


def per_seed(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Scores of single fine-tuning seeds as summary keys: `scores/cola/matthews/0`, in the record's words."""
    return {
        f"scores/{task}/{metric}/{seed}": value
        for task, metrics in scores.items()
        for metric, values in metrics.items()
        for seed, value in enumerate(values)
    }
