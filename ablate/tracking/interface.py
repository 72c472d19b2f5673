"""What the rest of the platform knows about tracking: five verbs and what a run is called.

Records are the truth, a tracker the live view: nothing here is ever read back, and no tracker may fail or
slow a trial. What went wrong is kept in `warnings`, which the trial copies into its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ablate.tracking.names import run_id, study_id


@dataclass(frozen=True)
class RunInfo:
    """The names of a run: project, group = study, job type = arm, name = `arm/block`, config = the recipe.

    `id` is made of trial and study (`names.run_id`), so that a resumed trial continues the same run and two
    studies in one project have runs of their own; the config's `study_id` tells two of one name apart, which
    share the group. `directory` is the trial's own folder, STUDY/trials/ID; a
    backend that needs files keeps them in a folder of its own below (`wandb/`).
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
        tags: tuple[str, ...] = (), project: str | None = None, created: str = "",
    ) -> RunInfo:  # fmt: skip
        """The run of one trial of a study `created` then; the project is its name unless one is given."""
        marked = {**config, "study_id": study_id(study, created)}
        return cls(
            run_id(trial, study, created),
            project or study,
            study,
            arm,
            f"{arm}/{block}",
            directory,
            marked,
            tags,
        )


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
