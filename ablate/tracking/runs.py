"""Reading runs back from W&B, for `ablate import`: plain values, no object of the SDK."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class WandbReadError(ValueError):
    """The project cannot be read; the message says what W&B said."""


@dataclass(frozen=True)
class TrackedRun:
    """One run as W&B holds it."""

    id: str
    name: str
    group: str
    job_type: str
    state: str
    created: str
    config: dict[str, Any]
    summary: dict[str, Any]


def read_runs(path: str, group: str | None = None) -> Iterator[TrackedRun]:
    """The runs of ENTITY/PROJECT, oldest first. Raises WandbReadError."""
    import requests
    import wandb

    try:
        api = wandb.Api(timeout=30)
        found = api.runs(path, filters={"group": group} if group else None, per_page=100, lazy=False)
        for run in found:
            yield TrackedRun(
                id=run.id, name=run.name or run.id, group=run.group or "", job_type=run.job_type or "",
                state=run.state, created=run.created_at or "",
                config={k: v for k, v in dict(run.config).items() if not k.startswith("_")},
                summary=dict(run.summary_metrics),
            )  # fmt: skip
    except (ValueError, wandb.errors.Error, requests.RequestException) as error:
        raise WandbReadError(
            f"wandb:{path} cannot be read: {error}; check the name and `wandb login`"
        ) from error
