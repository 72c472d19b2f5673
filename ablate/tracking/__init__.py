"""Live views of running trials. Records are the truth; nothing is read back from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ablate.tracking.composite import Composite
from ablate.tracking.config import TrackSpec, WandbSpec, project_name
from ablate.tracking.interface import Kept, RunInfo, Tracker
from ablate.tracking.live import LiveFile
from ablate.tracking.null import Null

__all__ = [
    "Composite", "Kept", "LiveFile", "Null", "RunInfo", "TrackSpec", "Tracker", "WandbSpec", "make_tracker",
    "project_name",
]  # fmt: skip


def make_tracker(spec: TrackSpec | Mapping[str, Any] | None, run: RunInfo) -> Tracker:
    """The tracker that a study's `track:` section asks for, started on `run`.

    Takes the section as a TrackSpec or as the plain mapping of a task file. Raises pydantic.ValidationError
    for a section that is not one; a backend that cannot be reached is a line in `warnings`, not an error.
    """
    spec = spec if isinstance(spec, TrackSpec) else TrackSpec.model_validate(spec or {})
    wandb = spec.wandb
    if wandb is None or wandb.mode == "disabled":
        return Null()
    from ablate.tracking.wandb import Wandb  # the SDK takes 0.7 s to import: only where it is wanted

    tracker = Wandb(wandb)
    project = wandb.project or project_name(run.project)
    tracker.start(replace(run, project=project, tags=(*run.tags, *wandb.tags)))
    return tracker
