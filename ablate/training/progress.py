"""How far a trial is, as its heartbeat tells it; plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from ablate.budget import Spent

Phase = Literal["data", "pretrain", "evaluate"]


@dataclass(frozen=True)
class Progress:
    """One heartbeat of a trial. What is not known yet is None."""

    phase: Phase
    progress: float  # share of the phase, in [0, 1]
    loss: float | None = None  # training loss since the last heartbeat
    tokens_per_second: float | None = None
    spent: Spent = field(default_factory=Spent)
    eta_seconds: float | None = None  # until the phase ends

    def to_dict(self) -> dict[str, Any]:
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**own, "spent": self.spent.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Progress:
        """Read a heartbeat back; unknown keys are ignored. Raises ValueError for an unknown phase."""
        if data.get("phase") not in get_args(Phase):
            raise ValueError(f"phase is one of {', '.join(get_args(Phase))}; got {data.get('phase')!r}")
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        names = {f.name for f in fields(Spent)}
        spent = Spent(**{k: v for k, v in dict(known.get("spent") or {}).items() if k in names})
        return cls(**{**known, "spent": spent})
