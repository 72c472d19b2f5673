"""The tracker that shows nothing, for studies without one and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.tracking.interface import Kept, RunInfo


class Null:
    """Accepts everything, keeps nothing."""

    @property
    def warnings(self) -> list[str]:
        return []

    def start(self, run: RunInfo) -> None:
        pass

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        pass

    def summary(self, metrics: Mapping[str, float]) -> None:
        pass

    def keep(self, kept: Kept) -> None:
        pass

    def finish(self, state: str = "complete") -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {}
