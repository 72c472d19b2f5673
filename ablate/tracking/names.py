"""Metric names of the live view, for those who draw it: what a column of the curve is called there."""

# The `budget/…` ones are the horizontal axes.
CURVE = {
    "tokens": "budget/tokens",
    "seconds": "budget/seconds",
    "loss": "pretrain/loss",
    "lr": "pretrain/lr",
    "batch": "pretrain/batch",
    "grad_norm": "pretrain/grad_norm",
    "tokens_per_second": "throughput/tokens_per_second",
}
