"""The size of a micro-batch where a recipe leaves it to the device (`train.micro_batch: null`).

A GPU is filled by memory: sizes that halve the batch are tried from the smallest, and the next one is
extrapolated, so that none runs out of memory. The room is a share of the device's whole memory, not of what
is free at the moment, so that trials on equal devices choose alike. A CPU is full long before its memory is:
there the size is CPU_TOKENS tokens, where tokens per second stop growing (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ablate.training.datamodule import PretrainingData
    from ablate.training.module import MaskedLanguageModel

CPU_TOKENS = 8192
SHARE = 0.85  # of a GPU's memory; the rest is for fragments, kernels and what else holds some
STATE = 4  # copies of the parameters that an optimizer step may need and that are not there yet


def sizes(batch: int) -> list[int]:
    """The batch and its halves, ascending: what a micro-batch may be."""
    found = [batch]
    while found[-1] % 2 == 0:
        found.append(found[-1] // 2)
    return found[::-1]


def largest(sizes: Sequence[int], need: Callable[[int], float], room: float) -> int:
    """The largest of the ascending `sizes` whose need is within `room`; the smallest where none is.

    `need` is measured for one size after the other, but for none that would exceed the room in a straight
    line through the two before it: what a micro-batch needs is a constant and a share per row.
    """
    measured: list[tuple[int, float]] = []
    for size in sizes:
        if len(measured) > 1:
            (first, low), (second, high) = measured[-2:]
            if high + (high - low) / (second - first) * (size - second) > room:
                break
        measured.append((size, need(size)))
        if measured[-1][1] > room:
            break
    fitting = [size for size, needed in measured if needed <= room]
    return max(fitting, default=sizes[0])


def fill(module: MaskedLanguageModel, data: PretrainingData, device: torch.device) -> int:
    """Rows of a micro-batch that fill the device, tried on `module` without changing it."""
    found = sizes(module.recipe.train.batch)
    if device.type != "cuda":
        return largest(found, lambda size: size * module.recipe.data.length, CPU_TOKENS)

    def need(size: int) -> float:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        module.forward_pass.attempt(data.micro_batch(0, device, size))
        return float(torch.cuda.max_memory_reserved(device))

    parameters = sum(p.numel() * p.element_size() for p in module.model.parameters())
    total = torch.cuda.get_device_properties(device).total_memory
    chosen = largest(found, need, SHARE * total - STATE * parameters)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return chosen
