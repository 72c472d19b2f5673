"""The batch ramp: how many sequences an optimizer step takes at a given progress."""

from __future__ import annotations


def batch_size(progress: float, batch: int, ramp: float, micro: int) -> int:
    """Sequences in the next optimizer step, a multiple of `micro` (Cramming, section 4.3 and its code).

    Over the first `ramp` share of the budget the batch grows linearly from one micro-batch to `batch`;
    `ramp = 0` is the full batch from the start.
    """
    if ramp <= 0 or progress >= ramp:
        return batch
    # 1e-9: 0.3 · 8192 / 0.6 is 4096 sequences, not the 4095.999… of floating point.
    grown = int(progress * batch / ramp + 1e-9)
    return min((grown // micro + 1) * micro, batch)
