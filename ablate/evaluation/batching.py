"""Random batches of like lengths (shuffle, sort within windows, shuffle the batches), and the learning rate.

Sorting halves the padded tokens, but where length tells something of the label its batches hold one kind of
label, and the last steps undo each other: a regression decided by length stopped at Pearson .93 with sorted
batches of 16 and reached 1.00 with random ones. So a task whose labels go with length keeps random batches.
"""

from __future__ import annotations

import math

import numpy as np

WINDOW = 50  # batches sorted together: padding falls to a few per cent, and 800 examples still mix
# Variance of the batches' mean label, sorted over random. Measured at 16: CoLA 1.05, SST-2 and MRPC 1.13,
# RTE 1.2, the grammar's tasks at most 1.2, LingNLI 0.95; STS-B 1.7.
TOLERATED = 1.5
# What one more forward and backward pass costs on a CPU however short it is, in tokens. Of 4 layers of 256 it
# takes 14 ms and a token 0.2 ms; adding up the gradients comes on top. Of wider models it is fewer tokens.
PRICE = 96


def epoch_batches(lengths: np.ndarray, batch: int, seed: int, window: int = WINDOW) -> list[np.ndarray]:
    """Row numbers of each batch of one epoch; every row exactly once, one batch may be short.

    `window`: how many batches are sorted together; 1 leaves their composition random.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    found: list[np.ndarray] = []
    for start in range(0, len(order), window * batch):
        near = order[start : start + window * batch]
        near = near[np.argsort(lengths[near], kind="stable")]
        found += [near[i : i + batch] for i in range(0, len(near), batch)]
    return [found[i] for i in rng.permutation(len(found))]


def window_for(lengths: np.ndarray, labels: np.ndarray, batch: int) -> int:
    """How many batches may be sorted together: WINDOW, or 1 where that would part the labels.

    `labels`: class numbers (integers) or a regression's values. The same for every arm with one tokenizer.
    """
    whole = len(labels) // batch
    if whole < 2:
        return 1
    columns = labels[:, None] if labels.dtype.kind == "f" else labels[:, None] == np.unique(labels)
    # Equal lengths are in file order, which may be sorted by label: shuffle first.
    order = np.random.default_rng(0).permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")][: whole * batch]
    means = columns[order].reshape(whole, batch, -1).mean(axis=1)
    # Weighing each class by its variance keeps a rare one from deciding by chance.
    by_chance = columns.var(axis=0).sum() / batch
    return WINDOW if means.var(axis=0, ddof=1).sum() <= TOLERATED * by_chance else 1


def epoch_groups(
    lengths: np.ndarray, batch: int, seed: int, window: int, *, split: bool
) -> list[list[np.ndarray]]:
    """The batches of one epoch, each in the groups that are computed together; not `split`: as a whole.

    Gradients of a batch's groups add up to the batch's.
    """
    batches = epoch_batches(lengths, batch, seed, window)
    return [[rows[i] for i in like_lengths(lengths[rows])] if split else [rows] for rows in batches]


def like_lengths(lengths: np.ndarray, price: int = PRICE) -> list[np.ndarray]:
    """A batch's rows in groups of like lengths: those with the fewest tokens, padding included, where every
    group costs as much as `price` tokens more.
    """
    rows = len(lengths)
    if rows * int(lengths.max()) - int(lengths.sum()) <= price:
        return [np.arange(rows)]
    order = np.argsort(lengths, kind="stable")
    widths = lengths[order].astype(np.int64)
    least, begins = np.zeros(rows + 1, np.int64), [0] * (rows + 1)
    # The best groups of the `end` shortest rows: one more after the best before.
    for end in range(1, rows + 1):
        costs = least[:end] + np.arange(end, 0, -1) * widths[end - 1] + price
        begins[end] = int(costs.argmin())
        least[end] = costs[begins[end]]
    found, end = list[np.ndarray](), rows
    while end:
        found.append(order[begins[end] : end])
        end = begins[end]
    return found[::-1]


def steps(rows: int, batch: int, epochs: int) -> int:
    """Optimizer steps of a fine-tuning run."""
    return math.ceil(rows / batch) * epochs


def width(longest: int, limit: int, multiple: int = 8) -> int:
    """A batch's width: its longest row rounded up to a multiple (few, aligned shapes), within the limit."""
    return min(-(-longest // multiple) * multiple, limit)


def factor(schedule: str, warmup: float, progress: float) -> float:
    """Share of the peak rate at a share of the task's own steps: up over the warm-up, then the shape."""
    if progress < warmup:
        return progress / warmup
    rest = (progress - warmup) / (1 - warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    return 1 - rest if schedule == "linear" else 1.0
