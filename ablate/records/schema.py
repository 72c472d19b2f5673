"""The schema of `study.json` and `record.json`: plain JSON underneath, checked on the way in.

A frozen study is written before the first trial and fixes question, arms, outcome, margin and family.
Readers tolerate keys they do not know (a newer minor writer) and refuse a newer `schema` number.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1

State = Literal["complete", "diverged", "out-of-memory", "lost", "timeout", "evaluation-error", "failed"]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class FrozenArm(_Stored):
    """One arm: a complete recipe, and how it differs from the baseline (path → [baseline, arm])."""

    name: str
    changes: dict[str, list[Any]] = Field(default_factory=dict)
    recipe: dict[str, Any]
    budget: dict[str, Any]  # {unit, amount}
    group: str | None = None
    reference: str | None = None  # the arm it is contrasted with; None for the baseline itself
    parameters: int | None = None


class FrozenStudy(_Stored):
    """What was asked, fixed before the first result."""

    schema_: int = Field(SCHEMA, alias="schema")
    name: str
    question: str
    title: str = ""
    created: str  # ISO 8601, UTC
    source: str = ""  # the study file's name
    source_sha256: str = ""
    outcome: dict[str, Any]  # {metric, margin, higher_is_better}
    family: list[str]  # arms whose contrasts are corrected together
    alpha: float = 0.05
    design: str  # one-factor, cumulative, …
    factors: dict[str, list[Any]] = Field(default_factory=dict)
    budget: dict[str, Any]
    charge: Literal["training", "occupied"] = "training"
    blocks: list[int]  # the seed of each block
    arms: list[FrozenArm]  # the baseline first
    evaluate: dict[str, Any] = Field(default_factory=dict)
    track: dict[str, Any] = Field(default_factory=dict)
    run: dict[str, Any] = Field(default_factory=dict)
    scale: dict[str, dict[str, float]] = Field(default_factory=dict)  # reference scores shown for scale
    notes: list[str] = Field(default_factory=list)
    claims: dict[str, dict[str, str]] = Field(default_factory=dict)  # varied knob → meaning, paper, domain
    post_hoc: list[str] = Field(default_factory=list)  # what was changed after data had arrived
    trials: dict[str, list[Any]] = Field(default_factory=dict)  # trial id → [arm name, block index]

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Record(_Stored):
    """What one trial left: everything needed to recompute a finding, or to say why there is none."""

    schema_: int = Field(SCHEMA, alias="schema")
    study: str
    trial: str
    arm: str
    block: int
    seed: int
    state: State
    reason: str = ""
    retry: bool = True  # false: the same input fails the same way again (missing data, a wrong file)
    recipe: dict[str, Any]
    budget: dict[str, Any]
    charge: Literal["training", "occupied"] = "training"
    streams: dict[str, int] = Field(default_factory=dict)
    started: str = ""
    finished: str = ""
    attempts: list[dict[str, Any]] = Field(default_factory=list)  # {started, ended, reason, refunded_seconds}
    spent: dict[str, float] = Field(default_factory=dict)  # budget.Spent.to_dict()
    metrics: dict[str, float] = Field(default_factory=dict)  # "family/name" → number
    scores: dict[str, dict[str, list[float]]] = Field(
        default_factory=dict
    )  # task → metric → per fine-tuning seed
    hardware: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    git: dict[str, Any] = Field(default_factory=dict)
    chosen: dict[str, Any] = Field(default_factory=dict)  # knobs that the recipe left to the device
    data: dict[str, Any] = Field(default_factory=dict)  # fingerprint, tokens, documents, source, epochs
    tracking: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
