"""What a design is made of: an arm is a complete recipe, a budget, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ablate.budget import Budget
from ablate.knobs import differences
from ablate.recipe import Recipe

BASELINE = "baseline"
BUDGET = "budget"  # may be varied like a knob: `budget: [0 steps]` is an arm without pretraining

Phase = Literal["screen", "tune", "confirm"]
Loc = tuple[Any, ...]
Tell = Callable[[Loc, str], None]


@dataclass(frozen=True)
class Arm:
    """One combination of levels: a complete recipe and its budget.

    `reference` is the arm it is contrasted with: the baseline, or the step before it in a cumulative design.
    """

    name: str
    recipe: Recipe
    budget: Budget
    reference: str | None = None
    group: str | None = None
    levels: Mapping[str, str] = field(default_factory=dict, compare=False)  # every factor's level
    phase: Phase = "confirm"
    family: bool = True  # its contrast is one of those that are corrected together
    replicate: int = 0  # weights of its own on the same data: 0 is the first
    blocks: int | None = None  # how many it runs on; None: all
    loc: Loc = field(default=(), compare=False)  # where the study file asks for it

    def changes(self, baseline: Arm) -> dict[str, tuple[Any, Any]]:
        """What differs from the baseline, and nothing else: path → (baseline, arm)."""
        found = differences(baseline.recipe, self.recipe)
        if self.budget != baseline.budget:
            found[BUDGET] = (str(baseline.budget), str(self.budget))
        return found
