"""Held-out masked-language-model loss: one task for every arm, whatever its own masking is."""

from __future__ import annotations

import torch
from torch import nn

from ablate.data import Batches, Prepared
from ablate.model.precision import PrecisionConfig

# Every arm and block predicts the same tokens: the original BERT's rate, all of them masked, so that arms
# with another rate or rule are measured alike, and none on inputs that only its rule shows (random words).
RATE = 0.15
SEED = 20_221_228
ROWS = 1024


@torch.no_grad()
def mlm_loss(
    model: nn.Module, data: Prepared, *, vocabulary: int, precision: PrecisionConfig, micro: int = 32
) -> float:
    """Mean cross-entropy in nats per masked token over up to 1024 rows; NaN when nothing is held out.

    The forward pass is that of training, few-bit products too: they are part of what was trained.
    """
    rows = data.validation[:ROWS]
    if not len(rows):
        return float("nan")
    device = next(model.parameters()).device
    batches = Batches(
        rows,
        None,
        order_seed=SEED,
        mask_seed=SEED,
        mask_rate=RATE,
        mask_rule="all-mask",
        vocabulary=vocabulary,
    )
    was_training = model.training
    model.eval()
    total, count, forward = 0.0, 0, precision.calls(model)
    with precision.arithmetic(device.type):
        for start in range(0, len(rows), micro):
            batch = batches.batch(start, min(micro, len(rows) - start))
            found = (torch.from_numpy(a).to(device) for a in (batch.ids, batch.positions, batch.labels))
            total += float(forward(*found)) * len(batch.labels)
            count += len(batch.labels)
    model.train(was_training)
    return total / count
