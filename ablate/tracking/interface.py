"""What the rest of the platform knows about tracking: five verbs and what a run is called.

Records are the truth, a tracker the live view: nothing here is ever read back, and no tracker may fail or
slow a trial. What went wrong is kept in `warnings`, which the trial copies into its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class RunInfo:
    """The names of a run: project, group = study, job type = arm, name = `arm/block`, config = the recipe.

    `id` is the trial's id, so that a resumed trial continues the same run. `directory` is the trial's own
    folder; a backend that needs files keeps them in a folder of its own below (`wandb/`).
    """

    id: str
    project: str
    group: str
    job_type: str
    name: str
    directory: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @classmethod
    def of_trial(
        cls, *, study: str, trial: str, arm: str, block: int, directory: Path, config: Mapping[str, Any],
        tags: tuple[str, ...] = (), project: str | None = None,
    ) -> RunInfo:  # fmt: skip
        """The run of one trial; the project is the study's own name unless one is given."""
        return cls(trial, project or study, study, arm, f"{arm}/{block}", directory, config, tags)


@dataclass(frozen=True)
class Kept:
    """What a trial leaves on disk beside its numbers; a tracker takes of it what its section asks for."""

    predictions: Path  # a folder with one parquet file per task
    checkpoint: Path  # a folder; the newest checkpoint in it is the trial's
    data: Mapping[str, Any] = field(default_factory=dict)  # the data's manifest


class Tracker(Protocol):
    """Where a trial shows itself while it runs."""

    @property
    def warnings(self) -> list[str]:
        """What went wrong, each thing once; each line says the way out."""
        ...

    def start(self, run: RunInfo) -> None: ...

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Metrics named `family/name` at an optimizer step; steps never decrease."""
        ...

    def summary(self, metrics: Mapping[str, float]) -> None:
        """Final numbers of the run (GLUE, cost)."""
        ...

    def keep(self, kept: Kept) -> None:
        """Larger things (predictions, checkpoint, data manifest), where the study asked for them."""
        ...

    def finish(self, state: str = "complete") -> None:
        """End the run; `state` is the trial's state (`complete`, `diverged`, …)."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the record keeps about where the run can be seen; never a secret."""
        ...
