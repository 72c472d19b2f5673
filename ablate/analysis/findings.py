"""Findings: what a study's records say, as plain values that any page or table can be drawn from."""

from __future__ import annotations

import functools
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
    """`family/name`, as records have it"""
    margin: float | None
    """the largest difference that would not matter, in the metric's unit; null: none was declared"""
    higher_is_better: bool
    """whether more of it is better"""
    unit: str
    """of the metric and of its differences: points, nats, …; empty: none"""
    label: str
    """what pages and tables call it"""


@dataclass(frozen=True)
class Value:
    """A metric of one arm over its usable blocks."""

    mean: float
    """over the blocks, in the metric's unit"""
    n: int
    """blocks with a usable value"""
    sd: float | None = None
    """standard deviation between blocks, in the metric's unit; null below two blocks"""
    se: float | None = None
    """standard error of the mean, in the metric's unit; null below two blocks"""


@dataclass(frozen=True)
class TrialSummary:
    """One trial as the pages need it; `odd` says why it is not used or worth a look."""

    id: str
    """twelve hex digits: the folder below `trials/`"""
    arm: str
    """the arm's name"""
    block: int
    """index of the block, from 0"""
    seed: int
    """of the block: initialisation, data order, masks"""
    state: str
    """complete, pruned, diverged, out-of-memory, lost, timeout, evaluation-error or failed"""
    outcome: float | None
    """its value of the study's outcome, in that metric's unit; null: not usable"""
    odd: tuple[str, ...] = ()
    """why it is not used, or what is worth a look; empty: nothing"""
    attempts: int = 1
    """how many times it was started"""
    seconds: float = 0.0
    """time charged against its budget, in seconds"""
    occupied: float = 0.0
    """time that it held its machine, in seconds"""
    tokens: float = 0.0
    """tokens that it was trained on"""


@dataclass(frozen=True)
class TaskEffect:
    """An effect on one task from saved predictions: what would hold for new seeds *and* new examples."""

    metric: str
    """`family/name`"""
    score: str
    """what predictions are scored by: accuracy, mcc, f1, …"""
    method: Literal["seed x item", "seed x item, linearised", "multi-bootstrap", "none"]
    """how the interval was made; none: there is too little for one, see `note`"""
    seeds: int
    """blocks with predictions of both arms"""
    items: int
    """examples, the same in every trial"""
    finetuning_seeds: int
    """averaged within each block"""
    estimate: float | None = None
    """arm − reference, in points; null: nothing to compare"""
    low: float | None = None
    """lower end of the interval, in points"""
    high: float | None = None
    """upper end of the interval, in points"""
    level: float = 0.95
    """coverage of the interval: 0.95 at alpha 0.05"""
    p: float | None = None
    """two-sided, not corrected"""
    df: float | None = None
    """Satterthwaite degrees of freedom; null for a bootstrap"""
    sd_seed: float | None = None
    """component of the difference that new seeds change, in points"""
    sd_item: float | None = None
    """component of the difference that new examples change, in points"""
    sd_residual: float | None = None
    """component that belongs to a seed and an example together, in points"""
    note: str = ""
    """why a number is missing or to be read with care"""


@dataclass(frozen=True)
class Nested:
    """Where the noise of a task's difference comes from: pretraining or fine-tuning seeds."""

    metric: str
    """`family/name`"""
    blocks: int
    """with predictions of both arms"""
    finetuning_seeds: int
    """in each block"""
    sd_pretraining: float
    """of the true difference between blocks, fine-tuning noise taken out, in points"""
    sd_finetuning: float
    """of one fine-tuning seed within a block, in points"""
    share_finetuning: float
    """of the variance of a block's mean, in [0, 1]: what more fine-tuning seeds could remove"""


@dataclass(frozen=True)
class Mechanism:
    """A wall-clock effect on the training loss, split: effect at equal tokens + what speed bought.

    `equal_time` = `equal_tokens` + `speed`, block by block: all three are paired effects in the loss's unit.
    """

    metric: str
    """the training loss that is split"""
    seconds: float
    """charged, mean over blocks of where equal time is read off"""
    tokens: float
    """mean over blocks of the fewer tokens of each pair, where equal tokens is read off"""
    tokens_ratio: float
    """arm ÷ reference at equal time"""
    equal_time: Effect
    """arm − reference when both have trained equally long, in nats"""
    equal_tokens: Effect
    """arm − reference when both have seen equally many tokens, in nats"""
    speed: Effect
    """what the difference in speed bought, in nats"""
    note: str = ""
    """which of the two was read off before its learning rate had decayed, or that speed bought nothing"""


@dataclass(frozen=True)
class Unpaired:
    """Arm against reference with blocks that have nothing in common: Welch's t, Dunnett's p over all arms."""

    n: tuple[int, int]
    """trials of the arm and of the reference"""
    estimate: float | None = None
    """difference of means, arm − reference, in the outcome's unit"""
    low: float | None = None
    """lower end of Welch's interval, in the outcome's unit"""
    high: float | None = None
    """upper end of Welch's interval, in the outcome's unit"""
    level: float = 0.95
    """coverage of the interval: 0.95 at alpha 0.05"""
    p: float | None = None
    """Welch's, two-sided, not corrected"""
    df: float | None = None
    """Welch–Satterthwaite degrees of freedom"""
    dunnett_p: float | None = None
    """simultaneous over all arms with this reference; assumes equal spreads"""


@dataclass(frozen=True)
class Check:
    """One rival explanation of a result, and what the program found when it looked."""

    name: str
    """the rival explanation"""
    answer: Answer
    """whether it can account for the result"""
    text: str
    """what was found, in a sentence"""


@dataclass(frozen=True)
class Curvature:
    """Whether the loss was still falling when the budget ended: nats per doubling of the training."""

    last_doubling: float | None
    """mean over trials of loss(end/2) − loss(end), in nats"""
    falling: bool | None
    """by more than 1 % of the loss; null where that is within twice its standard error"""
    trials: int = 0
    """whose curves were read"""


@dataclass(frozen=True)
class Term:
    """One coded term of a factorial model: effect per full change of its factors (high − low)."""

    name: str
    """of the term, as the table shows it"""
    factors: tuple[str, ...]
    """that the term multiplies; one: a main effect"""
    levels: tuple[str, ...]
    """the level of each factor that the term stands for, against the reference level"""
    estimate: float
    """per full change of its factors (high − low), in the outcome's unit"""
    low: float
    """lower end of the interval, in the outcome's unit"""
    high: float
    """upper end of the interval, in the outcome's unit"""
    p: float
    """two-sided, not corrected"""
    adjusted_p: float
    """Holm over main effects and over interactions apart"""
    aliases: tuple[str, ...] = ()
    """terms that this design cannot tell from it"""


@dataclass(frozen=True)
class Interactions:
    """Main effects and interactions of a factorial study, from one model over all trials."""

    model: Literal["mixedlm", "ols"]
    """mixedlm: blocks as a random effect; ols: least squares"""
    formula: str
    """of the model, as it was fitted"""
    n: int
    """trials"""
    df: float
    """degrees of freedom of the t intervals"""
    terms: tuple[Term, ...]
    """main effects and interactions"""
    sd_block: float | None = None
    """between blocks, in the outcome's unit"""
    sd_residual: float | None = None
    """within a block, in the outcome's unit"""
    aliased: tuple[str, ...] = ()
    """chains of terms that share a column"""
    notes: tuple[str, ...] = ()
    """what to mind when reading the terms"""


@dataclass(frozen=True)
class Importance:
    """Share of a search's spread in the outcome that a knob accounts for; never from one-factor data."""

    knob: str
    """path of the knob"""
    share: float
    """of the search's spread in the outcome, in [0, 1]"""
    method: str
    """how it was computed"""


@dataclass(frozen=True)
class BestOfK:
    """Expected best score of k trials drawn without replacement from those that were run (exact)."""

    name: str
    """the search, or the arm that was tuned"""
    trials: int
    """that were run"""
    k: tuple[int, ...]
    """numbers of trials drawn, from 1"""
    expected: tuple[float, ...]
    """expected best score for each k, in the outcome's unit"""
    sd: tuple[float, ...]
    """standard deviation of that best score for each k, in the outcome's unit"""


@dataclass(frozen=True)
class FrontPoint:
    """One arm between the two outcomes of a search: means over its blocks."""

    arm: str
    """the arm's name"""
    outcome: float
    """mean of the study's outcome, in its unit"""
    tradeoff: float
    """mean of the second outcome, in its unit"""
    blocks: int
    """fewer of the two"""
    phase: str
    """screen: drawn by the search, tune, or confirm: run again on blocks that the search had not seen"""
    on_front: bool
    """no other arm is at least as good on both and better on one"""


@dataclass(frozen=True)
class Front:
    """The Pareto front between a search's outcome and its second one; describes, and tests nothing."""

    tradeoff: Outcome
    """the second outcome; the first is the study's own"""
    points: tuple[FrontPoint, ...]
    """the front first, best on the outcome first"""

    @property
    def front(self) -> tuple[FrontPoint, ...]:
        return tuple(p for p in self.points if p.on_front)


@dataclass(frozen=True)
class Pairing:
    """What sharing blocks bought: correlation of the pairs over all contrasts."""

    correlation: float
    """of the pairs, mean over contrasts (Fisher z)"""
    contrasts: int
    """that the means are over"""
    variance_ratio: float
    """var(difference) ÷ (var(arm) + var(reference)): 1 bought nothing, 0.2 fivefold"""


@dataclass(frozen=True)
class Contrast:
    """An arm against its reference on the outcome, and the verdict."""

    reference: str
    """the arm that this one is held against"""
    effect: Effect
    """on the study's outcome, not corrected"""
    verdict: Verdict
    """equivalent: adjusted TOST p at most alpha; else helps or hurts: adjusted p at most alpha; else
    inconclusive"""
    reason: str
    """the verdict in a sentence"""
    in_family: bool
    """whether it belongs to the declared family"""
    adjusted_p: float | None = None
    """two-sided, corrected as `correction` says; null: no test"""
    equivalence: Equivalence | None = None
    """two one-sided tests against the margin; null: no margin, or no spread"""
    adjusted_equivalence_p: float | None = None
    """of the two one-sided tests, corrected as `correction` says"""
    resolvable: float | None = None
    """smallest effect seen with 80 % power at the family's hardest step, in the outcome's unit"""
    blocks_needed: int | None = None
    """to settle the arm either way at the observed spread, whatever its verdict now; null: over 1,000, or
    unknown"""
    intention_to_treat: Effect | None = None
    """the effect with diverged trials at the worst score seen in the study; null: none of the two failed,
    or one has no score"""
    imputed: int = 0
    """blocks that entered it as the worst observed score"""
    completed_only: bool = False
    """the verdict does not hold with diverged trials at the worst score"""
    secondary: Mapping[str, Effect] = field(default_factory=dict)
    """metric → effect on it, not corrected, in that metric's unit"""
    correction: Correction = "holm"
    """of the p-values: Holm in the family, Benjamini–Hochberg in a screen, none outside both"""
    sequential: Progress | None = None
    """of a study whose blocks were added by a stopping rule"""
    unpaired: Unpaired | None = None
    """of a study whose arms share no blocks: Welch's t, and Dunnett's p"""
    tasks: Mapping[str, TaskEffect] = field(default_factory=dict)
    """metric → effect from saved predictions, for new seeds and new examples"""
    nested: Mapping[str, Nested] = field(default_factory=dict)
    """metric → where the noise of its difference comes from"""
    mechanism: Mechanism | None = None
    """the effect on the training loss at equal time, split; null: no curves, unpaired, or no budget in
    seconds that both had"""
    checks: tuple[Check, ...] = ()
    """rival explanations, and what was found of each"""
    post_hoc: bool = False
    """whether the study was changed after data had arrived"""


@dataclass(frozen=True)
class ArmFindings:
    """One arm: what was planned, what came back, and its contrast (None for the baseline)."""

    name: str
    """unique in the study"""
    group: str | None
    """the knob that the arm changes, where it changes one"""
    changes: Mapping[str, list[Any]]
    """knob → [level of the baseline, level of the arm]"""
    parameters: int | None
    """of the model; null: not known before its vocabulary was"""
    planned: int
    """trials"""
    completed: int
    """trials that are complete with a usable outcome"""
    failures: Mapping[str, int]
    """state → trials; one that a search ended early is none"""
    pending: int
    """trials that have no record yet"""
    values: Mapping[str, Value]
    """metric → its mean over blocks"""
    trials: tuple[TrialSummary, ...]
    """by block"""
    contrast: Contrast | None = None
    """against its reference; null for the baseline"""
    standing: Literal["best", "equivalent to the best", ""] = ""
    """on the outcome, Bonferroni over all pairs: significantly better than every other arm, or equivalent
    to the best mean within the margin; empty: neither"""
    levels: Mapping[str, str] = field(default_factory=dict)
    """factor → level, of factorial designs"""
    phase: str = "confirm"
    """screen, tune, confirm"""
    replicate: int = 0
    """above 0: the baseline once more, with weights of its own"""
    curvature: Curvature | None = None
    """whether its loss was still falling at the end; null: no curves"""
    scores: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """metric → trial, by its `block` → value in the metric's unit: of the outcome and of every task; empty in
    a paired study, where the `differences` of an effect tell as much"""

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
    """with a record"""
    charged_seconds: float = 0.0
    """time charged against budgets, in seconds"""
    occupied_seconds: float = 0.0
    """time that trials held their machines, in seconds"""
    tokens: float = 0.0
    """that all trials were trained on"""
    gpu_hours: float | None = None
    """null: not measured"""
    energy_kwh: float | None = None
    """in kWh; null: not measured"""
    money: float | None = None
    """occupied hours × the study's rate per hour, in its currency"""


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from: every distinct value among the records, with how many trials had it."""

    hardware: Mapping[str, int] = field(default_factory=dict)
    """machine → trials"""
    versions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """package → version → trials"""
    git: Mapping[str, int] = field(default_factory=dict)
    """revision of the code → trials"""
    data: Mapping[str, int] = field(default_factory=dict)
    """fingerprint of the text → trials"""
    started: str = ""
    """when the first trial began, ISO 8601 in UTC"""
    finished: str = ""
    """when the last trial ended, ISO 8601 in UTC"""


@dataclass(frozen=True)
class Findings:
    """Everything the pages say about a study."""

    name: str
    """of the study: its folder below `runs/`"""
    title: str
    """for people; may be empty"""
    question: str
    """what the study asks"""
    answer: str
    """one sentence"""
    design: str
    """one-factor, factorial, fractional, cumulative, search, …"""
    created: str
    """when the study was frozen, ISO 8601 in UTC"""
    source: str
    """the study file, as `ablate run` takes it; or what was imported"""
    outcome: Outcome
    """the one quantity that verdicts are about"""
    alpha: float
    """error rate of the family"""
    family: tuple[str, ...]
    """arms whose contrasts are corrected together, fixed before the first trial; of imported runs at their
    import"""
    blocks: int
    """planned for each arm"""
    seeds: tuple[int, ...]
    """of the blocks, in their order"""
    budget: str
    """of each trial, in words: `90s`, `2e+07 tokens`, …"""
    charge: str
    """what counts against a budget in seconds: training (inside training steps) or occupied (all of it);
    of imported runs: not recorded"""
    baseline: str
    """name of the arm that others are held against"""
    arms: tuple[ArmFindings, ...]
    """the baseline first"""
    metrics: tuple[str, ...]
    """every metric with a value, in reading order"""
    scale: Mapping[str, Mapping[str, float]]
    """reference score → metric → value, shown for scale, not compared"""
    cost: Cost
    """what the study used, failures included"""
    provenance: Provenance
    """machines, code, data and versions behind the numbers"""
    warnings: tuple[str, ...] = ()
    """what to read with care"""
    notes: tuple[str, ...] = ()
    """what else is to be known of the study"""
    post_hoc: tuple[str, ...] = ()
    """what was changed after data had arrived"""
    claims: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """varied knob → {meaning, paper, …}: what it does, and what is published of it"""
    rules: str = "strict"
    """strict: nothing pretrained anywhere in the pipeline; open: what is, is named"""
    breaches: tuple[str, ...] = ()
    """what is pretrained, and in which arms"""
    paired: bool = True
    """false: the blocks of different arms have nothing in common"""
    elastic: Mapping[str, Any] = field(default_factory=dict)
    """{min, max, until}: the stopping rule that blocks were added by; empty: a fixed number"""
    pairing: Pairing | None = None
    """what sharing blocks bought; null: unpaired, or too few blocks"""
    interactions: Interactions | None = None
    """of a factorial design"""
    importance: tuple[Importance, ...] = ()
    """of the knobs of a search"""
    best_of_k: tuple[BestOfK, ...] = ()
    """of searches and of arms that were tuned"""
    front: Front | None = None
    """of a search with two outcomes"""
    command: str = ""
    """of imported runs: the line that imports them again"""

    def arm(self, name: str) -> ArmFindings:
        """The arm of that name. Raises KeyError naming the arms."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"no arm '{name}'; the arms are {', '.join(a.name for a in self.arms)}")

    @property
    def imported(self) -> bool:
        """Made from runs that were there already: nothing was fixed before they ran."""
        return bool(self.command) or bool(self.source) and not self.source.endswith((".yaml", ".yml"))

    @functools.cached_property
    def contrasts(self) -> dict[str, Contrast]:
        return {arm.name: arm.contrast for arm in self.arms if arm.contrast is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, float, int)):  # nearly all of 100,000 values
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
