"""Findings: what a study's records say, as plain values that any page or table can be drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from ablate.analysis.paired import Effect, Equivalence

Verdict = Literal["helps", "hurts", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class Outcome:
    """The one quantity the study decides on; the margin is the largest difference that would not matter."""

    metric: str
    margin: float | None
    higher_is_better: bool
    unit: str
    label: str


@dataclass(frozen=True)
class Value:
    """A metric of one arm over its usable blocks."""

    mean: float
    n: int
    sd: float | None = None
    se: float | None = None


@dataclass(frozen=True)
class TrialSummary:
    """One trial as the pages need it; `odd` says why it is not used or worth a look."""

    id: str
    arm: str
    block: int
    seed: int
    state: str
    outcome: float | None
    odd: tuple[str, ...] = ()
    attempts: int = 1
    seconds: float = 0.0  # charged
    occupied: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """An arm against its reference on the outcome, and the verdict."""

    reference: str
    effect: Effect
    verdict: Verdict
    reason: str  # the verdict in a sentence
    in_family: bool
    adjusted_p: float | None = None
    equivalence: Equivalence | None = None
    adjusted_equivalence_p: float | None = None
    resolvable: float | None = None  # smallest effect seen with 80 % power at the family's hardest step
    blocks_needed: int | None = None  # to settle it at the observed spread; None: over 1,000, or unknown
    intention_to_treat: Effect | None = None
    imputed: int = 0  # blocks that entered it as the worst observed score
    secondary: Mapping[str, Effect] = field(default_factory=dict)


@dataclass(frozen=True)
class ArmFindings:
    """One arm: what was planned, what came back, and its contrast (None for the baseline)."""

    name: str
    group: str | None
    changes: Mapping[str, list[Any]]
    parameters: int | None
    planned: int
    completed: int  # complete with a usable outcome
    failures: Mapping[str, int]  # state → trials
    pending: int
    values: Mapping[str, Value]
    trials: tuple[TrialSummary, ...]
    contrast: Contrast | None = None
    standing: Literal["best", "equivalent to the best", ""] = ""

    @property
    def lost(self) -> int:
        return sum(self.failures.values())


@dataclass(frozen=True)
class Cost:
    """What the study used, failures included."""

    trials: int = 0
    charged_seconds: float = 0.0
    occupied_seconds: float = 0.0
    tokens: float = 0.0
    gpu_hours: float | None = None
    energy_kwh: float | None = None
    money: float | None = None  # occupied hours × the study's rate per hour, in its currency


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from: every distinct value among the records, with how many trials had it."""

    hardware: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    git: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, int] = field(default_factory=dict)
    started: str = ""
    finished: str = ""


@dataclass(frozen=True)
class Findings:
    """Everything the pages say about a study."""

    name: str
    title: str
    question: str
    answer: str  # one sentence
    design: str
    created: str
    source: str
    outcome: Outcome
    alpha: float
    family: tuple[str, ...]
    blocks: int
    seeds: tuple[int, ...]
    budget: str
    charge: str
    baseline: str
    arms: tuple[ArmFindings, ...]  # the baseline first
    metrics: tuple[str, ...]  # every metric with a value, in reading order
    scale: Mapping[str, Mapping[str, float]]
    cost: Cost
    provenance: Provenance
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    post_hoc: tuple[str, ...] = ()
    claims: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # knob → {meaning, paper}

    def arm(self, name: str) -> ArmFindings:
        """The arm of that name. Raises KeyError naming the arms."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"no arm '{name}'; the arms are {', '.join(a.name for a in self.arms)}")

    @property
    def contrasts(self) -> dict[str, Contrast]:
        return {arm.name: arm.contrast for arm in self.arms if arm.contrast is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
