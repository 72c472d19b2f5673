"""Findings: what a study's records say, as plain values that any page or table can be drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from ablate.analysis.paired import Effect, Equivalence
from ablate.analysis.sequential import Progress

NOT_RECORDED = "not recorded"  # a budget, or a machine, that nobody wrote down

Verdict = Literal["helps", "hurts", "equivalent", "inconclusive"]
Correction = Literal["holm", "benjamini-hochberg", "none"]
Answer = Literal["ruled out", "not ruled out", "applies", "not checked"]


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
class TaskEffect:
    """An effect on one task from saved predictions: what would hold for new seeds *and* new examples."""

    metric: str  # family/name
    score: str  # accuracy, mcc, f1, …
    method: Literal["seed x item", "seed x item, linearised", "multi-bootstrap", "none"]
    seeds: int  # blocks with predictions of both arms
    items: int
    finetuning_seeds: int  # averaged within each block
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    p: float | None = None
    df: float | None = None  # Satterthwaite; None for a bootstrap
    sd_seed: float | None = None  # components of the difference, in points
    sd_item: float | None = None
    sd_residual: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Nested:
    """Where the noise of a task's difference comes from: pretraining or fine-tuning seeds."""

    metric: str
    blocks: int
    finetuning_seeds: int
    sd_pretraining: float  # of the true difference between blocks, fine-tuning noise taken out
    sd_finetuning: float  # of one fine-tuning seed within a block
    share_finetuning: float  # of the variance of a block's mean; what more fine-tuning seeds could remove


@dataclass(frozen=True)
class Mechanism:
    """A wall-clock effect on the training loss, split: effect at equal tokens + what speed bought.

    `equal_time` = `equal_tokens` + `speed`, block by block: all three are paired effects in the loss's unit.
    """

    metric: str
    seconds: float  # charged, where equal time is read off
    tokens: float  # mean over blocks of the fewer tokens of each pair, where equal tokens is read off
    tokens_ratio: float  # arm / reference at equal time
    equal_time: Effect
    equal_tokens: Effect
    speed: Effect
    note: str = ""


@dataclass(frozen=True)
class Unpaired:
    """Arm against reference with blocks that have nothing in common: Welch's t, Dunnett's p over all arms."""

    n: tuple[int, int]  # arm, reference
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    p: float | None = None  # Welch
    df: float | None = None
    dunnett_p: float | None = None  # simultaneous over all arms with this reference; assumes equal spreads


@dataclass(frozen=True)
class Check:
    """One rival explanation of a result, and what the program found when it looked."""

    name: str
    answer: Answer
    text: str


@dataclass(frozen=True)
class Curvature:
    """Whether the loss was still falling when the budget ended: nats per doubling of the training."""

    last_doubling: float | None  # mean over trials of loss(end/2) − loss(end)
    falling: bool | None  # above 1 % of the loss; None where that is within twice its standard error
    trials: int = 0


@dataclass(frozen=True)
class Term:
    """One coded term of a factorial model: effect per full change of its factors (high − low)."""

    name: str
    factors: tuple[str, ...]
    levels: tuple[str, ...]  # the level of each factor that the term stands for, against the reference level
    estimate: float
    low: float
    high: float
    p: float
    adjusted_p: float  # Holm over main effects and interactions apart
    aliases: tuple[str, ...] = ()  # terms that this design cannot tell from it


@dataclass(frozen=True)
class Interactions:
    """Main effects and interactions of a factorial study, from one model over all trials."""

    model: Literal["mixedlm", "ols"]
    formula: str
    n: int  # trials
    df: float
    terms: tuple[Term, ...]
    sd_block: float | None = None
    sd_residual: float | None = None
    aliased: tuple[str, ...] = ()  # chains of terms that share a column
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Importance:
    """Share of a search's spread in the outcome that a knob accounts for; never from one-factor data."""

    knob: str
    share: float
    method: str


@dataclass(frozen=True)
class BestOfK:
    """Expected best score of k trials drawn without replacement from those that were run (exact)."""

    name: str  # the search, or the arm that was tuned
    trials: int
    k: tuple[int, ...]
    expected: tuple[float, ...]
    sd: tuple[float, ...]


@dataclass(frozen=True)
class FrontPoint:
    """One arm between the two outcomes of a search: means over its blocks."""

    arm: str
    outcome: float
    tradeoff: float
    blocks: int  # fewer of the two
    phase: str  # screen, confirm
    on_front: bool  # no other arm is at least as good on both and better on one


@dataclass(frozen=True)
class Front:
    """The Pareto front between a search's outcome and its second one; describes, and tests nothing."""

    tradeoff: Outcome  # the second outcome; the first is the study's own
    points: tuple[FrontPoint, ...]  # the front first, best on the outcome first

    @property
    def front(self) -> tuple[FrontPoint, ...]:
        return tuple(p for p in self.points if p.on_front)


@dataclass(frozen=True)
class Pairing:
    """What sharing blocks bought: correlation of the pairs over all contrasts."""

    correlation: float  # mean over contrasts (Fisher z)
    contrasts: int
    variance_ratio: float  # var(difference) ÷ (var(arm) + var(reference)): 1 bought nothing, 0.2 fivefold


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
    completed_only: bool = False  # the verdict does not hold with diverged trials at the worst score
    secondary: Mapping[str, Effect] = field(default_factory=dict)
    correction: Correction = "holm"
    sequential: Progress | None = None  # a study whose blocks were added by a stopping rule
    unpaired: Unpaired | None = None
    tasks: Mapping[str, TaskEffect] = field(default_factory=dict)  # metric → from saved predictions
    nested: Mapping[str, Nested] = field(default_factory=dict)
    mechanism: Mechanism | None = None
    checks: tuple[Check, ...] = ()  # rival explanations
    post_hoc: bool = False


@dataclass(frozen=True)
class ArmFindings:
    """One arm: what was planned, what came back, and its contrast (None for the baseline)."""

    name: str
    group: str | None
    changes: Mapping[str, list[Any]]
    parameters: int | None
    planned: int
    completed: int  # complete with a usable outcome
    failures: Mapping[str, int]  # state → trials; one that a search ended early is none
    pending: int
    values: Mapping[str, Value]
    trials: tuple[TrialSummary, ...]
    contrast: Contrast | None = None
    standing: Literal["best", "equivalent to the best", ""] = ""
    levels: Mapping[str, str] = field(default_factory=dict)  # factor → level, of factorial designs
    phase: str = "confirm"  # screen, tune, confirm
    replicate: int = 0  # above 0: the baseline once more, with weights of its own
    curvature: Curvature | None = None

    @property
    def lost(self) -> int:
        return sum(self.failures.values())

    @property
    def pruned(self) -> int:
        """Trials that the search ended early because others did better."""
        return sum(trial.state == "pruned" for trial in self.trials)


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
    rules: str = "strict"  # strict: nothing pretrained anywhere in the pipeline; open: what is, is named
    breaches: tuple[str, ...] = ()  # what is pretrained, and in which arms
    paired: bool = True  # false: the blocks of different arms have nothing in common
    elastic: Mapping[str, Any] = field(default_factory=dict)  # {min, max, until}: the stopping rule
    pairing: Pairing | None = None
    interactions: Interactions | None = None
    importance: tuple[Importance, ...] = ()
    best_of_k: tuple[BestOfK, ...] = ()
    front: Front | None = None  # of a search with two outcomes

    def arm(self, name: str) -> ArmFindings:
        """The arm of that name. Raises KeyError naming the arms."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"no arm '{name}'; the arms are {', '.join(a.name for a in self.arms)}")

    @property
    def imported(self) -> bool:
        """Made from runs that were there already: nothing was fixed before they ran."""
        return bool(self.source) and not self.source.endswith((".yaml", ".yml"))

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
