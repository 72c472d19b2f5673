"""The `track:` section of a study file. Imports no backend."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ablate.knobs import Config

Mode = Literal["online", "offline", "disabled"]
Thing = Literal["predictions", "checkpoint", "data"]
_REFUSED = re.compile(r"[/\\#?%:]")  # what the SDK refuses in a project's name


def _project(name: str | None) -> str | None:
    if name is not None and (not name or len(name) > 128 or _REFUSED.search(name)):
        raise ValueError(
            f"a W&B project has 1 to 128 characters and none of / \\ # ? % : in its name; got {name!r}"
        )
    return name


def project_name(study: str) -> str:
    """A study's name as a project's name that W&B takes."""
    return _REFUSED.sub("-", study)[:128] or "ablate"


Project = Annotated[
    str | None,
    Field(description="W&B project; the study's name when absent"),
    AfterValidator(_project),
]
Tag = Annotated[str, Field(min_length=1, max_length=64)]  # W&B's own bounds
Entity = Annotated[str | None, Field(description="W&B user or team; the login's default when absent")]


class WandbSpec(Config):
    """Weights & Biases. Runs stay on this disk until `mode: online`, a project and a login are there."""

    project: Project = None
    entity: Entity = None
    mode: Annotated[Mode, Field(description="online, offline (default) or disabled")] = "offline"
    tags: Annotated[tuple[Tag, ...], Field(description="tags that every run of the study carries")] = ()
    keep: Annotated[
        tuple[Thing, ...],
        Field(
            description="what is uploaded beside the numbers: predictions (a table per task), "
            "checkpoint and data manifest (artifacts)"
        ),
    ] = ()


class TrackSpec(Config):
    """Where trials show themselves while they run; nowhere by default."""

    wandb: Annotated[WandbSpec | None, Field(description="Weights & Biases, or null")] = None
