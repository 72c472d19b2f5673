"""What stopping early spared: blocks that no open verdict asked for. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.records import FrozenStudy, Record


@dataclass(frozen=True)
class Spared:
    """Against every arm on the most blocks; hours at the mean of the trials that ran."""

    trials: int
    most: int
    hours: float | None

    def __str__(self) -> str:
        hours = "" if self.hours is None else f", {self.hours:.3g} device-hours"
        share = self.trials / self.most if self.most else 0.0
        return (
            f"blocks were added only where a verdict was open: {self.trials} of {self.most} trials{hours} "
            f"were not needed ({share:.0%})"
        )


def spared(study: FrozenStudy, records: Sequence[Record]) -> Spared | None:
    """Trials and device-hours that were not needed; None where the number of blocks is fixed."""
    if not study.elastic:
        return None
    compared = {arm.name for arm in study.arms if arm.phase == "confirm"}
    ran = [name for name, _ in study.trials.values() if name in compared]
    most = len(compared) * int(study.elastic["max"])
    took = [r.spent.get("occupied", 0.0) + r.spent.get("evaluation", 0.0) for r in records]
    mean = sum(took) / len(took) / 3600 if took else None
    left = most - len(ran)
    return Spared(left, most, None if mean is None else left * mean)
