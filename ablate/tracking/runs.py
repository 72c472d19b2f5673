"""Reading runs back from W&B, to import them and to see what has arrived: plain values, none of the SDK's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class WandbReadError(ValueError):
    """The project cannot be read; the message says what W&B said."""


class NoProjectError(WandbReadError):
    """There is no project of that name yet, or none that this account may read."""


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

    @property
    def step(self) -> int:
        """The last step that has arrived; -1 before the first."""
        return int(self.summary.get("_step", -1))

    @property
    def ended(self) -> str | None:
        """The state of its trial that a tracker left at the run's end, which it sends last."""
        return self.summary.get("state")


def read_runs(path: str, group: str | None = None) -> Iterator[TrackedRun]:
    """The runs of ENTITY/PROJECT, oldest first. Raises WandbReadError."""
    import requests
    import wandb

    from ablate.tracking.wandb import api

    try:
        found = api(30.0).runs(path, filters={"group": group} if group else None, per_page=100, lazy=False)
        for run in found:
            yield _plain(run)
    except (ValueError, wandb.errors.Error, requests.RequestException) as error:
        kind = NoProjectError if str(error).startswith("Could not find project") else WandbReadError
        raise kind(f"wandb:{path} cannot be read: {error}; check the name and `wandb login`") from error


def read_run(path: str, seconds: float) -> TrackedRun:
    """The run ENTITY/PROJECT/ID; no answer may take more than `seconds`. Raises WandbReadError."""
    from ablate.tracking.wandb import answered, api

    with answered(WandbReadError):
        return _plain(api(seconds).run(path))


def _plain(run: Any) -> TrackedRun:
    return TrackedRun(
        id=run.id, name=run.name or run.id, group=run.group or "", job_type=run.job_type or "",
        state=run.state, created=run.created_at or "",
        config={k: v for k, v in dict(run.config).items() if not k.startswith("_")},
        summary=dict(run.summary_metrics),
    )  # fmt: skip
