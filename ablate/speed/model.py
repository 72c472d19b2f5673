"""What a step takes on one machine: seconds per unit of work, fitted to measured steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ablate.speed.work import UnknownWorkError, Work, differing, work

LOGITS = "logits of a micro-batch"
BEYOND = 2.0  # how far outside the sizes that were measured a recipe is still predicted
WITHIN = 0.2  # of a recipe that was not measured: what held-out recipes are held against


class SpeedModel(BaseModel):
    """Seconds per unit of each column of work, on one device, in one precision."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    device: str  # the processor's or the GPU's name
    threads: int
    precision: str
    compiled: bool
    clock: str  # cpu or wall: what the seconds are of
    date: str
    command: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    recipe: dict[str, Any]  # what was varied around; knobs that are not counted must be as in it
    micro: dict[str, float]  # column → seconds, of a micro-batch forward and backward
    update: dict[str, float]  # … of one update
    loop: float = 0.0  # seconds that a trial's own loop adds to each micro-batch
    sizes: dict[str, tuple[float, float]]  # smallest and largest that was measured
    held_out: dict[str, float] = Field(default_factory=dict)  # recipe → relative error of its step

    def micro_seconds(self, amount: Work) -> float:
        """Of one micro-batch, forward and backward. Raises UnknownWorkError."""
        return _seconds(self.micro, amount.micro) + self.loop

    def update_seconds(self, amount: Work) -> float:
        """Of clipping and one update."""
        return _seconds(self.update, amount.update)

    def work(self, recipe: Mapping[str, Any], parameters: int | None) -> Work:
        """The work of a recipe that this model may speak of. Raises UnknownWorkError with the reason."""
        others = differing(recipe, self.recipe)
        if others:
            raise UnknownWorkError(f"{others[0]} is not as it was measured, and its cost is not modelled")
        try:
            found = work(recipe, parameters)
        except (KeyError, TypeError) as error:  # a recipe of another version
            raise UnknownWorkError(f"the recipe does not say what a step computes: {error}") from None
        for name, size in sizes(recipe, found).items():
            low, high = self.sizes[name]
            # Few logits cost little; many no longer fit the caches that fewer did.
            low = 0.0 if name == LOGITS else low
            if not low / BEYOND <= size <= high * BEYOND:
                raise UnknownWorkError(f"{name} {size:g} is far from what was measured ({low:g} to {high:g})")
        return found


def sizes(recipe: Mapping[str, Any], amount: Work) -> dict[str, float]:
    """The sizes by which a recipe is near others or far from them."""
    model = recipe["model"]
    return {
        "model.layers": model["layers"], "model.width": model["width"],
        "width of a head": model["width"] / model["heads"],
        "model.intermediate": model["intermediate"], "data.length": amount.length,
        "data.tokenizer.vocabulary": recipe["data"]["tokenizer"]["vocabulary"],
        "tokens of a micro-batch": amount.tokens, LOGITS: amount.micro["logits"],
    }  # fmt: skip


def _seconds(rates: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    total = 0.0
    for column, amount in amounts.items():
        if not amount:
            continue
        if column not in rates:
            raise UnknownWorkError(f"{column} was not measured")
        total += rates[column] * amount
    return total


def fit(amounts: Sequence[Mapping[str, float]], seconds: Sequence[float]) -> dict[str, float]:
    """Seconds per unit of each column, none negative, by least squares of the relative errors."""
    import numpy as np
    from scipy.optimize import nnls

    columns = list(dict.fromkeys(column for row in amounts for column, amount in row.items() if amount))
    matrix = np.array([[row.get(column, 0.0) for column in columns] for row in amounts])
    scale = matrix.max(axis=0)  # columns run from 1 to 1e12; equal ones are solved to the last digits
    taken = np.asarray(seconds)
    rates, _ = nnls(matrix / scale / taken[:, None], np.ones(len(taken)), maxiter=100 * len(columns))
    return dict(zip(columns, (rates / scale).tolist(), strict=True))
