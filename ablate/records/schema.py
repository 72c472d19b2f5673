"""The schema of `study.json` and `record.json`: plain JSON underneath, checked on the way in.

A frozen study is written before the first trial and fixes question, arms, outcome, margin and family.
Readers tolerate keys they do not know (a newer minor writer) and refuse a newer `schema` number.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1

Phase = Literal["screen", "tune", "confirm"]
# "pruned": ended early by a search because others did better; no failure
State = Literal[
    "complete", "pruned", "diverged", "out-of-memory", "lost", "timeout", "evaluation-error", "failed"
]


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
    levels: dict[str, str] = Field(default_factory=dict)  # every factor's level, as people write it
    breaches: dict[str, str] = Field(default_factory=dict)  # of the strict rules: knob path → why
    phase: Phase = "confirm"
    replicate: int = 0  # above 0: weights of its own on the block's data and masks (an A/A contrast)
    search: str | None = None  # the search that drew it, with what it drew:
    params: dict[str, Any] = Field(default_factory=dict)  # qualified knob → value
    distributions: dict[str, str] = Field(default_factory=dict)  # … → Optuna's distribution, as JSON
    tuned: dict[str, Any] = Field(default_factory=dict)  # nuisance knobs as tuning left them


class Search(_Stored):
    """A sampler over a space, starting from one arm; it draws arms until its trials are used up."""

    name: str
    base: str  # the arm that it starts from
    phase: Phase
    space: dict[str, Any]  # knob → `all`, {levels} or {low, high, log, integer}
    sampler: dict[str, Any]
    pruner: dict[str, Any] | None = None
    trials: int  # arms it may draw
    blocks: list[int]  # indices of the blocks that each of them runs on
    seed: int
    budget: dict[str, Any]
    priors: list[dict[str, Any]] = Field(default_factory=list)  # {params, values, trial, study}


class FrozenStudy(_Stored):
    """What was asked, fixed before the first result."""

    schema_: int = Field(SCHEMA, alias="schema")
    name: str
    question: str
    title: str = ""
    created: str  # ISO 8601, UTC
    source: str = ""  # the study file's path, as `ablate run` takes it
    source_sha256: str = ""
    command: str = ""  # of imported runs: the line that imports them again
    outcome: dict[str, Any]  # {metric, margin, higher_is_better}
    family: list[str]  # arms whose contrasts are corrected together
    alpha: float = 0.05
    design: str  # one-factor, cumulative, …
    factors: dict[str, list[Any]] = Field(default_factory=dict)  # factor → its levels, the baseline's first
    resolution: int | None = None  # of a fractional factorial
    aliases: list[str] = Field(default_factory=list)  # what its runs cannot tell apart
    searches: list[Search] = Field(default_factory=list)  # what draws arms while the study runs
    confirm: dict[str, int] = Field(default_factory=dict)  # {top, blocks}: the best of a search, run again
    elastic: dict[str, Any] = Field(default_factory=dict)  # {min, max, until}: blocks are added by verdict
    tradeoff: dict[str, Any] = Field(default_factory=dict)  # a search's second outcome
    budget: dict[str, Any]
    charge: Literal["training", "occupied", "not recorded"] = "training"  # the last: imported runs
    rules: Literal["strict", "open", "not recorded"] = "strict"  # the last: imported runs
    blocks: list[int]  # the seed of each block
    paired: bool = True  # false: blocks of different arms share nothing (imported runs without blocks)
    arms: list[FrozenArm]  # the baseline first
    evaluate: dict[str, Any] = Field(default_factory=dict)
    track: dict[str, Any] = Field(default_factory=dict)
    run: dict[str, Any] = Field(default_factory=dict)
    scale: dict[str, dict[str, float]] = Field(default_factory=dict)  # reference scores shown for scale
    notes: list[str] = Field(default_factory=list)
    cautions: list[str] = Field(default_factory=list)  # couplings to mind, with the arms they are true of
    claims: dict[str, dict[str, str]] = Field(default_factory=dict)  # varied knob → meaning, paper, domain
    post_hoc: list[str] = Field(default_factory=list)  # what was changed after data had arrived
    trials: dict[str, list[Any]] = Field(default_factory=dict)  # trial id → [arm name, block index]

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Growth(_Stored):
    """What was added to a study while it ran: drawn or tuned arms, added blocks."""

    why: str
    arms: list[FrozenArm] = Field(default_factory=list)
    trials: dict[str, list[Any]] = Field(default_factory=dict)


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
