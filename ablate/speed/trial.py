"""What a trial takes and sees: steps of growing batches within a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate.optim.batch import stages
from ablate.speed.model import SpeedModel


@dataclass(frozen=True)
class Foreseen:
    """Of one trial."""

    seconds: float  # of training: start-up, validation and evaluation aside
    tokens: float


def foresee(
    model: SpeedModel, recipe: Mapping[str, Any], parameters: int | None, budget: Mapping[str, Any]
) -> Foreseen:
    """Seconds and tokens of a trial under a budget {unit, amount}. Raises UnknownWorkError."""
    amount, train = model.work(recipe, parameters), recipe["train"]
    micro, update = model.micro_seconds(amount), model.update_seconds(amount)
    total = float(budget["amount"])
    ramp = stages(int(train["batch"]), float(train["ramp"]), amount.rows)
    if budget["unit"] == "steps":  # every step counts alike, however large
        parts = sum(share * n for share, n in ramp) * total
        return Foreseen(parts * micro + total * update, parts * amount.tokens)
    # Seconds of one micro-batch, its share of an update included, while steps have n of them.
    each = [(share, micro + update / n) for share, n in ramp]
    if budget["unit"] == "seconds":
        parts = total * sum(share / seconds for share, seconds in each)
        return Foreseen(total, parts * amount.tokens)
    tokens = total if budget["unit"] == "tokens" else total / amount.flops_per_token
    return Foreseen(tokens / amount.tokens * sum(share * seconds for share, seconds in each), tokens)
