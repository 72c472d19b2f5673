"""Several trackers as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.tracking.interface import Kept, RunInfo, Tracker


class Composite:
    """Passes every call to each of its trackers, in order."""

    def __init__(self, *trackers: Tracker) -> None:
        self.trackers = trackers

    @property
    def warnings(self) -> list[str]:
        return [line for tracker in self.trackers for line in tracker.warnings]

    def start(self, run: RunInfo) -> None:
        for tracker in self.trackers:
            tracker.start(run)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        for tracker in self.trackers:
            tracker.log(metrics, step=step)

    def summary(self, metrics: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.summary(metrics)

    def keep(self, kept: Kept) -> None:
        for tracker in self.trackers:
            tracker.keep(kept)

    def finish(self, state: str = "complete") -> None:
        for tracker in self.trackers:
            tracker.finish(state)

    def describe(self) -> dict[str, Any]:
        return {key: value for tracker in self.trackers for key, value in tracker.describe().items()}
